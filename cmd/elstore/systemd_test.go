package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"elstore/test/rig"
)

// TestSystemdIsTold: a server says when it is ready, that it lives, and when it stops.
func TestSystemdIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	told := func() string {
		t.Helper()
		b := make([]byte, 4096)
		n, err := socket.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "30000")
	t.Run("while it runs", func(t *testing.T) {
		liveServer(t)
		if got := told(); !strings.HasPrefix(got, "READY=1\nSTATUS=serving /") {
			t.Errorf("first it says %q", got)
		}
		for range 3 {
			if got := told(); got != "WATCHDOG=1" {
				t.Errorf("then it says %q", got)
			}
		}
	})
	for {
		switch got := told(); got {
		case "WATCHDOG=1":
			continue
		case "STOPPING=1":
		default:
			t.Errorf("last it says %q", got)
		}
		return
	}
}

// TestSocketsOfSystemd: a server takes over the sockets that systemd holds, and leaves them to the next one, so that nobody is ever refused.
func TestSocketsOfSystemd(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "fast", `{}`)
	listen := func(address string) (*os.File, string) {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close(); _ = l.Close() })
		return f, l.Addr().String()
	}
	apiFile, apiAddress := listen("127.0.0.1:0")
	portalFile, portal := listen("127.0.0.1:0")
	public, _ := listen("0.0.0.0:0")
	launch := func(names string, files ...*os.File) (*exec.Cmd, *bytes.Buffer) {
		server, stderr := process(context.WithoutCancel(t.Context()), t, "serve", "--root", root, "--listen", "127.0.0.1:1", "--iscsi-listen", "127.0.0.1:1")
		cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, server.Args...)...)
		cmd.Env = append(server.Env, "LISTEN_FDS="+string(rune('0'+len(files))), "LISTEN_FDNAMES="+names)
		cmd.ExtraFiles, cmd.Stderr = files, stderr
		return cmd, stderr
	}
	for range 2 {
		cmd, stderr := launch("api:iscsi", apiFile, portalFile)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get("http://" + apiAddress + "/api/v1.0/pools") // which waits until the server is there
		if err != nil {
			t.Fatal(err)
		}
		var pools []map[string]any
		if err := json.NewDecoder(resp.Body).Decode(&pools); err != nil || len(pools) != 1 {
			t.Errorf("%v: %v", err, pools)
		}
		_ = resp.Body.Close()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), `"iscsi":["`+portal+`"]`) {
			t.Errorf("%v\n%s", err, stderr)
		}
	}
	for name, c := range map[string]struct {
		names string
		files []*os.File
		says  string
	}{
		"one that others reach": {"api:iscsi", []*os.File{public, portalFile}, "can be reached from other machines"},
		"a name of somebody":    {"http", []*os.File{apiFile}, "FileDescriptorName= may be api or iscsi"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, stderr := launch(c.names, c.files...)
			if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), c.says) {
				t.Errorf("%v: %s", err, stderr)
			}
		})
	}
}
