package iscsi

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"elstore/export/iscsi/pdu"
)

// FuzzConn sends anything after a login. The session must end when the connection does, and leave nothing.
func FuzzConn(f *testing.F) {
	s := newStage(f)
	s.attach(AttachmentConfig{Shared: true})
	seed := &peer{t: f, cmdSN: 100, itt: 10}
	add := func(pdus ...[]byte) {
		var all []byte
		for _, b := range pdus {
			all = append(all, b...)
		}
		f.Add(all)
	}
	whole := func(h pdu.BHS, data []byte) []byte { return pdu.Append(nil, &h, nil, data, false, false) }
	command := func(c command) []byte { seed.itt++; return whole(seed.header(c), c.data) }
	header := func(e interface{ Encode(h *pdu.BHS) }) (h pdu.BHS) { e.Encode(&h); return h }
	add(command(read10(0, 8)), command(write10(0, 8, make([]byte, 4096))))
	add(command(write10(0, 16, nil)), whole(header(&pdu.DataOut{Final: true, InitiatorTaskTag: seed.itt, TargetTransferTag: 1}), make([]byte, 8192)))
	add(whole(header(&pdu.TaskMgmt{Immediate: true, Function: pdu.LogicalUnitReset, ReferencedTaskTag: pdu.ReservedTag}), nil))
	add(whole(header(&pdu.Logout{Immediate: true}), nil))
	add(whole(header(&pdu.Text{Immediate: true, Final: true, TargetTransferTag: pdu.ReservedTag}), []byte("SendTargets=All\x00")))
	add(whole(header(&pdu.NOPOut{Immediate: true, InitiatorTaskTag: 3, TargetTransferTag: pdu.ReservedTag}), []byte("ping")))
	f.Fuzz(func(t *testing.T, stream []byte) {
		ours, theirs := net.Pipe()
		s.server.Take(theirs)
		p := newPeer(t, ours)
		p.cmdSN = 100
		p.login()
		_ = ours.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if _, err := ours.Write(stream); err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the target takes nothing any more")
			}
		}
		ours.Close()
		for _, ses := range s.server.sessions() {
			select {
			case <-ses.gone:
			case <-time.After(10 * time.Second):
				t.Fatal("the session does not end")
			}
		}
		if n := s.server.granted.Load(); n != 0 {
			t.Fatalf("%d bytes are still granted", n)
		}
	})
}
