package qemu

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
)

func optionReply(option, reply uint32, payload ...any) []byte {
	b := nbdBytes(payload...)
	return nbdBytes(uint64(nbdOptReply), option, reply, uint32(len(b)), b)
}

// The parts of a handshake as QEMU makes it.
var (
	nbdHello      = nbdBytes("NBDMAGICIHAVEOPT", uint16(3))
	nbdAckChunks  = optionReply(nbdOptStructuredReply, nbdRepAck)
	nbdAckContext = nbdBytes(optionReply(nbdOptSetMetaContext, nbdRepMetaContext, uint32(1), nbdContext), optionReply(nbdOptSetMetaContext, nbdRepAck))
	nbdGoInfo     = optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoExport), uint64(1<<20), uint16(nbdHasFlags|nbdSendFlush))
	nbdGoBlocks   = optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoBlockSize), uint32(1), uint32(4096), uint32(1<<20))
	nbdGoAck      = optionReply(nbdOptGo, nbdRepAck)
)

// script is a server that says its part whatever it hears.
type script struct {
	io.Reader
	heard strings.Builder
}

func (s *script) Write(p []byte) (int, error) { return s.heard.Write(p) }

func TestNBDHandshake(t *testing.T) {
	for name, tc := range map[string]struct {
		says [][]byte
		want nbdExport
		err  string // or a part of the error
	}{
		"QEMU": {
			[][]byte{nbdHello, nbdAckChunks, nbdAckContext, nbdGoInfo, nbdGoBlocks, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdHasFlags | nbdSendFlush, structured: true, context: 1, status: true, maxBlock: 1 << 20},
			"",
		},
		"simple replies only": {
			[][]byte{nbdHello, optionReply(nbdOptStructuredReply, nbdRepError|1), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdHasFlags | nbdSendFlush, maxBlock: nbdMaxData},
			"",
		},
		"no context": {
			[][]byte{nbdHello, nbdAckChunks, optionReply(nbdOptSetMetaContext, nbdRepAck), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdHasFlags | nbdSendFlush, structured: true, maxBlock: nbdMaxData},
			"",
		},
		"unknown information": {
			[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepInfo, uint16(9), "what"), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdHasFlags | nbdSendFlush, structured: true, context: 1, status: true, maxBlock: nbdMaxData},
			"",
		},
		"tiny blocks are not believed": {
			[][]byte{nbdHello, nbdAckChunks, nbdAckContext, nbdGoInfo, optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoBlockSize), uint32(1), uint32(1), uint32(1)), nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdHasFlags | nbdSendFlush, structured: true, context: 1, status: true, maxBlock: nbdMaxData},
			"",
		},
		"nothing":            {nil, nbdExport{}, "EOF"},
		"not NBD":            {[][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n")}, nbdExport{}, "fixed newstyle"},
		"oldstyle":           {[][]byte{nbdBytes("NBDMAGIC", uint64(0x420281861253), uint16(0))}, nbdExport{}, "fixed newstyle"},
		"not fixed":          {[][]byte{nbdBytes("NBDMAGICIHAVEOPT", uint16(0))}, nbdExport{}, "fixed newstyle"},
		"ends":               {[][]byte{nbdHello, nbdAckChunks[:10]}, nbdExport{}, "EOF"},
		"no reply":           {[][]byte{nbdHello, make([]byte, 20)}, nbdExport{}, "no reply"},
		"of another option":  {[][]byte{nbdHello, optionReply(nbdOptGo, nbdRepAck)}, nbdExport{}, "no reply"},
		"too long":           {[][]byte{nbdHello, nbdBytes(uint64(nbdOptReply), uint32(nbdOptStructuredReply), uint32(nbdRepAck), ^uint32(0))}, nbdExport{}, "bytes"},
		"odd answer":         {[][]byte{nbdHello, optionReply(nbdOptStructuredReply, nbdRepInfo)}, nbdExport{}, "answered option"},
		"malformed context":  {[][]byte{nbdHello, nbdAckChunks, optionReply(nbdOptSetMetaContext, nbdRepMetaContext, "x")}, nbdExport{}, "malformed"},
		"refused":            {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepError|6, "no such export")}, nbdExport{}, "no such export"},
		"malformed export":   {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoExport), "x")}, nbdExport{}, "malformed"},
		"malformed blocks":   {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoBlockSize), "x")}, nbdExport{}, "malformed"},
		"malformed info":     {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepInfo, "x")}, nbdExport{}, "malformed"},
		"larger than can be": {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdOptGo, nbdRepInfo, uint16(nbdInfoExport), ^uint64(0), uint16(1))}, nbdExport{}, "bytes"},
		"nothing described":  {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, nbdGoAck}, nbdExport{}, "describe"},
		"does not end":       {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, []byte(strings.Repeat(string(nbdGoInfo), 100))}, nbdExport{}, "end"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{Reader: strings.NewReader(string(nbdBytes(anys(tc.says)...)))}
			got, err := nbdHandshake(s, "")
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error is %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("got %+v, %v, want %+v", got, err, tc.want)
			}
			if !strings.HasPrefix(s.heard.String(), "\x00\x00\x00\x03IHAVEOPT\x00\x00\x00\x08\x00\x00\x00\x00") {
				t.Errorf("said %q", s.heard.String())
			}
		})
	}
}

func anys(s [][]byte) (a []any) {
	for _, b := range s {
		a = append(a, b)
	}
	return a
}

func TestNBDNegotiateEndsWithContext(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := nbdNegotiate(ctx, ours, "")
		done <- err
	}()
	if _, err := theirs.Write(nbdHello); err != nil {
		t.Fatal(err)
	}
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Fatalf("error is %v", err)
	}
}

func FuzzNBDHandshake(f *testing.F) {
	f.Add(nbdBytes(nbdHello, nbdAckChunks, nbdAckContext, nbdGoInfo, nbdGoBlocks, nbdGoAck))
	f.Add(nbdBytes(nbdHello, optionReply(nbdOptStructuredReply, nbdRepError|1), nbdGoInfo, nbdGoAck))
	f.Fuzz(func(t *testing.T, says []byte) {
		e, err := nbdHandshake(&script{Reader: strings.NewReader(string(says))}, "")
		if err == nil && (e.size < 0 || e.maxBlock < 64<<10 || e.maxBlock > nbdMaxData) {
			t.Fatalf("%+v", e)
		}
	})
}
