package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"elstore/export/iscsi/pdu"
)

const (
	manyTargets  = 1000
	loginsAtOnce = 8
)

// portalSessions measures a thousand targets, each of a volume of its own, with a session that reads.
func portalSessions(ctx context.Context, env environment) ([]row, error) {
	root := filepath.Join(env.dir, "many")
	if _, err := furnish(root, 0); err != nil {
		return nil, err
	}
	names := make([]string, manyTargets)
	for i := range names {
		id := fmt.Sprintf("%032x", i)
		names[i] = targetPrefix + id
		meta := fmt.Sprintf(`{"creatorID":%q,"name":"bench","private":true,"shareable":true,"alg":"cp","format":"raw","bus":"virtio","size":1000000000}`, owner)
		if err := furnishOne(filepath.Join(root, "pool0", "vid."+id+".elimg"), meta); err != nil {
			return nil, err
		}
	}
	c, err := startPortal(ctx, root)
	if err != nil {
		return nil, err
	}
	defer c.stop()

	sessions := make([]*session, manyTargets)
	took := make([]time.Duration, manyTargets)
	defer func() {
		for _, s := range sessions {
			if s != nil {
				_ = s.conn.Close()
			}
		}
	}()
	failed := make([]error, loginsAtOnce)
	var wg sync.WaitGroup
	for k := range loginsAtOnce {
		wg.Go(func() {
			for i := k; i < manyTargets && failed[k] == nil; i += loginsAtOnce {
				began := time.Now()
				sessions[i], failed[k] = logIn(ctx, strings.TrimPrefix(c.url, "iscsi://"), names[i])
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failed...); err != nil {
		return nil, err
	}
	for i, s := range sessions {
		if err := s.read(); err != nil {
			return nil, fmt.Errorf("session %d: %w", i, err)
		}
	}
	memory, err := peak(c.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("iSCSI, %d targets with a session each: ", manyTargets)
	return []row{
		atMost(what+"login, p99", quantile(took, 0.99), 50*time.Millisecond),
		{what: what + "memory, the most", ours: fmt.Sprintf("%d MB", memory/1e6), goal: "< 150 MB", missed: memory >= 150e6},
	}, nil
}

// session is an initiator that can do no more than is measured.
type session struct {
	conn net.Conn
	in   *pdu.Reader
	sn   pdu.SN
}

// logIn logs in to a target without CHAP.
func logIn(ctx context.Context, portal, target string) (_ *session, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", portal)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, in: pdu.NewReader(conn), sn: 1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("login to %s: %w", target, err), conn.Close())
		}
	}()
	var text []byte
	for _, pair := range [][2]string{
		{"InitiatorName", "iqn.2004-10.cloud.elemento:bench:initiator"},
		{"TargetName", target},
		{"SessionType", "Normal"},
		{"HeaderDigest", "None"},
		{"DataDigest", "None"},
	} {
		text = pdu.AppendPair(text, pair[0], pair[1])
	}
	request := pdu.Login{Transit: true, CSG: pdu.OperationalNegotiation, NSG: pdu.FullFeaturePhase, CmdSN: s.sn}
	var h pdu.BHS
	request.Encode(&h)
	if _, err := conn.Write(pdu.Append(nil, &h, nil, text, false, false)); err != nil {
		return nil, err
	}
	answer, err := s.in.Next()
	if err != nil {
		return nil, err
	}
	var r pdu.LoginResponse
	if r.Decode(answer.BHS); r.Status != pdu.Success || !r.Transit {
		return nil, fmt.Errorf("the login was answered with %v", r.Status)
	}
	return s, nil
}

// read reads 4 KiB. What the target has to say first, as that it was started, is passed over.
func (s *session) read() error {
	const good, checkCondition = 0x00, 0x02
	for range 4 {
		c := pdu.SCSICommand{
			Final: true, Read: true, ExpectedDataTransferLength: 4096, CmdSN: s.sn,
			CDB: [16]byte{0: 0x28, 8: 8}, InitiatorTaskTag: uint32(s.sn),
		}
		s.sn++
		var h pdu.BHS
		c.Encode(&h)
		if _, err := s.conn.Write(h[:]); err != nil {
			return err
		}
		answer, err := s.in.Next()
		if err != nil {
			return err
		}
		switch answer.BHS.Opcode() {
		case pdu.OpDataIn:
			var d pdu.DataIn
			if d.Decode(answer.BHS); d.HasStatus && d.Status == good && len(answer.Data) == 4096 {
				return nil
			}
			return errors.New("a read was answered with other than its data and status")
		case pdu.OpSCSIResponse:
			var r pdu.SCSIResponse
			if r.Decode(answer.BHS); r.Status != checkCondition {
				return fmt.Errorf("a read ended with status %#02x", r.Status)
			}
		default:
			return fmt.Errorf("a read was answered with %v", answer.BHS.Opcode())
		}
	}
	return errors.New("a read was answered with CHECK CONDITION again and again")
}
