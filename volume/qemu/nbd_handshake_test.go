package qemu

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"elstore/volume/nbdwire"
)

func optionReply(option, reply uint32, payload ...any) []byte {
	b := nbdBytes(payload...)
	return nbdBytes(uint64(nbdwire.OptionReply), option, reply, uint32(len(b)), b)
}

// The parts of a handshake as QEMU makes it.
var (
	nbdHello      = nbdBytes("NBDMAGICIHAVEOPT", uint16(3))
	nbdAckChunks  = optionReply(nbdwire.OptStructuredReply, nbdwire.RepAck)
	nbdAckContext = nbdBytes(optionReply(nbdwire.OptSetMetaContext, nbdwire.RepMetaContext, uint32(1), nbdwire.BaseAllocation), optionReply(nbdwire.OptSetMetaContext, nbdwire.RepAck))
	nbdGoInfo     = optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoExport), uint64(1<<20), uint16(nbdwire.HasFlags|nbdwire.SendFlush))
	nbdGoBlocks   = optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoBlockSize), uint32(1), uint32(4096), uint32(1<<20))
	nbdGoAck      = optionReply(nbdwire.OptGo, nbdwire.RepAck)
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
			nbdExport{size: 1 << 20, flags: nbdwire.HasFlags | nbdwire.SendFlush, structured: true, context: 1, status: true, maxBlock: 1 << 20},
			"",
		},
		"simple replies only": {
			[][]byte{nbdHello, optionReply(nbdwire.OptStructuredReply, nbdwire.RepError|1), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdwire.HasFlags | nbdwire.SendFlush, maxBlock: nbdMaxData},
			"",
		},
		"no context": {
			[][]byte{nbdHello, nbdAckChunks, optionReply(nbdwire.OptSetMetaContext, nbdwire.RepAck), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdwire.HasFlags | nbdwire.SendFlush, structured: true, maxBlock: nbdMaxData},
			"",
		},
		"unknown information": {
			[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(9), "what"), nbdGoInfo, nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdwire.HasFlags | nbdwire.SendFlush, structured: true, context: 1, status: true, maxBlock: nbdMaxData},
			"",
		},
		"tiny blocks are not believed": {
			[][]byte{nbdHello, nbdAckChunks, nbdAckContext, nbdGoInfo, optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoBlockSize), uint32(1), uint32(1), uint32(1)), nbdGoAck},
			nbdExport{size: 1 << 20, flags: nbdwire.HasFlags | nbdwire.SendFlush, structured: true, context: 1, status: true, maxBlock: nbdMaxData},
			"",
		},
		"nothing":            {nil, nbdExport{}, "EOF"},
		"not NBD":            {[][]byte{[]byte("HTTP/1.1 400 Bad Request\r\n")}, nbdExport{}, "fixed newstyle"},
		"oldstyle":           {[][]byte{nbdBytes("NBDMAGIC", uint64(0x420281861253), uint16(0))}, nbdExport{}, "fixed newstyle"},
		"not fixed":          {[][]byte{nbdBytes("NBDMAGICIHAVEOPT", uint16(0))}, nbdExport{}, "fixed newstyle"},
		"ends":               {[][]byte{nbdHello, nbdAckChunks[:10]}, nbdExport{}, "EOF"},
		"no reply":           {[][]byte{nbdHello, make([]byte, 20)}, nbdExport{}, "no reply"},
		"of another option":  {[][]byte{nbdHello, optionReply(nbdwire.OptGo, nbdwire.RepAck)}, nbdExport{}, "no reply"},
		"too long":           {[][]byte{nbdHello, nbdBytes(uint64(nbdwire.OptionReply), uint32(nbdwire.OptStructuredReply), uint32(nbdwire.RepAck), ^uint32(0))}, nbdExport{}, "bytes"},
		"odd answer":         {[][]byte{nbdHello, optionReply(nbdwire.OptStructuredReply, nbdwire.RepInfo)}, nbdExport{}, "answered option"},
		"malformed context":  {[][]byte{nbdHello, nbdAckChunks, optionReply(nbdwire.OptSetMetaContext, nbdwire.RepMetaContext, "x")}, nbdExport{}, "malformed"},
		"refused":            {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepError|6, "no such export")}, nbdExport{}, "no such export"},
		"malformed export":   {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoExport), "x")}, nbdExport{}, "malformed"},
		"malformed blocks":   {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoBlockSize), "x")}, nbdExport{}, "malformed"},
		"malformed info":     {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepInfo, "x")}, nbdExport{}, "malformed"},
		"larger than can be": {[][]byte{nbdHello, nbdAckChunks, nbdAckContext, optionReply(nbdwire.OptGo, nbdwire.RepInfo, uint16(nbdwire.InfoExport), ^uint64(0), uint16(1))}, nbdExport{}, "bytes"},
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
	f.Add(nbdBytes(nbdHello, optionReply(nbdwire.OptStructuredReply, nbdwire.RepError|1), nbdGoInfo, nbdGoAck))
	f.Fuzz(func(t *testing.T, says []byte) {
		e, err := nbdHandshake(&script{Reader: strings.NewReader(string(says))}, "")
		if err == nil && (e.size < 0 || e.maxBlock < 64<<10 || e.maxBlock > nbdMaxData) {
			t.Fatalf("%+v", e)
		}
	})
}
