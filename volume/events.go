package volume

import (
	"sync"
	"time"
)

// The types of events.
const (
	EventCreated   = "volume.created"
	EventUpdated   = "volume.updated"
	EventResized   = "volume.resized"
	EventConverted = "volume.converted"
	EventReplaced  = "volume.replaced"
	EventTrashed   = "volume.trashed"
	EventRestored  = "volume.restored"
	EventPurged    = "volume.purged"
	EventFound     = "volume.found" // appeared in a pool without us
	EventLost      = "volume.lost"  // vanished from a pool without us
	EventPool      = "pool.changed"
	EventJob       = "job.changed"

	EventExported      = "export.began"
	EventUnexported    = "export.ended"
	EventHeartbeatLost = "export.heartbeat_lost" // another server, or nobody, has the volume; or its storage does not answer
	EventLogin         = "session.began"
	EventLogout        = "session.ended"

	EventMigration = "migration.changed"
)

// ExportEvent says which attachment an event is about, and for a session who is logged in.
type ExportEvent struct {
	Client     Client `json:"client_uid"`
	Kind       string `json:"type"`
	Attachment ID     `json:"attachment_id"`
	Initiator  string `json:"initiator,omitempty"`
	Remote     string `json:"remote,omitempty"`

	// Whose volume it is. The owner may see who has it, as its client may.
	Owner Client `json:"-"`
}

// MigrationEvent says where a live migration stands.
type MigrationEvent struct {
	ID      ID     `json:"migration_id"`
	State   string `json:"state"`
	Pen     string `json:"pen"` // the side that may change the volumes
	Volumes []ID   `json:"volume_ids"`
	Alarm   string `json:"alarm,omitempty"` // what somebody has to look after
}

// Event is something that happened. It carries names, never secrets.
type Event struct {
	Sequence int64     `json:"sequence"` // grows by one with every event
	Revision int64     `json:"revision"` // of the list of volumes after it
	Type     string    `json:"type"`
	Time     time.Time `json:"time"`
	Volume   *ID       `json:"volume_id,omitempty"`
	Pool     string    `json:"pool,omitempty"`
	Job      any       `json:"job,omitempty"`

	Export    *ExportEvent    `json:"export,omitempty"`
	Migration *MigrationEvent `json:"migration,omitempty"`

	// Who may see it: nil is everybody, else the owner of the private volume it speaks of.
	Owner *Client `json:"-"`
}

// history is how many events a subscriber that comes back can be given again.
const history = 1024

// Events tells subscribers what happens and counts revisions. Its methods may be called at the same time.
type Events struct {
	mu       sync.Mutex
	revision int64
	first    int64          // the sequence of our first event
	sequence int64          // of the last event
	ring     [history]Event // the last ones, by Sequence modulo history
	subs     map[*Subscription]struct{}
	ended    bool
}

// NewEvents starts counting after start, which must be more than any revision handed out before.
func NewEvents(start int64) *Events {
	return &Events{revision: start, first: start + 1, sequence: start, subs: map[*Subscription]struct{}{}}
}

// Subscription receives events until it is closed, or until its reader is so slow that events would be lost:
// then C is closed and the reader has to read all state anew.
type Subscription struct {
	C     <-chan Event
	Lost  bool  // events after the one that was asked for are forgotten: read all state anew
	Since int64 // the sequence after which C's events begin

	c      chan Event
	events *Events
}

// Subscribe starts a subscription. Events after the sequence since that are still known come first; since 0 is
// only what happens from now on.
func (ev *Events) Subscribe(since int64) *Subscription {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	c := make(chan Event, history+64)
	sub := &Subscription{C: c, c: c, events: ev, Since: ev.sequence}
	if since > 0 && since != ev.sequence {
		oldest := max(ev.first, ev.sequence-history+1)
		sub.Lost = since+1 < oldest || since > ev.sequence
		sub.Since = min(max(oldest-1, since), ev.sequence)
		for n := sub.Since + 1; n <= ev.sequence; n++ {
			c <- ev.ring[n%history]
		}
	}
	ev.subs[sub] = struct{}{}
	if ev.ended {
		ev.end(sub)
	}
	return sub
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	s.events.end(s)
}

// End ends all subscriptions, those to come too: the server stops.
func (ev *Events) End() {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.ended = true
	for s := range ev.subs {
		ev.end(s)
	}
}

func (ev *Events) end(s *Subscription) {
	if _, ok := ev.subs[s]; ok {
		delete(ev.subs, s)
		close(s.c)
	}
}

// Revision returns the number that grows with every change of the list of volumes.
func (ev *Events) Revision() int64 {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	return ev.revision
}

// listed reports whether an event may change what lists of volumes show.
func listed(kind string) bool {
	switch kind {
	case EventJob, EventLogin, EventLogout, EventHeartbeatLost, EventMigration:
		return false
	}
	return true
}

// Publish tells everybody. An event about volumes, pools or exports makes a new revision.
func (ev *Events) Publish(e Event) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	ev.sequence++
	if listed(e.Type) {
		ev.revision++
	}
	e.Sequence, e.Revision, e.Time = ev.sequence, ev.revision, time.Now().UTC()
	ev.ring[ev.sequence%history] = e
	for s := range ev.subs {
		select {
		case s.c <- e:
		default:
			ev.end(s)
		}
	}
}
