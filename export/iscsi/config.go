package iscsi

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"elstore/export/iscsi/login"
)

// Config is how a Server behaves. Every zero value has the default that is written beside it.
type Config struct {
	// Negotiation is what is offered in logins; its Authority is not looked at. Its CommandWindow is how many
	// numbered commands a session may have under way.
	Negotiation login.Config
	// Advertise has the portals that SendTargets names, as host:port with IPv6 in brackets. Without any it
	// names the address that the asker came to.
	Advertise []string

	MaxConnections int // of all portals; 4096
	MaxHalfOpen    int // that have not logged in yet: one more, and the oldest of them is dropped; 1024
	MaxSessions    int // of a target; 64

	LoginTimeout  time.Duration // from accept to full feature phase; 10 s
	IdleTimeout   time.Duration // without a PDU of the peer before it is pinged; 15 s
	PingTimeout   time.Duration // for the answer, also of a session that is in the way of a login; 5 s
	LogoutTimeout time.Duration // that a graceful stop gives initiators to log out; 5 s

	Workers      int   // that a session has at most, where the medium is not Parallel; 16
	SessionBytes int64 // that the commands of a session may hold, but for one command alone and unsolicited data; 32 MiB
	ServerBytes  int64 // the same for all sessions together; 1 GiB

	Log *slog.Logger // nil logs nothing
}

const (
	defaultMaxConnections = 4096
	defaultMaxHalfOpen    = 1024
	defaultMaxSessions    = 64
	defaultLoginTimeout   = 10 * time.Second
	defaultIdleTimeout    = 15 * time.Second
	defaultPingTimeout    = 5 * time.Second
	defaultLogoutTimeout  = 5 * time.Second
	defaultWorkers        = 16
	defaultSessionBytes   = 32 << 20
	defaultServerBytes    = 1 << 30
)

// withDefaults returns c with its defaults in place, or what is wrong with it.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	setDefault(&errs, "MaxConnections", &c.MaxConnections, defaultMaxConnections)
	setDefault(&errs, "MaxHalfOpen", &c.MaxHalfOpen, defaultMaxHalfOpen)
	setDefault(&errs, "MaxSessions", &c.MaxSessions, defaultMaxSessions)
	setDefault(&errs, "LoginTimeout", &c.LoginTimeout, defaultLoginTimeout)
	setDefault(&errs, "IdleTimeout", &c.IdleTimeout, defaultIdleTimeout)
	setDefault(&errs, "PingTimeout", &c.PingTimeout, defaultPingTimeout)
	setDefault(&errs, "LogoutTimeout", &c.LogoutTimeout, defaultLogoutTimeout)
	setDefault(&errs, "Workers", &c.Workers, defaultWorkers)
	setDefault(&errs, "SessionBytes", &c.SessionBytes, defaultSessionBytes)
	setDefault(&errs, "ServerBytes", &c.ServerBytes, defaultServerBytes)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

func setDefault[T int | int64 | time.Duration](errs *[]error, name string, value *T, def T) {
	if *value == 0 {
		*value = def
	}
	if *value < 0 {
		*errs = append(*errs, fmt.Errorf("%s is %v; it can't be negative", name, *value))
	}
}
