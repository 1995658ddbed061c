package iscsi

import (
	"errors"
	"net"
	"testing"
	"time"

	"elstore/export/iscsi/pdu"
)

var errKilled = errors.New("killed")

// A connection is killed while its reader has the descriptor and asks whether the session is busy. Close of package net waits for
// that reader, and none of them may wait for the session's lock, or for who holds it.
func TestKillWaitsForNobody(t *testing.T) {
	for name, kill := range map[string]func(c *conn, killed chan<- struct{}){
		"a worker has the lock, and asks whether it was killed": func(c *conn, killed chan<- struct{}) {
			c.session.mu.Lock()
			defer c.session.mu.Unlock()
			go func() {
				c.kill(errKilled)
				close(killed)
			}()
			for c.why() == nil {
				<-time.After(time.Millisecond)
			}
		},
		"who kills it has the lock": func(c *conn, killed chan<- struct{}) {
			c.session.mu.Lock()
			defer c.session.mu.Unlock()
			c.kill(errKilled)
			close(killed)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := &conn{server: &Server{lingering: &lingering{most: 1}}, net: accepted(t), session: &session{}}
			c.session.conn = c
			asks := &asking{Lingerer: c, asked: make(chan struct{})}
			read, killed := make(chan error, 1), make(chan struct{})
			go func() {
				_, err := pdu.Lazy(c.net, asks).Read(make([]byte, 1))
				read <- err
			}()
			<-asks.asked
			go kill(c, killed)
			hang := time.After(30 * time.Second)
			for range 2 {
				select {
				case <-killed:
					killed = nil
				case err := <-read:
					if err == nil {
						t.Error("the reader of a connection that was killed has no error")
					}
				case <-hang:
					t.Fatal("they wait for each other")
				}
			}
		})
	}
}

// asking is a Lingerer that says it is asked, and asks when the connection is being killed.
type asking struct {
	pdu.Lingerer

	asked chan struct{}
}

func (a *asking) Linger() (spin, most time.Duration) {
	close(a.asked)
	for a.Lingerer.(*conn).why() == nil {
		<-time.After(time.Millisecond)
	}
	return a.Lingerer.Linger()
}

// accepted returns a connection of TCP whose peer says nothing.
func accepted(t *testing.T) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
