package samba

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ownPrograms are what runs with an smbd of our own, all of Debian's packages samba and samba-common-bin.
var ownPrograms = []string{"smbd", "net", "smbcontrol"}

// program returns the path of a program of Samba's, on the machine and in the cell.
func program(name string) (string, error) {
	for dir := range strings.SplitSeq(searchPath, ":") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}

// machine is what the kind needs of the machine that it runs on.
type machine struct {
	euid    int
	program func(name string) (string, error)
	fuse    error    // what is wrong with /dev/fuse
	uids    []byte   // /proc/self/uid_map
	needs   []string // programs
	first   int64    // of the user ids that are needed
	count   int64
}

// thisMachine looks at the machine as it is now, for exports through its smbd or, with nil, through our own.
func thisMachine(system *System) machine {
	_, err := os.Stat("/dev/fuse")
	uids, _ := os.ReadFile("/proc/self/uid_map") // without it nothing is mapped
	m := machine{euid: os.Geteuid(), program: program, fuse: err, uids: uids, needs: ownPrograms, first: firstUID, count: maxUsers}
	if system != nil {
		m.needs, m.first, m.count = systemPrograms, firstSystemUID, maxSystemUsers
	}
	return m
}

// lacks returns a sentence about what is missing, or nil.
func (m *machine) lacks() error {
	if m.euid != 0 {
		return fmt.Errorf("exports of type samba need a server that runs as root, which this one doesn't")
	}
	var missing []string
	for _, name := range m.needs {
		if _, err := m.program(name); err != nil {
			missing = append(missing, name)
		}
	}
	switch {
	case missing != nil:
		return fmt.Errorf("exports of type samba need %s, which this machine doesn't have; they are of the packages samba and passwd", strings.Join(missing, ", "))
	case m.fuse != nil:
		return fmt.Errorf("exports of type samba need FUSE, which this machine doesn't have: %w", m.fuse)
	case !mapped(m.uids, m.first, m.count):
		return errors.New("exports of type samba need a server with all user ids, and this one's user namespace has fewer")
	}
	return nil
}

// maxUsers is how many users are kept room for.
const maxUsers = 1 << 20

// mapped reports whether a user namespace has count user ids from first on. Pure; see user_namespaces(7).
func mapped(table []byte, first, count int64) bool {
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		var inside, outside, length int64
		if n, err := fmt.Sscan(lines.Text(), &inside, &outside, &length); n == 3 && err == nil && inside <= first && first+count <= inside+length {
			return true
		}
	}
	return false
}
