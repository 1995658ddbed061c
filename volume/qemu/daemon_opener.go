package qemu

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"elstore/volume/fault"
)

// OpenerConfig says how storage daemons are run. The zero value is right for most.
type OpenerConfig struct {
	Path string       // of qemu-storage-daemon; by default it is looked up in PATH
	Dir  string       // where a daemon's socket has a name for a moment; default the system's directory for temporary files
	Log  *slog.Logger // nil: nothing is logged

	// ReplayLimit is how many bytes of memory a Device uses at most to remember what it may have to write again. It
	// flushes by itself when half of them are used. 1 MiB to 64 MiB, the default.
	ReplayLimit int64
	// HangTimeout is how long a daemon may leave requests without any answer until it is asked whether it lives, and killed
	// if it does not say so. At least a second; default 60 s.
	HangTimeout time.Duration
}

const defaultReplayLimit = 64 << 20

// Opener opens images through qemu-storage-daemon, one process for each image. Its methods may be called at the same
// time.
type Opener struct {
	config OpenerConfig
	times  waits // what tests change before the first call

	running atomic.Int64
	revived atomic.Uint64

	mu   sync.Mutex
	path string // where qemu-storage-daemon was found, or ""
}

// waits are how long things may take.
type waits struct {
	start    time.Duration // until a daemon exports its image
	unlock   time.Duration // until nobody else has the image open
	quit     time.Duration // for the command to quit, before SIGTERM
	term     time.Duration // for SIGTERM, before SIGKILL: it may have much to flush to a slow disk
	kill     time.Duration // for SIGKILL, before it is left to itself
	command  time.Duration // for a QMP command of a daemon that runs
	hang     time.Duration // see OpenerConfig.HangTimeout
	ping     time.Duration // for a sign of life
	attempts int           // to start a daemon again
	pause    time.Duration // before the second attempt; it doubles each time
	longest  time.Duration // pause
	steady   time.Duration // how long a daemon must have lived for its death not to count with those before
}

// NewOpener returns an Opener. qemu-storage-daemon is looked for when it is first needed, and again until it is
// found. The error says what is wrong with config.
func NewOpener(config OpenerConfig) (*Opener, error) {
	if config.ReplayLimit == 0 {
		config.ReplayLimit = defaultReplayLimit
	}
	if config.ReplayLimit < 1<<20 || config.ReplayLimit > defaultReplayLimit {
		return nil, fmt.Errorf("the replay limit is %d bytes: it may be 1 MiB to 64 MiB", config.ReplayLimit)
	}
	if config.HangTimeout == 0 {
		config.HangTimeout = time.Minute
	}
	if config.HangTimeout < time.Second {
		return nil, fmt.Errorf("the timeout of a daemon that hangs is %v: it must be 1 s at least", config.HangTimeout)
	}
	if config.Dir == "" {
		config.Dir = os.TempDir()
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	return &Opener{config: config, times: waits{
		start: 30 * time.Second, unlock: 5 * time.Second, quit: 30 * time.Second, term: 2 * time.Minute, kill: 10 * time.Second,
		command: 30 * time.Second, hang: config.HangTimeout, ping: 10 * time.Second,
		attempts: 10, pause: 100 * time.Millisecond, longest: 5 * time.Second, steady: time.Minute,
	}}, nil
}

// Available returns nil if qemu-storage-daemon is there, and else a fault of code ImageToolMissing that says what to
// install.
func (o *Opener) Available() error {
	_, err := o.program()
	return err
}

// Daemons returns how many storage daemons run now, and how many were started in place of one that had died.
func (o *Opener) Daemons() (running int, revived uint64) {
	return int(o.running.Load()), o.revived.Load()
}

// program returns the path of qemu-storage-daemon.
func (o *Opener) program() (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.path != "" {
		return o.path, nil
	}
	name := o.config.Path
	if name == "" {
		name = "qemu-storage-daemon"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", daemonMissing(err)
	}
	o.path = path
	return path, nil
}

// forget makes the next call look for qemu-storage-daemon again if err says that it was not where it had been found.
func (o *Opener) forget(err error) {
	if !errors.Is(err, os.ErrNotExist) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.path = ""
}

func daemonMissing(err error) error {
	return &fault.Error{
		Code: fault.ImageToolMissing,
		Msg:  "qemu-storage-daemon is not installed on the server, and volumes in qcow2 format can't be opened without it: install the package qemu-system-common (on Debian: apt install qemu-system-common)",
		Err:  err,
	}
}
