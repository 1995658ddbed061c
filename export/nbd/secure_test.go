package nbd

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"net"
	"testing"
	"time"

	"elstore/volume/nbdwire"
)

// serverTLS makes the configuration of a server that asks for no certificate.
func serverTLS(t testing.TB) *tls.Config {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(nil, template, template, public, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// dialSecure plays a client of an export that is there with TLS only.
func dialSecure(t *testing.T, e Export) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	ctx, stop := context.WithCancel(context.Background())
	p := &peer{t: t, conn: ours, end: make(chan error, 1), stop: stop}
	cfg := serverTLS(t)
	go func() {
		s, err := Secure(ctx, theirs, cfg)
		if err == nil {
			err = s.Serve(ctx, e)
		}
		p.end <- err
	}()
	t.Cleanup(func() { stop(); ours.Close() })
	if err := ours.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSecure(t *testing.T) {
	d := newDisk()
	p := dialSecure(t, Export{Name: "volume", Device: d})
	p.greet(nbdwire.FixedNewstyle | nbdwire.NoZeroes)
	for _, c := range []struct {
		option uint32
		data   []byte
		want   uint32
	}{
		{nbdwire.OptGo, goFor("volume"), nbdwire.RepTLSReqd},
		{nbdwire.OptInfo, goFor("volume"), nbdwire.RepTLSReqd},
		{nbdwire.OptList, nil, nbdwire.RepTLSReqd},
		{99, nil, nbdwire.RepTLSReqd},
		{nbdwire.OptStartTLS, []byte{1}, nbdwire.RepInvalid},
		{nbdwire.OptStartTLS, nil, nbdwire.RepAck},
	} {
		p.option(c.option, c.data)
		if got, data := p.reply(); got != c.want || len(data) > 0 {
			t.Errorf("option %d: reply %#x %q, want %#x", c.option, got, data, c.want)
		}
	}
	p.conn = tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true}) // who the server is is its owner's business
	p.option(nbdwire.OptStartTLS, nil)
	if got, _ := p.reply(); got != nbdwire.RepUnsup {
		t.Errorf("TLS in TLS: reply %#x", got)
	}
	p.option(nbdwire.OptGo, goFor("volume"))
	for {
		if got, _ := p.reply(); got == nbdwire.RepAck {
			break
		} else if got != nbdwire.RepInfo {
			t.Fatalf("reply %#x", got)
		}
	}
	if errno, _ := p.do(nbdwire.CmdWrite, nbdwire.FlagFUA, 512, 512, bytes.Repeat([]byte{7}, 512)); errno != 0 || d.data[512] != 7 {
		t.Error(errno)
	}
	if errno, out := p.do(nbdwire.CmdRead, 0, 0, 1024, nil); errno != 0 || out[511] != 0 || out[512] != 7 {
		t.Error(errno)
	}
	p.stop()
	if err := <-p.end; err == nil {
		t.Error("it ended by itself")
	}
}

// Nobody gets anything without TLS.
func TestSecureRefuses(t *testing.T) {
	for name, say := range map[string]func(p *peer){
		"an export by name": func(p *peer) { p.option(nbdwire.OptExportName, []byte("volume")) },
		"what is no option": func(p *peer) { p.write(make([]byte, 16)) },
		"what goes on in the clear": func(p *peer) {
			p.option(nbdwire.OptStartTLS, nil)
			p.reply()
			go func() { _, _ = io.Copy(io.Discard, p.conn) }() // TLS says why it ends
			p.option(nbdwire.OptGo, goFor("volume"))
		},
		"an abort": func(p *peer) { p.option(nbdwire.OptAbort, nil); p.reply() },
		"silence":  func(p *peer) { p.stop() },
	} {
		t.Run(name, func(t *testing.T) {
			p := dialSecure(t, Export{Name: "volume", Device: newDisk()})
			p.greet(nbdwire.FixedNewstyle | nbdwire.NoZeroes)
			say(p)
			if err := <-p.end; err == nil {
				t.Error("it was served")
			}
		})
	}
}

func TestPace(t *testing.T) {
	slow := errors.New("it takes too long")
	type asked struct {
		kind  Kind
		bytes int
	}
	var last asked
	p := dial(t, Export{Device: newDisk(), Pace: func(_ context.Context, kind Kind, bytes int) error {
		last = asked{kind, bytes}
		if bytes == 1024 {
			return slow
		}
		return nil
	}})
	p.begin()
	for _, tt := range []struct {
		command nbdwire.Command
		length  uint32
		want    asked
	}{
		{nbdwire.CmdRead, 512, asked{Read, 512}},
		{nbdwire.CmdWrite, 512, asked{Write, 512}},
		{nbdwire.CmdTrim, 4096, asked{Write, 0}},
		{nbdwire.CmdWriteZeroes, 4096, asked{Write, 0}},
		{nbdwire.CmdFlush, 0, asked{Other, 0}},
		{nbdwire.CmdRead, 1024, asked{Read, 1024}},
	} {
		var data []byte
		if tt.command == nbdwire.CmdWrite {
			data = make([]byte, tt.length)
		}
		errno, _ := p.do(tt.command, 0, 0, tt.length, data)
		if last != tt.want || (errno != 0) != (tt.length == 1024) {
			t.Errorf("command %d: asked about %+v, ended with %v", tt.command, last, errno)
		}
	}
}

func FuzzSecure(f *testing.F) {
	cfg := serverTLS(f)
	greeting := binary.BigEndian.AppendUint32(nil, nbdwire.FixedNewstyle|nbdwire.NoZeroes)
	option := func(option uint32, data []byte) []byte {
		b := binary.BigEndian.AppendUint64(bytes.Clone(greeting), nbdwire.OptionMagic)
		b = binary.BigEndian.AppendUint32(b, option)
		return append(binary.BigEndian.AppendUint32(b, uint32(len(data))), data...)
	}
	f.Add(option(nbdwire.OptStartTLS, nil))
	f.Add(append(option(nbdwire.OptStartTLS, nil), 22, 3, 1, 0, 5))
	f.Add(option(nbdwire.OptGo, goFor("v")))
	f.Fuzz(func(t *testing.T, data []byte) {
		ours, theirs := net.Pipe()
		end := make(chan error, 1)
		go func() {
			_, err := Secure(context.Background(), theirs, cfg)
			end <- err
		}()
		go func() { _, _ = io.Copy(io.Discard, ours) }()
		_, _ = ours.Write(data)
		ours.Close()
		if err := <-end; err == nil {
			t.Error("TLS without a handshake")
		}
	})
}
