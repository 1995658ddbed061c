package samba

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/export"
	"elstore/test/rig"
	"elstore/volume"
	"elstore/volume/fault"
)

func TestMachinesSmbd(t *testing.T) {
	s := newTheirs(t)
	before := s.inventory()
	root := newRoot(t)
	p := s.place(root, false)
	id, data := p.create(volume.Raw, 8*mib)
	other, otherData := p.create(volume.Raw, mib)
	a := p.export(export.Request{Volume: id}).Access
	b := p.export(export.Request{Volume: other, Client: bob}).Access
	dir := t.TempDir()
	read := func(line string, want []byte) {
		t.Helper()
		p.wants(dir, line, "get data.img", "")
		if got, err := os.ReadFile(filepath.Join(dir, "data.img")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("read %d other bytes, %v", len(got), err)
		}
	}
	read(a.Smbclient, data)
	read(b.Smbclient, otherData)
	s.foreign(p)
	for i := range data {
		data[i] ^= 0xff
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.wants(dir, a.Smbclient, "put new data.img", "")
	if !bytes.Equal(p.content(id), data) {
		t.Error("what was written is not there")
	}
	for name, tt := range map[string]struct{ line, commands, want string }{
		"another's share":         {strings.Replace(a.Smbclient, a.User+"%"+a.Secret, b.User+"%"+b.Secret, 1), "ls", "NT_STATUS_ACCESS_DENIED"},
		"somebody of the machine": {strings.Replace(a.Smbclient, a.User+"%"+a.Secret, foreignUser+"%theirs", 1), "ls", "NT_STATUS_ACCESS_DENIED"},
		"a wrong password":        {strings.Replace(a.Smbclient, a.Secret, "wrong", 1), "ls", "NT_STATUS_LOGON_FAILURE"},
		"anonymous":               {a.Smbclient + " -N -U %", "ls", "NT_STATUS_"},
		"SMB 2.0":                 {a.Smbclient + " --option='client max protocol=SMB2_02'", "ls", "NT_STATUS_"},
		"another file":            {a.Smbclient, "put new other", "NT_STATUS_"},
		"the volume's directory":  {a.Smbclient, "get ../meta.json", "NT_STATUS_"},
		"a stream of the file":    {a.Smbclient, "put new data.img:stream", "NT_STATUS_"},
	} {
		t.Run(name, func(*testing.T) { p.wants(dir, tt.line, tt.commands, tt.want) })
	}
	if out, err := exec.Command("ls", filepath.Join(s.system.volumes(), a.User)).CombinedOutput(); err != nil || string(out) != "data.img\n" {
		t.Errorf("root finds %q, %v", out, err)
	}
	fresh := p.export(export.Request{Volume: id, Rotate: true}).Access
	p.wants(dir, a.Smbclient, "ls", "NT_STATUS_LOGON_FAILURE")
	read(fresh.Smbclient, data)

	w := p.write(id, fresh.Smbclient)
	if err := p.Unexport(t.Context(), id, alice, "", true); !fault.Is(err, fault.ExportBusy) {
		t.Errorf("ended if idle: %v", err)
	}
	if err := p.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Fatal(err)
	}
	had := p.content(id)
	_, _ = w.Write(noise(4 * mib))
	_ = w.Close()
	if err := w.cmd.Wait(); err == nil || !strings.Contains(w.out.String(), "NT_STATUS_") {
		t.Errorf("the writer ended with %v: %s", err, w.out.String())
	}
	if !bytes.Equal(p.content(id), had) {
		t.Error("it was written to after the export had ended")
	}
	p.wants(dir, fresh.Smbclient, "ls", "NT_STATUS_LOGON_FAILURE")
	read(b.Smbclient, otherData)
	if err := p.Unexport(t.Context(), other, bob, "", false); err != nil {
		t.Fatal(err)
	}
	s.foreign(p)
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if after := s.inventory(); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
}

// TestMachinesSmbdOutlivesServers has servers end in order and by a crash.
func TestMachinesSmbdOutlivesServers(t *testing.T) {
	s := newTheirs(t)
	before := s.inventory()
	root, dir := newRoot(t), t.TempDir()
	args := []string{"--samba-conf", s.conf, "--samba-listen", "127.0.0.1:" + s.port}
	server := rig.Start(t, root, args...)
	post := func(path string, body map[string]any, into any) {
		t.Helper()
		a, err := server.Post(t.Context(), path, body)
		if err != nil || a.Status != 200 {
			t.Fatalf("%s: %d %s, %v", path, a.Status, a.Body, err)
		}
		a.Into(t, into)
	}
	var v struct{ VID string }
	post("/create", map[string]any{"creatorID": alice, "name": "v", "size": 0.01}, &v)
	var first, again struct{ User, Secret, Smbclient string }
	wish := map[string]any{"volume_id": v.VID, "client_uid": alice, "type": "samba"}
	post("/export", wish, &first)
	p := &place{t: t}
	data := noise(mib)
	if err := os.WriteFile(filepath.Join(dir, "new"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.wants(dir, first.Smbclient, "put new data.img", "")
	id, err := os.ReadFile(filepath.Join(root, ".elstore", "server-id"))
	if err != nil {
		t.Fatal(err)
	}
	own := System{Dir: filepath.Join("/run/elstore-samba", strings.TrimSpace(string(id))), Mark: "elstore " + strings.TrimSpace(string(id))}
	t.Cleanup(func() { // where the test failed
		_ = own.unmount()
		_ = os.RemoveAll(own.Dir)
		_ = os.Remove(filepath.Dir(own.Dir))
	})
	for _, crash := range []bool{true, false} {
		if crash {
			server.Kill()
			// What a crash may leave of an export that is not recorded.
			s.must("useradd", "--system", "--no-create-home", "--uid", fmt.Sprint(firstSystemUID), "--comment", own.Mark, "v0")
			s.must("net", "-s", s.conf, "conf", "addshare", "v0", s.dir, "writeable=n", "guest_ok=n", own.Mark)
		} else if err := server.Stop(); err != nil {
			t.Fatalf("%v\n%s", err, server.Log())
		}
		server = rig.Start(t, root, args...)
		p.wants(dir, first.Smbclient, "get data.img", "")
		if got, err := os.ReadFile(filepath.Join(dir, "data.img")); err != nil || !bytes.HasPrefix(got, data) {
			t.Errorf("after a crash (%t): %d other bytes, %v", crash, len(got), err)
		}
		if post("/export", wish, &again); again != first {
			t.Errorf("after a crash (%t) the client is told %+v, not %+v", crash, again, first)
		}
		if has := s.inventory(); strings.Contains(has, "v0:") || strings.Contains(has, "[v0]") {
			t.Errorf("what is not recorded is there: %s", has)
		}
		s.foreign(p)
	}
	var ended map[string]any
	post("/unexport", map[string]any{"volume_id": v.VID, "client_uid": alice}, &ended)
	p.wants(dir, first.Smbclient, "ls", "NT_STATUS_LOGON_FAILURE")
	if err := server.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, server.Log())
	}
	if after := s.inventory(); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
	if _, err := os.Stat(own.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v", own.Dir, err)
	}
}

// TestMachinesSmbdRefusals has requests be told what keeps the machine's smbd from serving them.
func TestMachinesSmbdRefusals(t *testing.T) {
	s := newTheirs(t)
	p := s.place(newRoot(t), true)
	id, _ := p.create(volume.Raw, mib)
	good, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	before := s.inventory()
	refused := func(name, want string) {
		t.Helper()
		if _, err := p.Export(t.Context(), export.Request{Volume: id, Client: alice}); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("guests, of whom smbd knows nothing", "map to guest = Bad User")
	guests := "[global]\n\tmap to guest = Bad User\n"
	for name, c := range map[string]struct{ old, fresh, want string }{
		"no shares of the registry": {"include = registry", "", "include = registry"},
		"SMB 2.0":                   {"server min protocol = SMB2_10", "server min protocol = SMB2_02", "server min protocol = SMB2_10"},
		"no signing":                {"server signing = mandatory", "", "server signing = mandatory"},
		"a domain's users":          {"[global]", "[global]\n\tsecurity = domain\n\tworkgroup = X", "security = user"},
		"another place of its pid":  {"pid directory = " + filepath.Join(s.dir, "pid"), "pid directory = " + s.dir, "doesn't run"},
	} {
		text := strings.Replace(string(good), "[global]\n", guests, 1)
		changed := strings.Replace(text, c.old, c.fresh, 1)
		if changed == text {
			t.Fatalf("%s: nothing is replaced", name)
		}
		if err := os.WriteFile(s.conf, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(name, c.want)
	}
	if err := os.Remove(s.conf); err != nil {
		t.Fatal(err)
	}
	refused("no smb.conf", "can't be read")
	if err := os.WriteFile(s.conf, []byte(strings.Replace(string(good), "[global]\n", guests, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	line := p.export(export.Request{Volume: id}).Access.Smbclient
	p.wants(t.TempDir(), line, "ls", "")
	// The operator starts smbd again: what was exported is there still.
	s.stop()
	s.start()
	p.wants(t.TempDir(), line, "ls", "")
	s.stop()
	if _, err := p.Export(t.Context(), export.Request{Volume: p.Disk(t), Client: alice}); !fault.Is(err, fault.BadRequest) || !strings.Contains(err.Error(), "doesn't run") {
		t.Errorf("smbd is stopped: %v", err)
	}
	if err := p.Unexport(t.Context(), id, alice, "", false); err != nil {
		t.Errorf("unexported while smbd is stopped: %v", err)
	}
	if err := errors.Join(p.Close(t.Context()), os.WriteFile(s.conf, good, 0o600)); err != nil {
		t.Error(err)
	}
	if after := s.inventory(); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
}

func TestMachinesSmbdGuests(t *testing.T) {
	s := newTheirs(t, "\tmap to guest = Bad User\n")
	root := newRoot(t)
	iso := bytes.Repeat([]byte("iso "), mib/4)
	public := volume.NewID()
	putISO(t, filepath.Join(root, "pool"), public, iso, false)
	p := s.place(root, true)
	a := p.export(export.Request{Volume: public}).Access
	guest := strings.Replace(a.Smbclient, a.User+"%"+a.Secret, "anybody%", 1)
	dir := t.TempDir()
	p.wants(dir, guest, "get data.iso guests", "")
	if got, err := os.ReadFile(filepath.Join(dir, "guests")); err != nil || !bytes.Equal(got, iso) {
		t.Errorf("%d other bytes, %v", len(got), err)
	}
	p.wants(dir, guest, "put guests data.iso", "NT_STATUS_ACCESS_DENIED")
	p.testPrivacy(public, guest, a.Smbclient)
	raw, _ := p.create(volume.Raw, mib)
	b := p.export(export.Request{Volume: raw}).Access
	p.wants(dir, strings.Replace(b.Smbclient, b.User+"%"+b.Secret, "anybody%", 1), "ls", "NT_STATUS_ACCESS_DENIED")
}

// TestForeignNames has shares and accounts of others bear the names that ours would have.
func TestForeignNames(t *testing.T) {
	s := newTheirs(t)
	before := s.inventory()
	y := s.system
	for name, want := range map[string]string{foreignEntry: "share", strings.ToUpper(foreignEntry): "share", foreignUser: "account"} {
		f, err := y.look(false)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(y.Dir, 0o711); err != nil {
			t.Fatal(err)
		}
		d := newSystem(&y, f)
		uid, err := d.uid(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.put(t.Context(), share{name: name, uid: uid}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if err := d.drop(t.Context(), name); err != nil { // as is done where it could not be made
			t.Error(err)
		}
	}
	if after := s.inventory(); after != before {
		t.Errorf("the machine was\n%s\nand is\n%s", before, after)
	}
}
