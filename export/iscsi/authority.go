package iscsi

import (
	"net"
	"strconv"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
)

// authority is what a login of one connection is told.
type authority struct {
	server *Server
	local  string // the portal's address
}

var (
	_ login.Authority = (*authority)(nil)
	_ login.Lister    = (*authority)(nil)
)

// Target implements login.Authority. That a target exists is told to who may not see it too: without that an
// initiator could not be told that its secret is wrong.
func (a *authority) Target(p login.Peer) (login.Target, pdu.LoginStatus) {
	if p.Discovery {
		return login.Target{Security: login.CHAPOptional}, pdu.Success
	}
	t := a.server.target(p.TargetName)
	if t == nil {
		return login.Target{}, pdu.TargetNotFound
	}
	security := login.CHAPRequired
	if t.openFor(p.InitiatorName) != nil {
		security = login.NoSecurity
		if t.hasCHAP() {
			security = login.CHAPOptional
		}
	}
	return login.Target{Security: security, Alias: t.cfg.Alias, PortalGroupTag: portalGroup}, pdu.Success
}

// Credential implements login.Authority.
func (a *authority) Credential(p login.Peer, name string) (login.Credential, bool) {
	a.server.mu.Lock()
	found := a.server.names[name]
	var secret, mutual login.Secret
	if found != nil {
		secret, mutual = found.secret, found.mutual
	}
	a.server.mu.Unlock()
	if found == nil || !p.Discovery && found.target.name != p.TargetName || !found.admits(p.InitiatorName) {
		return login.Credential{}, false
	}
	return login.Credential{
		Attachment: found, Secret: secret, MutualName: found.cfg.MutualName, MutualSecret: mutual,
	}, true
}

// HasSession implements login.Authority.
func (a *authority) HasSession(p login.Peer) bool {
	a.server.mu.Lock()
	defer a.server.mu.Unlock()
	s := a.server.tsih[p.TSIH]
	return s != nil && s.peer().InitiatorName == p.InitiatorName && s.peer().ISID == p.ISID &&
		s.peer().TargetName == p.TargetName
}

// ListTargets implements login.Lister: with a proved CHAP name its target, without one those that ask for none
// from this initiator.
func (a *authority) ListTargets(r *login.Result, name pdu.Name) []login.TargetRecord {
	var list []login.TargetRecord
	for _, t := range a.server.allTargets() {
		if (name == "" || t.name == name) && t.visible(r) {
			list = append(list, login.TargetRecord{Name: t.name, Addresses: a.addresses()})
		}
	}
	return list
}

func (t *Target) visible(r *login.Result) bool {
	if a, ok := r.Attachment.(*Attachment); ok {
		return a.target == t
	}
	return t.openFor(r.Peer.InitiatorName) != nil
}

// addresses are the TargetAddress values of every target.
func (a *authority) addresses() []string {
	tag := "," + strconv.Itoa(portalGroup)
	if len(a.server.cfg.Advertise) == 0 {
		return []string{a.local + tag}
	}
	var list []string
	for _, address := range a.server.cfg.Advertise {
		list = append(list, address+tag)
	}
	return list
}

// localAddress is how a connection's own end is written in a TargetAddress.
func localAddress(c net.Conn) string {
	host, port, err := net.SplitHostPort(c.LocalAddr().String())
	if err != nil {
		return c.LocalAddr().String()
	}
	return net.JoinHostPort(host, port)
}

// openFor returns the attachment that lets an initiator in without CHAP: its own before that of any. Nil if
// there is none.
func (t *Target) openFor(initiator pdu.Name) *Attachment {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *Attachment
	for _, a := range t.open {
		if a.admits(initiator) && (found == nil || a.cfg.Initiator != "") {
			found = a
		}
	}
	return found
}

// hasCHAP reports whether somebody is let in by CHAP.
func (t *Target) hasCHAP() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.attachments) > len(t.open)
}

// noAuthority stands where each login's own will be.
type noAuthority struct{}

func (noAuthority) Target(login.Peer) (login.Target, pdu.LoginStatus) {
	return login.Target{}, pdu.TargetNotFound
}

func (noAuthority) Credential(login.Peer, string) (login.Credential, bool) {
	return login.Credential{}, false
}

func (noAuthority) HasSession(login.Peer) bool { return false }
