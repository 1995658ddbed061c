package iscsi

import (
	"context"
	"errors"
	"fmt"

	"elstore/export/iscsi/login"
	"elstore/export/iscsi/pdu"
)

// AttachmentConfig says who may log in to a target, and what it may do there.
type AttachmentConfig struct {
	// CHAPName tells attachments apart; it is the server's only one. "" asks for no CHAP.
	CHAPName     string
	Secret       login.Secret // the initiator's; needed where there is a CHAPName
	MutualName   string       // our own name, for initiators that want a proof
	MutualSecret login.Secret // and secret; none refuses them

	Initiator pdu.Name // the only one that may use it; "" is any
	ReadOnly  bool     // commands that would change the medium are refused

	// Shared admits any number of sessions. Without it an attachment that may write admits one: the same
	// InitiatorName and ISID takes its place, any other login waits while the session is probed, and is
	// refused if it lives.
	Shared bool
	// Multipath admits more sessions of the same InitiatorName where Shared does not admit any.
	Multipath bool
	// CopyGroup names what may copy to each other: an EXTENDED COPY of a session reaches the units that the same InitiatorName has
	// sessions with through attachments of the same group, with the rights of those. An initiator can make its name up: who it
	// is must be sure from the attachments' Initiator, or not matter within the group. "" lets copies stay within the unit.
	CopyGroup string

	Gate     Gate     // of commands that change the medium; nil lets all pass
	Counters Counters // of the attachment's sessions; nil leaves it to the target's
	// Notify is told when a session began and when it has ended, from a goroutine that must not be held up. Nil is not told.
	Notify func(s SessionInfo, began bool)
}

// exclusive reports whether not everybody gets in beside a session.
func (c *AttachmentConfig) exclusive() bool { return !c.Shared && !c.ReadOnly }

// Attachment is somebody's right to log in to a target. Its methods may be called from many goroutines at once.
type Attachment struct {
	target *Target
	cfg    AttachmentConfig

	turn chan struct{} // holds a token while a login waits for a session that is in its way

	// under Target.mu
	removed bool

	// under Server.mu
	secret, mutual login.Secret
}

// SetSecrets replaces the secrets, as AttachmentConfig has them. Sessions that live go on; later logins, of the same
// initiators too, need the new ones. An attachment without a CHAP name keeps having none.
func (a *Attachment) SetSecrets(secret, mutual login.Secret) error {
	if a.cfg.CHAPName == "" || secret.IsZero() {
		return errors.New("only an attachment with a CHAP name has a secret, and always one")
	}
	a.target.server.mu.Lock()
	defer a.target.server.mu.Unlock()
	a.secret, a.mutual = secret, mutual
	return nil
}

// Attach lets somebody in. A target has at most one attachment without CHAP per initiator name.
func (t *Target) Attach(cfg AttachmentConfig) (*Attachment, error) {
	if cfg.CHAPName != "" && cfg.Secret.IsZero() {
		return nil, errors.New("an attachment with a CHAP name needs a secret")
	}
	if cfg.CHAPName == "" && !cfg.Secret.IsZero() {
		return nil, errors.New("an attachment with a secret needs a CHAP name")
	}
	a := &Attachment{target: t, cfg: cfg, turn: make(chan struct{}, 1), secret: cfg.Secret, mutual: cfg.MutualSecret}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.server.mu.Lock()
	defer t.server.mu.Unlock()
	if t.removed {
		return nil, fmt.Errorf("target %s: %w", t.name, ErrRemoved)
	}
	if cfg.CHAPName == "" {
		for _, other := range t.open {
			if other.cfg.Initiator == cfg.Initiator {
				return nil, fmt.Errorf("an attachment of initiator %q without CHAP: %w", cfg.Initiator, ErrExists)
			}
		}
		t.open = append(t.open, a)
	} else {
		if t.server.names[cfg.CHAPName] != nil {
			return nil, fmt.Errorf("CHAP name %q: %w", cfg.CHAPName, ErrExists)
		}
		t.server.names[cfg.CHAPName] = a
	}
	t.attachments[a] = struct{}{}
	return a, nil
}

// Remove is fencing: nobody gets in through the attachment from now on, its sessions are ended, and when it
// returned nil none of their commands can change the medium any more. With an error, the context's, that is
// still to come. It may be called again.
func (a *Attachment) Remove(ctx context.Context) error {
	return endAll(ctx, a.withdraw(), errFenced)
}

// endAll ends sessions, and returns once they have ended or the context is done.
func endAll(ctx context.Context, sessions []*session, why error) error {
	for _, s := range sessions {
		s.kill(why)
	}
	for _, s := range sessions {
		select {
		case <-s.gone:
		case <-ctx.Done():
			return fmt.Errorf("session %d of %s is still ending: %w", s.tsih, s.peer().InitiatorName, ctx.Err())
		}
	}
	return nil
}

var errFenced = errors.New("the attachment was removed")

// withdraw lets nobody in any more, and returns the sessions.
func (a *Attachment) withdraw() []*session {
	t := a.target
	t.server.mu.Lock()
	if t.server.names[a.cfg.CHAPName] == a {
		delete(t.server.names, a.cfg.CHAPName)
	}
	t.server.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	a.removed = true
	delete(t.attachments, a)
	for i, other := range t.open {
		if other == a {
			t.open = append(t.open[:i:i], t.open[i+1:]...)
			break
		}
	}
	return a.sessions()
}

// sessions returns the sessions of the attachment. Target.mu is held.
func (a *Attachment) sessions() []*session {
	var list []*session
	for s := range a.target.sessions {
		if s.attachment == a {
			list = append(list, s)
		}
	}
	return list
}

// admits reports whether an initiator may use the attachment.
func (a *Attachment) admits(initiator pdu.Name) bool {
	return a.cfg.Initiator == "" || a.cfg.Initiator == initiator
}
