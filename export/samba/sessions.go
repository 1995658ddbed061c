package samba

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"elstore/export"
	"elstore/export/samba/fuse"
)

// sessions are those who have an attachment's file open: each process of smbd is one client's connection.
type sessions struct {
	user  string
	guest uint32 // the user id of guests
	port  int    // of smbd
	watch export.Watch

	mu  sync.Mutex
	all map[int]*session // by process
}

type session struct {
	export.Session
	handles map[uint64]bool
}

// opened is told of an opening.
func (s *sessions) opened(h fuse.Handle) {
	remote := peer(h.PID, s.port)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.all[h.PID]; old != nil {
		old.handles[h.ID] = true
		return
	}
	name := s.user
	if h.UID == s.guest {
		name = guestName
	}
	n := &session{export.Session{Initiator: name, Remote: remote, Since: time.Now().UTC()}, map[uint64]bool{h.ID: true}}
	s.all[h.PID] = n
	s.watch(n.Session, true)
}

// closed is told of the end of an opening.
func (s *sessions) closed(h fuse.Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.all[h.PID]
	if old == nil {
		return
	}
	if delete(old.handles, h.ID); len(old.handles) == 0 {
		delete(s.all, h.PID)
		s.watch(old.Session, false)
	}
}

// list returns the sessions, the oldest first.
func (s *sessions) list() []export.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []export.Session{}
	for _, n := range slices.SortedFunc(maps.Values(s.all), func(a, b *session) int { return a.Since.Compare(b.Since) }) {
		list = append(list, n.Session)
	}
	return list
}

// peer returns the address that a process of smbd is connected with on a port of its own, or "".
func peer(pid, port int) string {
	dir := fmt.Sprintf("/proc/%d/", pid)
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return "" // it has ended
	}
	sockets := map[string]bool{}
	for _, fd := range fds {
		target, err := os.Readlink(dir + "fd/" + fd.Name())
		if inode, ok := strings.CutPrefix(target, "socket:["); err == nil && ok {
			sockets[strings.TrimSuffix(inode, "]")] = true
		}
	}
	for _, name := range []string{"net/tcp", "net/tcp6"} {
		table, err := os.ReadFile(dir + name) //nolint:gosec // a file of the kernel's
		if err != nil {
			continue
		}
		if at, ok := findPeer(table, sockets, port); ok {
			return at.String()
		}
	}
	return ""
}

// findPeer looks in a table as of proc_pid_net(5) for the other end of one of sockets, by their inodes, that is connected on a
// port. Pure.
func findPeer(table []byte, sockets map[string]bool, port int) (netip.AddrPort, bool) {
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < 10 || f[3] != "01" || !sockets[f[9]] { // 01 is TCP_ESTABLISHED
			continue
		}
		local, ok := parseAddress(f[1])
		if !ok || int(local.Port()) != port {
			continue
		}
		return parseAddress(f[2])
	}
	return netip.AddrPort{}, false
}

// parseAddress reads an address of such a table: 32-bit words of the machine's byte order, and a port.
func parseAddress(text string) (netip.AddrPort, bool) {
	host, port, ok := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	a, _ := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(a.Unmap(), uint16(n)), true
}
