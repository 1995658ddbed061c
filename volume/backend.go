package volume

import (
	"context"
	"errors"
	"os"
	"time"
)

// ErrNoReflink is returned where a copy would have to share blocks and the storage can't.
var ErrNoReflink = errors.New("the storage can't share blocks between files")

// Progress is told how far a copy came, in bytes of the source's virtual size. It may be called from any
// goroutine, never after the call that it was given to has returned, and must not block. done never falls.
type Progress func(done, total int64)

// Backend keeps the volumes of one pool on some storage. Every backend passes the suite in volumetest.
//
// Methods may be called at the same time. Those that change a volume are on Held and Stage, whose holder is
// alone with that volume, in this process and in any other. A method that returned nil made its change
// durable; one that failed, or was cut off by a crash, left the volume as it was (after Scan).
type Backend interface {
	// Scan recovers what a crash left behind, finishing or undoing it, and then reports every volume of the
	// pool and its bin, in any order, one call at a time. It is called before anything else, once, and again when the pool comes back.
	// What another live process is working on is left alone. A yield that returns an error ends it.
	Scan(ctx context.Context, yield func(Found) error) error
	// List returns the ids of what stands in the pool now under a volume's name, not in the bin. It is cheap: whether it really
	// is a volume, Load tells.
	List(ctx context.Context) ([]ID, error)
	// Stamp is a number that is another one after every change of what List returns. ok says that this is certain now.
	Stamp() (stamp int64, ok bool)
	// Load reads one volume that stands in the pool. os.ErrNotExist is in the error's chain if it does not.
	Load(ctx context.Context, id ID) (Found, error)
	// Stat returns what changes without us: how much storage the image takes, and when it last changed.
	Stat(id ID, m Meta) (Stat, error)
	// Lock takes the volume between processes for op, which is only a description. It waits until ctx ends;
	// then the error is VolumeAlreadyLocked and says what holds it. The volume may lie in the bin.
	Lock(ctx context.Context, id ID, op Operation) (Held, error)
	// Stage begins a new volume beside its place. It fails with VolumeExists if the id is taken.
	Stage(ctx context.Context, id ID) (Stage, error)
	// Directory opens the directory that a volume stands in, not in the bin, for what exports keep in it. The caller
	// closes it. os.ErrNotExist is in the error's chain if the volume doesn't stand there.
	Directory(id ID) (*os.Root, error)
	// Peek opens the image of a volume for reading without its lock: whoever has that may write to it meanwhile, on another host too, and
	// what was written is read. BadRequest says that an image of this format or pool can't be read so.
	Peek(ctx context.Context, id ID, m Meta) (Device, error)
	// Caps says what the storage can do.
	Caps() Caps
	// Base names the base image with that checksum, or made of an image that had it, for Stage.Fill; ok is false where the pool has
	// none that is known to.
	Base(sum Checksum) (img Image, ok bool)
	// BaseBytes returns the bytes of all base images that the pool keeps now.
	BaseBytes() int64
	// Close frees what the Backend holds. No method may run or be called then.
	Close() error
}

// Caps is what a backend's storage can do.
type Caps struct {
	Reflink bool     // Copies that share blocks, so that a copy takes no room and no time.
	Formats []Format // Formats that volumes can have here.
}

// Operation describes who holds a volume's lock. It is advice for people: it never decides.
type Operation struct {
	Purpose string   // create, resize, convert, ... one word
	Args    []string // what it was asked for; no secrets
}

// Found is a volume as it stands on the storage.
type Found struct {
	ID      ID
	Meta    Meta      // Size is always set, unless Problem is
	ISOType string    // from isoinfo.json, or ""
	Changed time.Time // when its meta.json was last replaced
	Trashed time.Time // when it was put in the bin; zero if it stands in the pool
	Records bool      // RecordsDir is there
	Problem error     // why it can't be used: a fault of code VolumeDamaged. It counts against the pool all the same.
}

// Stat is what the storage says about a volume's image.
type Stat struct {
	OnDisk   int64 // bytes of storage taken
	Modified time.Time
}

// Image names a disk image that QEMU can read: a volume's, or a file from outside.
type Image struct {
	Path   string  // a file's absolute path, or QEMU's name for something else, such as rbd:pool/image
	Format string  // QEMU's name: raw, qcow2, vmdk, vdi, vpc, vhdx
	Size   int64   // virtual size in bytes
	Base   string  // the base image that it needs, in the same pool's elemento-base, or ""
	Pool   Backend // the backend that Path lies in, nil for a file from outside
	OnDisk int64   // bytes that a copy of its data takes at most
	Owned  bool    // the caller's own temporary file, which may be moved into place instead of copied

	Sum *Checksum // what its bytes were found to sum up to, nil where nobody looked
}

// Content says what a new volume holds, or what an old one shall hold from now on.
type Content struct {
	From     *Image   // what is copied; nil for zeros
	Overlay  bool     // From becomes an immutable base image of the pool, and the volume an overlay of it (qcow2)
	Prealloc Prealloc // for zeros; a copy is sparse
	Alg      Alg      // how bytes are copied where the storage can't share them and no conversion is needed
	Progress Progress // may be nil
}

// Stage is a volume in the making. Its methods are called by one goroutine.
type Stage interface {
	// Incoming makes an empty file beside the volume for data that arrives, gone with the stage. At most one.
	Incoming() (*os.File, error)
	// Fill makes the image, with m.Size bytes. A source that is smaller is followed by zeros; one that is larger
	// is refused. It returns m with what only the backend knows (Size, Base). Only an ISO image may have no bytes: its content is yet to come.
	Fill(ctx context.Context, m Meta, c Content) (Meta, error)
	// WriteFile puts a small file beside the image; see CheckBeside.
	WriteFile(name string, data []byte) error
	// Commit writes the meta.json and puts the volume in its place: from then on it is there.
	Commit(ctx context.Context, m Meta) error
	// Discard removes what was made. After Commit succeeded it does nothing, so that it can be deferred.
	Discard()
}

// Held is a volume whose lock the caller holds. Its methods are called by one goroutine. Those that take a
// Meta get the volume's current one, and return the one that is on disk when they return.
type Held interface {
	// Load reads the volume again, now that nobody can change it.
	Load(ctx context.Context) (Found, error)
	// SetMeta replaces the attributes. Format, Size and Base must be as they were.
	SetMeta(ctx context.Context, m Meta) error
	// Resize makes the image size bytes long: grows it, or with shrink cuts it. While it is open it only grows, and
	// its Device knows nothing of that until Grow.
	Resize(ctx context.Context, m Meta, size int64, shrink bool, p Prealloc) (Meta, error)
	// Convert changes the image's format. Never while it is open.
	Convert(ctx context.Context, m Meta, to Format, p Progress) (Meta, error)
	// Compact makes an overlay stand alone. Never while it is open. One that does already stays as it is.
	Compact(ctx context.Context, m Meta, p Progress) (Meta, error)
	// Replace puts other content in place of the image, in one moment. Never while it is open.
	Replace(ctx context.Context, m Meta, c Content) (Meta, error)
	// Incoming opens the file for data that arrives for Replace, making it if need be. It outlives the lock, and
	// a restart, and is gone with Replace or DropIncoming.
	Incoming() (*os.File, error)
	// Received returns how many bytes the file of Incoming has, 0 where there is none.
	Received() (int64, error)
	// DropIncoming removes the file of Incoming.
	DropIncoming() error
	// Files lists the files beside the image, by their names in order; see CheckBeside.
	Files() ([]string, error)
	// ReadFile reads a file beside the image. os.ErrNotExist is in the error's chain if it is not there.
	ReadFile(name string) ([]byte, error)
	// WriteFile replaces a file beside the image, or makes it.
	WriteFile(name string, data []byte) error
	// RemoveFile removes a file beside the image, which may be absent.
	RemoveFile(name string) error
	// Image names the image, for reading while the lock is held.
	Image(m Meta) Image
	// Snapshot makes a copy that shares blocks with the image and lives until release is called; the lock need not
	// be held so long. ErrNoReflink is in the error's chain where the storage can't. The caller has flushed
	// the image and holds writes back.
	Snapshot(ctx context.Context, m Meta) (img Image, release func(), err error)
	// Export makes a temporary copy of the image in format, standing alone, that lives until release is called.
	Export(ctx context.Context, m Meta, format Format, p Progress) (img Image, release func(), err error)
	// Trash moves the volume into the pool's bin.
	Trash(ctx context.Context, now time.Time) error
	// Restore moves it back from the bin.
	Restore(ctx context.Context) error
	// Purge removes the volume, from its place or from the bin, for good, and base images that nobody needs then.
	Purge(ctx context.Context) error
	// Open opens the image. The Device keeps the volume locked against other processes until it is closed.
	Open(ctx context.Context, m Meta, readonly bool) (Device, error)
	// Lend lets others open the image by its path. The Lent keeps the volume locked against other processes that ask for the
	// lock until it is closed. Where the path means something to other hosts too it is BadRequest.
	Lend(ctx context.Context, m Meta) (Lent, error)
	// Idle returns nil where nobody in this machine has the image open, and else ExportBusy, or why that can't be told. Never
	// while it is open here.
	Idle(ctx context.Context, m Meta) error
	// Unlock gives the volume back. After Purge too.
	Unlock()
}
