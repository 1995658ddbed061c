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

// programs are what the kind runs, all of Debian's packages samba and samba-common-bin.
var programs = []string{"smbd", "net", "smbcontrol"}

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
	fuse    error  // what is wrong with /dev/fuse
	uids    []byte // /proc/self/uid_map
}

// thisMachine looks at the machine as it is now.
func thisMachine() machine {
	_, err := os.Stat("/dev/fuse")
	uids, _ := os.ReadFile("/proc/self/uid_map") // without it nothing is mapped
	return machine{euid: os.Geteuid(), program: program, fuse: err, uids: uids}
}

// lacks returns a sentence about what is missing, or nil.
func (m *machine) lacks() error {
	if m.euid != 0 {
		return fmt.Errorf("exports of type samba need a server that runs as root, which this one doesn't")
	}
	var missing []string
	for _, name := range programs {
		if _, err := m.program(name); err != nil {
			missing = append(missing, name)
		}
	}
	switch {
	case missing != nil:
		return fmt.Errorf("exports of type samba need %s, which this machine doesn't have; its package is samba", strings.Join(missing, ", "))
	case m.fuse != nil:
		return fmt.Errorf("exports of type samba need FUSE, which this machine doesn't have: %w", m.fuse)
	case !mapped(m.uids, firstUID, maxUsers):
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
