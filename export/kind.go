package export

import (
	"context"
	"log/slog"
	"time"

	"elstore/volume"
)

// Kind is a way in which clients reach volumes. cmd registers one implementation per kind. Its methods, and those of what it
// returns, may be called at the same time unless they say otherwise.
type Kind interface {
	// Name is the word for it in requests and records, such as iscsi.
	Name() string
	// Complete refuses a request that the kind can't fulfil for the volume, and fills in what a new attachment needs to log in.
	// It has no effect but on r. With a nil r it only refuses.
	Complete(v *volume.Volume, q *Request, r *Record) error
	// Serve makes a volume ready, without letting anybody in. It is called with the first attachment of the kind to the
	// volume.
	Serve(ctx context.Context, m Medium) (Unit, error)
	// Where says where the kind is reached, for markers: portals, or nothing.
	Where() []string
	// Stop ends what is left of all units: clients are asked to log out and come back, and then cut off.
	Stop(ctx context.Context) error
}

// Medium is a volume that is open.
type Medium struct {
	Volume  volume.Volume // as it was when it was opened
	Device  Device
	Records *Store // what the kind keeps of the volume
	// Attachments are those that the Book has: what the kind kept of others is to be forgotten.
	Attachments []volume.ID
	Log         *slog.Logger
}

// Device is the content of a volume. volume.Opened satisfies it.
type Device interface {
	volume.Device
	volume.VectorWriter
	volume.ExtentReader
}

var _ Device = (*volume.Opened)(nil)

// Image is the Device of an attachment to the image's own path: it refuses all requests.
type Image interface {
	Path() string
	// Idle returns nil where nobody has the image open, ExportBusy where somebody has, or why that can't be told.
	Idle() error
}

var _ Image = (*volume.Opened)(nil)

// Unit is a volume as one kind serves it. Attach and Close are called one at a time.
type Unit interface {
	// Attach lets an attachment in. g says when it may change the medium; w is told of its sessions.
	Attach(ctx context.Context, r Record, rates Rates, g *Gate, w Watch) (Attached, error)
	// Resized tells that the volume grew, while its requests are held back.
	Resized(size int64)
	// Close frees what the unit holds. All attachments were detached or removed, or the kind was stopped. With forget nothing
	// of the unit is kept in its records.
	Close(ctx context.Context, forget bool) error
}

// Updater is a Unit that has to know of changes of the volume's attributes.
type Updater interface {
	// Updated is called with each change of the volume's exports, and soon after its attributes changed, with those that it has. What
	// may be no more has ended when it returns nil; else it is called again. The volume is locked meanwhile.
	Updated(ctx context.Context, m *volume.Meta) error
}

// Forgetter is a Unit that keeps something of attachments that don't stand, such as what they have reserved.
type Forgetter interface {
	// Forget frees what an attachment had reserved that does not stand, and won't again. It may be called again.
	Forget(ctx context.Context, attachment volume.ID) error
}

// Watch is told when a session of an attachment began or has ended. It returns at once.
type Watch func(s Session, began bool)

// Attached is an attachment that stands.
type Attached interface {
	// Access says how the client attaches the volume, secrets and all. Of several portals it names those that q asks for.
	Access(q *Request) Access
	// Renew makes r's secrets and the rates those that count. Sessions that live go on.
	Renew(r Record, rates Rates) error
	// Sessions returns those that live.
	Sessions() []Session
	// Counts returns what the attachment did since it stands.
	Counts() Counts
	// Detach shuts the attachment: nobody gets in any more, the sessions end, and when it returned nil nothing of the attachment
	// can reach the medium any more. With an error, which may be the context's, that is not proven; it may be called
	// again. What it had reserved stays on disk, for when it is let in again.
	Detach(ctx context.Context) error
	// Remove is fencing: Detach, and what the attachment had reserved is free. It may be called again.
	Remove(ctx context.Context) error
}

// Session is somebody who is logged in.
type Session struct {
	Initiator string    `json:"initiator"`
	Alias     string    `json:"alias,omitempty"`
	Name      string    `json:"name,omitempty"` // what the protocol tells several sessions of one initiator by
	Remote    string    `json:"remote"`         // address
	Since     time.Time `json:"since"`
}

// Counts are numbers since an attachment stands in this process.
type Counts struct {
	ReadOperations  uint64 `json:"read_operations"`
	ReadBytes       uint64 `json:"read_bytes"`
	WriteOperations uint64 `json:"write_operations"`
	WriteBytes      uint64 `json:"write_bytes"`
	OtherOperations uint64 `json:"other_operations"`
	Errors          uint64 `json:"errors"`

	ReadLatency  Latency `json:"-"`
	WriteLatency Latency `json:"-"`
}
