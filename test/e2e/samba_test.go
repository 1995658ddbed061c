package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/test/rig"
)

// shared is what /export answers of type samba.
type shared struct {
	User      string `json:"user"`
	Secret    string `json:"secret"`
	UNC       string `json:"unc"`
	Smbclient string `json:"smbclient"`
	Mount     string `json:"mount"`
}

func share(t *testing.T, s *rig.Server, id string) (a shared) {
	t.Helper()
	post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "samba"}, 200).Into(t, &a)
	return a
}

// smb runs smbclient in a directory with the line that /export printed.
func smb(t *testing.T, dir, line, commands string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", "exec "+line+` -c "$0"`, commands)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestSambaOutlivesRestarts(t *testing.T) {
	need.Root(t)
	need.Program(t, "smbd", "net", "smbcontrol", "smbclient")
	root, dir := t.TempDir(), t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root, "--samba-listen", "127.0.0.1:0")
	listen := s.Samba // from now on: clients come back to where they were
	id := vid(t, post(t, s, "/create", wish("v", 0.01), 200))
	a := share(t, s, id)
	data := bytes.Repeat([]byte("content "), 1_250_048/8)
	if err := os.WriteFile(filepath.Join(dir, "new"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := smb(t, dir, a.Smbclient, "put new data.img"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, end := range []string{"SIGKILL", "SIGTERM", "SIGKILL"} {
		all := rig.Below(t, s.Pid(), "smbd*")
		if len(all) == 0 {
			t.Fatal("there is no smbd")
		}
		// Somebody is in when it ends.
		held := exec.CommandContext(t.Context(), "sh", "-c", "exec "+a.Smbclient)
		stdin, err := held.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Start(); err != nil {
			t.Fatal(err)
		}
		if end == "SIGKILL" {
			s.Kill()
		} else if err := s.Stop(); err != nil {
			t.Fatalf("%v\n%s", err, s.Log())
		}
		stdin.Close()
		_ = held.Wait()
		eventually(t, func() string {
			for _, pid := range all {
				if comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm"); err == nil && string(comm) == "smbd\n" {
					return "smbd outlives its server, as process " + strconv.Itoa(pid)
				}
			}
			return ""
		})
		if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte("fuse.elstore")) {
			t.Errorf("something is left mounted (%v): %s", err, mounts)
		}
		s = rig.Start(t, root, "--samba-listen", listen)
		if out, err := smb(t, dir, a.Smbclient, "get data.img"); err != nil {
			t.Fatalf("after %s: %v: %s", end, err, out)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "data.img")); err != nil || !bytes.HasPrefix(got, data) {
			t.Errorf("after %s: %d other bytes, %v", end, len(got), err)
		}
		if again := share(t, s, id); again != a {
			t.Errorf("after %s the client is told %+v, not %+v", end, again, a)
		}
	}
	post(t, s, "/unexport", map[string]any{"volume_id": id, "client_uid": alice}, 200)
	if out, err := smb(t, dir, a.Smbclient, "ls"); err == nil || !strings.Contains(out, "NT_STATUS_LOGON_FAILURE") {
		t.Errorf("%v: %s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(pool, "vid.*", "*export*")); err != nil || left != nil {
		t.Errorf("%q, %v", left, err)
	}
}

func TestSambaIsOff(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	id := vid(t, post(t, s, "/create", wish("v", 0.01), 200))
	a := post(t, s, "/export", map[string]any{"volume_id": id, "client_uid": alice, "type": "samba"}, 400)
	if !strings.Contains(string(a.Body), "--samba-listen") {
		t.Errorf("%s", a.Body)
	}
	for _, args := range [][]string{
		{"--samba-guests"},
		{"--samba-listen", "nonsense"},
		{"--samba-listen", "0.0.0.0:0", "--samba-guests"},
		{"--samba-conf", "/etc/samba/smb.conf", "--samba-guests"},
		{"--samba-conf", "/etc/samba/smb.conf", "--samba-listen", "127.0.0.1:0"},
		{"--samba-conf", "/etc/samba/smb.conf", "--samba-listen", "nonsense:445"},
	} {
		s := rig.Launch(t, t.TempDir(), args...)
		if err := s.Ready(); err == nil || !strings.Contains(err.Error(), "--samba-") {
			t.Errorf("%q: %v", args, err)
		}
	}
}
