package file

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"elstore/volume"
)

// mark is the content of an .ignore file: who is at work on a volume. It describes and never decides, but for what
// settle reads of it, which it has only when it was written whole.
type mark struct {
	Host    string   `json:"host"`
	BootID  string   `json:"boot_id"`
	PID     int      `json:"pid"`
	Started uint64   `json:"process_start"` // in clock ticks after boot, as in /proc/<pid>/stat: tells a reused pid apart
	Server  string   `json:"server,omitempty"`
	Purpose string   `json:"purpose"`
	Args    []string `json:"args,omitempty"`

	// Of a resize: the size before and the one asked for, in bytes. Of a replacement: how much was uploaded before.
	Before int64 `json:"before,omitempty"`
	After  int64 `json:"after,omitempty"`
	// Of a replacement that consumes what was uploaded: the new image's inode.
	Image uint64 `json:"image,omitempty"`
}

// maxMark is how much of an .ignore file is read, in bytes.
const maxMark = 64 << 10

// whoami returns a mark of this process.
func whoami(server string) mark {
	m := mark{PID: os.Getpid(), Server: server}
	m.Host, _ = os.Hostname()
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil {
		m.BootID = string(bytes.TrimSpace(boot))
	}
	if stat, err := os.ReadFile("/proc/self/stat"); err == nil {
		m.Started, _ = parseStartTime(stat)
	}
	return m
}

// parseStartTime reads field 22 of /proc/<pid>/stat. The second field, the program's name, may hold blanks and parentheses.
func parseStartTime(stat []byte) (uint64, bool) {
	const afterName = 20 // field 22 is the 20th behind the name
	i := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[i+1:])
	if i < 0 || len(fields) < afterName {
		return 0, false
	}
	n, err := strconv.ParseUint(string(fields[afterName-1]), 10, 64)
	return n, err == nil
}

// fileName makes a new name for the mark's file.
func (m mark) fileName() string {
	return markPrefix + word(m.Purpose) + "." + volume.NewID().String() + markSuffix
}

func (m mark) encode() []byte {
	data, err := json.Marshal(m)
	if err != nil {
		panic("file: a mark can't be encoded: " + err.Error()) // no field of it can fail
	}
	return append(data, '\n')
}

// parseMark reads what an .ignore file says. Another system's may be empty or anything.
func parseMark(data []byte) (m mark, ok bool) {
	return m, json.Unmarshal(data, &m) == nil
}

// readMark reads the .ignore file of that name. What can't be read says nothing.
func (d *dir) readMark(name string) (m mark, ok bool) {
	f, err := d.open(name, false)
	if err != nil {
		return mark{}, false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, maxMark))
	if err != nil {
		return mark{}, false
	}
	return parseMark(data)
}

// holder says who is at work on the volume in d, as a part of a sentence.
func (d *dir) holder() string {
	c, err := d.contents()
	if err != nil || len(c.marks) == 0 {
		return "another process"
	}
	purpose, _ := parseMarkName(c.marks[0])
	m, ok := d.readMark(c.marks[0])
	if !ok || m.PID == 0 {
		return fmt.Sprintf("another process (%s)", purpose)
	}
	return fmt.Sprintf("process %d on host %q (%s)", m.PID, m.Host, purpose)
}
