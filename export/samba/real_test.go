package samba

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/test/need"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

const (
	mib      = 1 << 20
	patience = 60 * time.Second // for what should take milliseconds
)

var (
	alice = rig.Alice
	bob   = rig.Bob
)

// place is a server's parts on a root with one pool, with a real smbd.
type place struct {
	*rig.Parts
	*export.Service
	t    testing.TB
	kind *Kind
	pool string
}

// newPlace makes one. prepare may put volumes into the pool before it is read.
func newPlace(t testing.TB, guests bool, prepare func(pool string)) *place {
	t.Helper()
	need.Root(t)
	need.Program(t, "smbd", "net", "smbcontrol", "smbclient")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	if prepare != nil {
		prepare(pool)
	}
	return startPlace(t, root, Config{Listener: l, Portals: []string{l.Addr().String()}, Guests: guests})
}

// startPlace starts a server's parts on the pool of a root.
func startPlace(t testing.TB, root string, cfg Config) *place {
	t.Helper()
	p := &place{t: t, pool: filepath.Join(root, "pool"), Parts: rig.Assemble(t, root, nil)}
	var err error
	if p.kind, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	p.Service, err = export.New(export.Config{
		Volumes: p.Volumes, Events: p.Events, Log: slog.New(slog.DiscardHandler), ServerID: serverID, Kinds: []export.Kind{p.kind},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

const serverID = "0123456789abcdef0123456789abcdef"

// create makes a volume of alice's, with noise in it.
func (p *place) create(format volume.Format, size int) (volume.ID, []byte) {
	p.t.Helper()
	m := volume.Meta{Creator: alice, Name: "disk", Alg: volume.Copy, Format: format, Bus: volume.Virtio, Size: int64(size)}
	v, err := p.Volumes.Create(p.t.Context(), volume.NewVolume{Meta: m}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	data := noise(size)
	o, err := p.Volumes.Open(p.t.Context(), v.ID, volume.Claim{Export: "test"})
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := o.WriteAt(data, 0); err != nil {
		p.t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		p.t.Fatal(err)
	}
	return v.ID, data
}

func noise(n int) []byte {
	data := make([]byte, n)
	seed := rand.NewPCG(uint64(n), 1)
	for i := 0; i+8 <= n; i += 8 {
		binary.NativeEndian.PutUint64(data[i:], seed.Uint64())
	}
	return data
}

// content reads the volume, exported or not.
func (p *place) content(id volume.ID) []byte {
	p.t.Helper()
	o, err := p.Volumes.Open(p.t.Context(), id, volume.Claim{Export: "test", ReadOnly: true})
	if err != nil {
		p.t.Fatal(err)
	}
	defer o.Close()
	data := make([]byte, o.Size())
	if _, err := o.ReadAt(data, 0); err != nil {
		p.t.Fatal(err)
	}
	return data
}

func (p *place) export(q export.Request) *export.Answer {
	p.t.Helper()
	if q.Client.IsZero() {
		q.Client = alice
	}
	a, err := p.Export(p.t.Context(), q)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// command is a run of smbclient in a directory, with commands of its own language.
func command(ctx context.Context, dir, line, commands string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", line+` -c "$0"`, commands)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	return cmd
}

// smb runs smbclient, and returns what it said.
func (p *place) smb(dir, line, commands string) (string, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	out, err := command(ctx, dir, line, commands).CombinedOutput()
	if ctx.Err() != nil {
		p.t.Fatalf("smbclient %q hangs: %s", commands, out)
	}
	return string(out), err
}

// wants runs smbclient, which is to say something: "" is to end well.
func (p *place) wants(dir, line, commands, want string) {
	p.t.Helper()
	out, err := p.smb(dir, line, commands)
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(out, want)) {
		p.t.Errorf("%s: %v, said %s, want %q", commands, err, out, want)
	}
}

// eventually waits until wrong returns "".
func eventually(t testing.TB, wrong func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		what := wrong()
		if what == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestReadAndWrite(t *testing.T) {
	p := newPlace(t, false, nil)
	for _, format := range []volume.Format{volume.Raw, volume.QCOW2} {
		t.Run(string(format), func(t *testing.T) {
			if format == volume.QCOW2 {
				need.Program(t, "qemu-img", "qemu-storage-daemon")
			}
			size := 4 * mib
			id, data := p.create(format, size)
			line := p.export(export.Request{Volume: id}).Access.Smbclient
			dir := t.TempDir()
			p.wants(dir, line, "get data.img", "")
			if got, err := os.ReadFile(filepath.Join(dir, "data.img")); err != nil || !bytes.Equal(got, data) {
				t.Errorf("read %d other bytes, %v", len(got), err)
			}
			fresh := noise(size + mib)
			for name, part := range map[string][]byte{"same": fresh[:size], "odd": fresh[:size/2+77], "long": fresh} {
				if err := os.WriteFile(filepath.Join(dir, name), part, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p.wants(dir, line, "put same data.img", "")
			if !bytes.Equal(p.content(id), fresh[:size]) {
				t.Error("what was written is not there")
			}
			for i := range fresh {
				fresh[i] ^= 0xff
			}
			if err := os.WriteFile(filepath.Join(dir, "odd"), fresh[:size/2+77], 0o600); err != nil {
				t.Fatal(err)
			}
			p.wants(dir, line, "put odd data.img", "")
			got := p.content(id)
			if !bytes.Equal(got[:size/2+77], fresh[:size/2+77]) || got[size/2+77] == fresh[size/2+77] || len(got) != size {
				t.Errorf("a part was written, and the %d bytes are not what is to be", len(got))
			}
			p.wants(dir, line, "put long data.img", "NT_STATUS_DISK_FULL")
			if got := p.content(id); len(got) != size {
				t.Errorf("the volume has %d bytes", len(got))
			}
			list := p.List(t.Context(), export.Query{Volume: &id})
			if len(list) != 1 || list[0].Counts.ReadBytes < uint64(size) || list[0].Counts.WriteBytes < uint64(size) || len(list[0].Sessions) > 0 {
				t.Errorf("%+v", list)
			}
		})
	}
}

func TestNothingButTheFile(t *testing.T) {
	p := newPlace(t, false, nil)
	id, data := p.create(volume.Raw, mib)
	line := p.export(export.Request{Volume: id}).Access.Smbclient
	dir := t.TempDir()
	out, err := p.smb(dir, line, "ls")
	if err != nil || strings.Count(out, "\n  ")+1 != 3 || !strings.Contains(out, "data.img") {
		t.Errorf("%v: %s", err, out)
	}
	for _, name := range []string{
		"meta.json", "../meta.json", `..\\meta.json`, ".export/exports.json", ".lock", "/meta.json", "../../pool/settings.json", "data.raw",
		"../vid." + id.String() + ".elimg/meta.json", filepath.Join(p.pool, "vid."+id.String()+".elimg", "meta.json"), "../../etc/passwd",
	} {
		p.wants(dir, line, "get "+name+" stolen", "NT_STATUS_")
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, commands := range []string{
		"put x other", "put x ../other", "del data.img", "rename data.img other", "mkdir y", "rmdir .", "symlink x y", "setmode data.img +r", "rename data.img ../other",
	} {
		out, err := p.smb(dir, line, commands)
		if !strings.Contains(out, "NT_STATUS_") {
			t.Errorf("%s: %v: %s", commands, err, out)
		}
	}
	if !bytes.Equal(p.content(id), data) {
		t.Error("the content changed")
	}
	if traces, err := filepath.Glob(filepath.Join(p.pool, "vid.*", "other*")); err != nil || traces != nil {
		t.Errorf("%q, %v", traces, err)
	}
}

func TestWhoGetsIn(t *testing.T) {
	p := newPlace(t, false, nil)
	id, data := p.create(volume.Raw, mib)
	other, _ := p.create(volume.Raw, mib)
	a := p.export(export.Request{Volume: id}).Access
	b := p.export(export.Request{Volume: other, Client: bob}).Access
	dir := t.TempDir()
	p.wants(dir, a.Smbclient, "ls", "")
	p.wants(dir, a.Smbclient+" --option='client max protocol=SMB2_10'", "ls", "")
	tests := []struct{ name, line, want string }{
		{"a wrong password", strings.Replace(a.Smbclient, a.Secret, "wrong", 1), "NT_STATUS_LOGON_FAILURE"},
		{"no password", strings.Replace(a.Smbclient, "%"+a.Secret, "%", 1), "NT_STATUS_LOGON_FAILURE"},
		{"another user", strings.Replace(a.Smbclient, a.User+"%"+a.Secret, b.User+"%"+b.Secret, 1), "NT_STATUS_ACCESS_DENIED"},
		{"nobody", strings.Replace(a.Smbclient, a.User+"%"+a.Secret, "guest%", 1), "NT_STATUS_LOGON_FAILURE"},
		{"anonymous", strings.Replace(a.Smbclient, a.User+"%"+a.Secret, "%", 1) + " -N", "NT_STATUS_ACCESS_DENIED"},
		{"SMB 1", a.Smbclient + " --option='client min protocol=NT1' --option='client max protocol=NT1'", "NT_STATUS_"},
		{"SMB 2.0", a.Smbclient + " --option='client max protocol=SMB2_02'", "NT_STATUS_"},
		{"another share", strings.Replace(a.Smbclient, "//127.0.0.1/"+a.User, "//127.0.0.1/nothing", 1), "NT_STATUS_BAD_NETWORK_NAME"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(*testing.T) { p.wants(dir, tt.line, "ls", tt.want) })
	}
	if _, err := p.Export(t.Context(), export.Request{Volume: id, Client: bob}); !fault.Is(err, fault.VolumeAlreadyExported) {
		t.Errorf("a second client: %v", err)
	}
	if again := p.export(export.Request{Volume: id}).Access; again.Secret != a.Secret || again.UNC != a.UNC {
		t.Errorf("asked again: %+v", again)
	}
	fresh := p.export(export.Request{Volume: id, Rotate: true}).Access
	if fresh.User != a.User || fresh.Secret == a.Secret {
		t.Errorf("a new secret: %+v", fresh)
	}
	p.wants(dir, a.Smbclient, "ls", "NT_STATUS_LOGON_FAILURE")
	p.wants(dir, fresh.Smbclient, "ls", "")
	if !bytes.Equal(p.content(id), data) {
		t.Error("the content changed")
	}
}

func TestReadOnly(t *testing.T) {
	p := newPlace(t, false, nil)
	id, data := p.create(volume.Raw, mib)
	yes := true
	line := p.export(export.Request{Volume: id, ReadOnly: &yes}).Access.Smbclient
	dir := t.TempDir()
	p.wants(dir, line, "get data.img", "")
	p.wants(dir, line, "put data.img", "NT_STATUS_ACCESS_DENIED")
	if got, err := os.ReadFile(filepath.Join(dir, "data.img")); err != nil || !bytes.Equal(got, data) || !bytes.Equal(p.content(id), data) {
		t.Errorf("%d other bytes, %v", len(got), err)
	}
}

// writer is smbclient in the middle of writing.
type writer struct {
	io.WriteCloser
	cmd *exec.Cmd
	out bytes.Buffer
}

// write begins to write to the file, and returns when some of it has come to the volume.
func (p *place) write(id volume.ID, line string) *writer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	p.t.Cleanup(cancel)
	w := &writer{cmd: command(ctx, p.t.TempDir(), line, "put - data.img")}
	w.cmd.Stdout, w.cmd.Stderr = &w.out, &w.out
	var err error
	if w.WriteCloser, err = w.cmd.StdinPipe(); err != nil {
		p.t.Fatal(err)
	}
	if err := w.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	if _, err := w.Write(noise(4 * mib)); err != nil {
		_ = w.cmd.Wait()
		p.t.Fatalf("%v: %s", err, w.out.String())
	}
	eventually(p.t, func() string {
		list := p.List(p.t.Context(), export.Query{Volume: &id})
		if len(list) == 1 && list[0].Counts.WriteBytes >= mib && len(list[0].Sessions) == 1 {
			return ""
		}
		return fmt.Sprintf("nothing is written: %+v", list)
	})
	return w
}

func TestUnexportCutsWhoIsIn(t *testing.T) {
	p := newPlace(t, false, nil)
	id, _ := p.create(volume.Raw, 8*mib)
	a := p.export(export.Request{Volume: id}).Access
	w := p.write(id, a.Smbclient)
	s := p.List(t.Context(), export.Query{Volume: &id})[0].Sessions[0]
	if host, _, err := net.SplitHostPort(s.Remote); err != nil || host != "127.0.0.1" || s.Initiator != a.User {
		t.Errorf("the session is %+v", s)
	}
	if err := p.Unexport(t.Context(), id, alice, "", true); !fault.Is(err, fault.ExportBusy) {
		t.Errorf("ended if idle: %v", err)
	}
	if err := p.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	before := p.content(id)
	_, _ = w.Write(noise(4 * mib)) // it may not even be taken
	_ = w.Close()
	if err := w.cmd.Wait(); err == nil || !strings.Contains(w.out.String(), "NT_STATUS_") {
		t.Errorf("the writer ended with %v: %s", err, w.out.String())
	}
	if !bytes.Equal(p.content(id), before) {
		t.Error("it was written to after the export had ended")
	}
	p.wants(t.TempDir(), a.Smbclient, "ls", "NT_STATUS_LOGON_FAILURE")
	if v, err := p.Volumes.Get(t.Context(), id, nil); err != nil || len(v.Exports) > 0 {
		t.Errorf("still used by %q, %v", v.Exports, err)
	}
	p.wants(t.TempDir(), p.export(export.Request{Volume: id, Client: bob}).Access.Smbclient, "ls", "")
}

// TestFencedSessionStaysOut has a connection that was authenticated for one volume ask for the next, whose share it knows.
func TestFencedSessionStaysOut(t *testing.T) {
	p := newPlace(t, false, nil)
	first, _ := p.create(volume.Raw, 8*mib)
	second, data := p.create(volume.Raw, mib)
	a := p.export(export.Request{Volume: first}).Access
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "sh", "-c", a.Smbclient+" -E") // which is not buffered
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := func() string {
		text, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, _ = io.WriteString(in, "ls\n")
	eventually(t, func() string {
		if strings.Contains(said(), "data.img") {
			return ""
		}
		return "it is not connected: " + said()
	})
	if err := p.Unexport(t.Context(), first, alice, "", false); err != nil {
		t.Fatal(err)
	}
	b := p.export(export.Request{Volume: second, Client: bob}).Access
	_, _ = io.WriteString(in, "tcon "+b.User+"\nls\nget data.img stolen\nput out data.img\nexit\n")
	_ = in.Close()
	_ = cmd.Wait() // how it ends doesn't matter
	if stolen, err := os.ReadFile(filepath.Join(dir, "stolen")); err == nil && len(stolen) > 0 {
		t.Errorf("the fenced client read %d bytes of the other volume: %s", len(stolen), said())
	}
	if !strings.Contains(said(), "NT_STATUS_ACCESS_DENIED") {
		t.Errorf("nothing was refused: %s", said())
	}
	if !bytes.Equal(p.content(second), data) {
		t.Error("the fenced client wrote to the other volume")
	}
}

func TestSmbdIsKilled(t *testing.T) {
	p := newPlace(t, false, nil)
	id, _ := p.create(volume.Raw, 8*mib)
	a := p.export(export.Request{Volume: id}).Access
	for range 2 {
		w := p.write(id, a.Smbclient)
		all := rig.Below(t, os.Getpid(), "smbd")
		if len(all) < 2 {
			t.Fatalf("smbd has the processes %v", all)
		}
		first, err := os.FindProcess(all[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := first.Kill(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() string {
			for _, pid := range all {
				if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(data) == "smbd\n" {
					return fmt.Sprintf("%d of %v lives", pid, all)
				}
			}
			return ""
		})
		_ = w.Close()
		if err := w.cmd.Wait(); err == nil {
			t.Error("the writer ended well")
		}
		eventually(t, func() string {
			if out, err := p.smb(t.TempDir(), a.Smbclient, "ls"); err != nil {
				return out
			}
			return ""
		})
		if list := p.List(t.Context(), export.Query{Volume: &id}); len(list) != 1 || len(list[0].Sessions) > 0 {
			t.Errorf("afterwards: %+v", list)
		}
	}
	if err := p.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Error(err)
	}
	if err := p.kind.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if left := rig.Below(t, os.Getpid(), "smbd"); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

func TestManyAtOnce(t *testing.T) {
	p := newPlace(t, false, nil)
	const n = 24
	lines := make([]string, n)
	ids := make([]volume.ID, n)
	for i := range n {
		ids[i], _ = p.create(volume.Raw, 4096)
	}
	errs := make(chan error, n)
	for i := range n {
		go func() {
			a, err := p.Export(t.Context(), export.Request{Volume: ids[i], Client: alice})
			if err == nil {
				lines[i] = a.Access.Smbclient
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	for _, line := range lines {
		p.wants(t.TempDir(), line, "get data.img", "")
	}
	for i := range n {
		go func() { errs <- p.Unexport(t.Context(), ids[i], alice, "", false) }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	d := p.kind.host.server.(*smbd)
	if len(d.ledger.shares) > 0 {
		t.Errorf("left: %v", d.ledger.shares)
	}
	out, err := d.tool(t.Context(), "net", "-s", confPath, "conf", "listshares")
	if err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("smbd has %q, %v", out, err)
	}
}

func TestGuests(t *testing.T) {
	iso := bytes.Repeat([]byte("iso "), mib/4)
	public, private := volume.NewID(), volume.NewID()
	prepare := func(pool string) {
		putISO(t, pool, public, iso, false)
		putISO(t, pool, private, iso, true)
	}
	for _, guests := range []bool{true, false} {
		t.Run(fmt.Sprint(guests), func(t *testing.T) {
			p := newPlace(t, guests, prepare)
			raw, _ := p.create(volume.Raw, mib)
			for name, tt := range map[string]struct {
				id   volume.ID
				file string
				in   bool
			}{"public ISO": {public, "data.iso", guests}, "private ISO": {private, "data.iso", false}, "raw": {raw, "data.img", false}} {
				a := p.export(export.Request{Volume: tt.id}).Access
				guest := strings.Replace(a.Smbclient, a.User+"%"+a.Secret, "anybody%", 1)
				dir := t.TempDir()
				p.wants(dir, a.Smbclient, "get "+tt.file, "")
				if !tt.in {
					p.wants(dir, guest, "get "+tt.file+" stolen", "NT_STATUS_")
					continue
				}
				p.wants(dir, guest, "get "+tt.file+" guests", "")
				if got, err := os.ReadFile(filepath.Join(dir, "guests")); err != nil || !bytes.Equal(got, iso) {
					t.Errorf("%s: %d other bytes, %v", name, len(got), err)
				}
				p.wants(dir, guest, "put guests "+tt.file, "NT_STATUS_ACCESS_DENIED")
				p.testPrivacy(tt.id, guest, a.Smbclient)
			}
		})
	}
}

// putISO puts an ISO volume of alice's into a pool that nobody has open.
func putISO(t testing.TB, pool string, id volume.ID, content []byte, private bool) {
	t.Helper()
	dir := filepath.Join(pool, "vid."+id.String()+".elimg")
	meta := fmt.Sprintf(`{"creatorID": %q, "name": "cd", "private": %t, "readonly": true, "format": "iso", "bus": "sata", "size": %d}`, alice, private, len(content))
	err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "data.iso"), content, 0o600), os.WriteFile(filepath.Join(dir, "meta.json"), []byte(meta), 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// testPrivacy makes a volume private, with which guests lose what they have, and public again.
func (p *place) testPrivacy(id volume.ID, guest, user string) {
	p.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	defer running.Wait()
	defer stop()
	// Somebody who is there: smbclient keeps its connection until its input ends.
	cmd := exec.Command("sh", "-c", guest)
	in, err := cmd.StdinPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	there := p.t.TempDir()
	first, second := filepath.Join(there, "first"), filepath.Join(there, "second")
	if _, err := fmt.Fprintf(in, "get data.iso %s\n", first); err != nil {
		p.t.Fatal(err)
	}
	eventually(p.t, func() string {
		if info, err := os.Stat(first); err != nil || info.Size() != mib {
			return "the guest has not read it"
		}
		return ""
	})
	dir := p.t.TempDir()
	for _, private := range []bool{true, false} {
		if err := p.Volumes.Update(p.t.Context(), id, nil, volume.Change{Private: &private}); err != nil {
			p.t.Fatal(err)
		}
		eventually(p.t, func() string {
			if out, err := p.smb(dir, guest, "get data.iso got"); (err != nil) != private {
				return fmt.Sprintf("with private %t a guest gets: %v, %s", private, err, out)
			}
			return ""
		})
		eventually(p.t, func() string { // whoever connects while the guests are cut off is cut off with them
			if out, err := p.smb(dir, user, "get data.iso"); err != nil {
				return fmt.Sprintf("with private %t the user gets: %v, %s", private, err, out)
			}
			return ""
		})
		if private {
			if _, err := fmt.Fprintf(in, "get data.iso %s\nexit\n", second); err != nil {
				p.t.Logf("smbclient has ended: %v", err)
			}
			in.Close()
			_ = cmd.Wait() // it says that it was refused
			if info, err := os.Stat(second); err == nil && info.Size() > 0 {
				p.t.Errorf("a guest who was there reads %d bytes of what is private\n%s", info.Size(), out.String())
			}
		}
	}
}
