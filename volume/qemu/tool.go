package qemu

import (
	"fmt"
	"io/fs"
	"os/exec"
	"sync"
	"time"

	"elstore/volume/fault"
)

// Config says how qemu-img is run. The zero value is right for most.
type Config struct {
	Path string      // of qemu-img; by default it is looked up in PATH
	Nice int         // how much qemu-img gives way to other processes, 0 (default) to 19; see nice(1)
	Mode fs.FileMode // of new images, less the umask; default 0600
}

// Tool runs qemu-img. Its methods may be called at the same time.
type Tool struct {
	config Config

	mu   sync.Mutex
	path string // where qemu-img was found, or ""

	// What tests change before the first call:
	cpu        time.Duration // of a call that only looks
	stallAfter time.Duration // of a call that works
	sampled    time.Duration // how often that is looked at
	started    func(pid int) // called when the process runs under its limits
	besides    []fileRule    // what the program may open besides the images
}

// The limits that qemu-img runs under.
const (
	cpuLimit    = 30 * time.Second
	stallLimit  = 60 * time.Second
	sampleEvery = 5 * time.Second
)

// New returns a Tool. qemu-img is looked for when it is first needed, and again until it is found: a server without
// it serves raw volumes. The error says what is wrong with config.
func New(config Config) (*Tool, error) {
	if config.Nice < 0 || config.Nice > 19 {
		return nil, fmt.Errorf("the niceness of qemu-img is %d: it may be 0 to 19", config.Nice)
	}
	if config.Mode == 0 {
		config.Mode = 0o600
	}
	if config.Mode&^fs.ModePerm != 0 || config.Mode&0o600 != 0o600 {
		return nil, fmt.Errorf("the mode of new images is %v: it may hold permissions only, and its owner's to read and write are needed", config.Mode)
	}
	return &Tool{
		config: config, cpu: cpuLimit, stallAfter: stallLimit, sampled: sampleEvery,
		started: func(int) {},
	}, nil
}

// Available returns nil if qemu-img is there, and else a fault of code ImageToolMissing that says what to install.
func (t *Tool) Available() error {
	_, err := t.program()
	return err
}

// program returns the path of qemu-img.
func (t *Tool) program() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.path != "" {
		return t.path, nil
	}
	name := t.config.Path
	if name == "" {
		name = "qemu-img"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", missing(err)
	}
	t.path = path
	return path, nil
}

// forget makes the next call look for qemu-img again: it was not where it had been found.
func (t *Tool) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.path = ""
}

func missing(err error) error {
	return &fault.Error{
		Code: fault.ImageToolMissing,
		Msg:  "qemu-img is not installed on the server, and only raw volumes work without it: install the package qemu-utils (on Debian: apt install qemu-utils)",
		Err:  err,
	}
}
