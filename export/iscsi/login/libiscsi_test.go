package login

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"elstore/export/iscsi/pdu"
	"elstore/test/need"
)

// TestLibiscsi has the initiator that QEMU uses log in, over TCP, to as little of a target as it takes: what
// the transcripts say of it is what it does.
func TestLibiscsi(t *testing.T) {
	need.Program(t, "iscsi-ls", "iscsi-inq")
	user := chapName + "%" + strings.ReplaceAll(chapSecret, " ", "_")
	mutual := "target_user=" + mutualName + "&target_password=" + strings.ReplaceAll(mutualSecret, " ", "_")
	tests := []struct {
		name     string
		security Security
		program  string
		user     string
		query    string
		want     string // in what it prints, and it succeeds; else the error that it prints
		fails    bool
	}{
		{"discovery", NoSecurity, "iscsi-ls", "", "", "Target:" + targetName, false},
		{"discovery with CHAP", CHAPRequired, "iscsi-ls", user, "", "Target:" + targetName, false},
		{"discovery without CHAP where it is required", CHAPRequired, "iscsi-ls", "", "", "Authentication failure", true},
		{"a session", NoSecurity, "iscsi-inq", "", "", "elstore", false},
		{"with CHAP", CHAPRequired, "iscsi-inq", user, "", "elstore", false},
		{"with CHAP both ways", CHAPRequired, "iscsi-inq", user, mutual, "elstore", false},
		{"a user where none is asked for", NoSecurity, "iscsi-inq", user, "", "elstore", false},
		{"a user where none is needed", CHAPOptional, "iscsi-inq", user, "", "elstore", false},
		{"a wrong secret", CHAPRequired, "iscsi-inq", chapName + "%wrong", "", "Authentication failure", true},
		{"a wrong user", CHAPRequired, "iscsi-inq", "vm-2" + user[len(chapName):], "", "Authentication failure", true},
		{"a wrong secret of ours", CHAPRequired, "iscsi-inq", user, mutual + "x", "Invalid CHAP_R", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKnown(tt.security)
			k.credential.Secret = NewSecret(strings.ReplaceAll(chapSecret, " ", "_")) // as a URL can have it
			k.credential.MutualSecret = NewSecret(strings.ReplaceAll(mutualSecret, " ", "_"))
			s := serve(t, k)
			url := "iscsi://"
			if tt.user != "" {
				url += tt.user + "@"
			}
			url += s.address
			if tt.program == "iscsi-inq" {
				url += "/" + targetName + "/0"
			}
			if tt.query != "" {
				url += "?" + tt.query
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, tt.program, url).CombinedOutput()
			if (err != nil) != tt.fails || !strings.Contains(string(out), tt.want) {
				t.Errorf("%s %s: %v\n%s", tt.program, url, err, out)
			}
			if tt.fails {
				return
			}
			if r := <-s.results; (r.CHAPName != "") != (tt.security != NoSecurity) {
				t.Errorf("the login came to %+v", r)
			}
		})
	}
}

// server is a target for TestLibiscsi.
type server struct {
	address string
	config  *Config
	results chan Result // of the first login
}

func serve(t *testing.T, k *known) *server {
	c, err := Config{Authority: k}.Check()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{listener.Addr().String(), c, make(chan Result, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if err := s.connection(conn); err != nil {
				t.Logf("a connection ended: %v", err)
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-done
	})
	return s
}

// connection serves one connection until it ends.
func (s *server) connection(conn net.Conn) error {
	r, w := pdu.NewReader(conn), pdu.NewWriter(conn)
	defer r.Close()
	l := New(s.config)
	for outcome := Continue; outcome != Done; {
		p, err := r.Next()
		if err != nil {
			return err
		}
		reply := l.Step(p.BHS, p.Data)
		if reply.Outcome == Admit {
			reply = l.Admit(1)
		}
		if outcome = reply.Outcome; outcome == Drop {
			return reply.Err
		}
		reply.Response.Encode(w.Begin())
		w.End(reply.Text, nil)
		if err := w.Flush(); err != nil || outcome == Failed {
			return reply.Err
		}
	}
	result := l.Result()
	select {
	case s.results <- result:
	default:
	}
	r.SetLimits(pdu.Limits{
		MaxRecvDataSegmentLength: result.Params.TargetMaxRecvDataSegmentLength,
		HeaderDigest:             result.Params.HeaderDigest, DataDigest: result.Params.DataDigest,
	})
	w.SetDigests(result.Params.HeaderDigest, result.Params.DataDigest)
	text := NewText(s.config, &result, &listed{[]TargetRecord{{Name: targetName, Addresses: []string{s.address + ",1"}}}})
	for ended := false; !ended; {
		p, err := r.Next()
		if err != nil {
			return err
		}
		rules := pdu.Rules{MaxRecvDataSegmentLength: result.Params.TargetMaxRecvDataSegmentLength, FirstBurstLength: result.Params.FirstBurstLength, InitialR2T: result.Params.InitialR2T, ImmediateData: result.Params.ImmediateData}
		if broken := rules.Check(p.BHS, p.AHS); broken != nil {
			return broken
		}
		if ended, err = answerPDU(&result, text, p, w); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// answerPDU answers what the programs send once they have logged in.
func answerPDU(result *Result, text *Text, p *pdu.PDU, w *pdu.Writer) (ended bool, err error) {
	if !p.BHS.Immediate() {
		result.CmdSN++
	}
	sn := pdu.TargetSN{StatSN: result.StatSN, ExpCmdSN: result.CmdSN, MaxCmdSN: result.CmdSN + 127}
	result.StatSN++
	switch p.BHS.Opcode() {
	case pdu.OpText:
		reply := text.Step(p.BHS, p.Data)
		if reply.Reject != 0 {
			return true, reply.Err
		}
		reply.Response.TargetSN = sn
		reply.Response.Encode(w.Begin())
		w.End(reply.Text, nil)
	case pdu.OpSCSICommand:
		var c pdu.SCSICommand
		c.Decode(p.BHS)
		if c.CDB[0] == 0x12 {
			data := append([]byte{0, 0, 6, 2, 31, 0, 0, 0}, "elstore LOGIN           1   "...)
			data = data[:min(len(data), int(c.ExpectedDataTransferLength))]
			in := pdu.DataIn{Final: true, HasStatus: true, InitiatorTaskTag: c.InitiatorTaskTag, TargetTransferTag: pdu.ReservedTag, TargetSN: sn}
			if in.ResidualCount = c.ExpectedDataTransferLength - uint32(len(data)); in.ResidualCount > 0 {
				in.Underflow = true
			}
			in.Encode(w.Begin())
			w.End(data, nil)
			return false, nil
		}
		response := pdu.SCSIResponse{InitiatorTaskTag: c.InitiatorTaskTag, TargetSN: sn}
		response.Encode(w.Begin())
		w.End(nil, nil)
	case pdu.OpLogout:
		logout := pdu.LogoutResponse{InitiatorTaskTag: p.BHS.InitiatorTaskTag(), TargetSN: sn}
		logout.Encode(w.Begin())
		w.End(nil, nil)
		return true, nil
	default:
		return true, fmt.Errorf("a %v came", p.BHS.Opcode())
	}
	return false, nil
}
