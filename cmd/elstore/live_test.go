package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/rig"
)

// liveServer runs `elstore serve` in this process on a root with the pool "fast", and points the environment to it.
// It returns the root. The server is stopped with the test, which fails if it did not end well.
func liveServer(t *testing.T, args ...string) string {
	t.Helper()
	root := t.TempDir()
	rig.Pool(t, root, "fast", `{"max-volumes": 20, "max-total-size": "1T"}`)
	t.Setenv("ELSTORE_SERVER", "") // it is no setting of the server, and must not be one
	ctx, cancel := context.WithCancel(context.Background())
	log, write := io.Pipe()
	code := make(chan int, 1)
	go func() {
		defer write.Close()
		code <- run(ctx, append([]string{"serve", "--root", root, "--listen", "127.0.0.1:0", "--iscsi-listen", "127.0.0.1:0"}, args...), strings.NewReader(""), io.Discard, write)
	}()
	t.Cleanup(func() {
		cancel()
		if c := <-code; c != exitOK {
			t.Errorf("the server ended with code %d", c)
		}
	})
	lines := json.NewDecoder(log)
	for {
		var line struct {
			Msg string   `json:"msg"`
			API []string `json:"api"`
		}
		if err := lines.Decode(&line); err != nil {
			t.Fatalf("the server did not become ready: %v", err)
		}
		if line.Msg == "ready" {
			t.Setenv("ELSTORE_SERVER", line.API[0])
			t.Setenv("ELSTORE_CLIENT", "")
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }() // ends with the server
	return root
}

// TestStory is one life of a volume, against the real server.
func TestStory(t *testing.T) {
	root := liveServer(t)
	if out := succeeds(t, "pool", "show", "fast"); !strings.Contains(out, "valid") || !strings.Contains(out, "0 of 20") {
		t.Errorf("pool show: %s", out)
	}
	if out := succeeds(t, "pool", "refresh"); out != "Pool fast: 0 volumes came, 0 went.\n" {
		t.Errorf("pool refresh: %s", out)
	}
	id := strings.TrimSpace(succeeds(t, "-q", "volume", "create", "web", "--size", "8M"))
	if _, ok := fullID(id); !ok {
		t.Fatalf("volume create -q printed %q", id)
	}
	if again := strings.TrimSpace(succeeds(t, "-q", "volume", "create", "twin", "--size", "8M", "--idempotency-key", "k")); again !=
		strings.TrimSpace(succeeds(t, "-q", "volume", "create", "twin", "--size", "8M", "--idempotency-key", "k")) {
		t.Error("the same key made two volumes")
	}
	fails(t, exitConflict, "volume", "create", "other", "--size", "8M", "--idempotency-key", "k")

	data := bytes.Repeat([]byte("elstore "), 1<<20)
	image := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, data, 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, exitFailure, "volume", "upload", "web", image) // larger than the volume
	succeeds(t, "volume", "resize", "web", "9M")
	succeeds(t, "volume", "upload", "web", image)
	back := filepath.Join(t.TempDir(), "back.img")
	succeeds(t, "volume", "download", id[:6], back)
	want := make([]byte, 9_000_448) // 9 MB, up to a whole sector
	copy(want, data)
	if got, err := os.ReadFile(back); err != nil || !bytes.Equal(got, want) {
		t.Errorf("downloaded %d bytes, %v; want %d", len(got), err, len(want))
	}
	fails(t, exitUsage, "volume", "download", "web", back)
	succeeds(t, "volume", "download", "web", back, "--force")
	if out := elstore(t, "volume", "download", "web", "-"); out.code != exitOK || out.stdout != string(want) {
		t.Errorf("downloaded %d bytes to the standard output, code %d", len(out.stdout), out.code)
	}
	t.Run("into the current directory", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if out := succeeds(t, "-q", "volume", "download", "web"); out != "web.img\n" {
			t.Errorf("downloaded to %q", out)
		}
	})

	succeeds(t, "volume", "set", "web", "name=www", "private=true", "note=mine")
	fails(t, exitNotFound, "volume", "info", "web")
	fails(t, exitNotFound, "volume", "info", "www", "--client", bob) // it is private
	fails(t, exitNotAllowed, "volume", "transfer", "twin", bob, "--client", bob)
	succeeds(t, "volume", "transfer", "twin", bob)
	fails(t, exitNotAllowed, "volume", "set", "twin", "name=x")
	fails(t, exitNotAllowed, "volume", "destroy", "twin")
	succeeds(t, "volume", "clone", "www", "copy")
	if out := elstore(t, "volume", "download", "copy", "-"); out.stdout != string(want) {
		t.Error("the clone's content is another")
	}
	fails(t, exitFailure, "volume", "resize", "copy", "1M")
	succeeds(t, "volume", "resize", "copy", "1M", "--shrink")
	fails(t, exitNoSpace, "volume", "create", "huge", "--size", "2T")
	fails(t, exitUsage, "volume", "create", "odd", "--size", "1G", "--bus", "usb")
	fails(t, exitUsage, "volume", "create", "odd", "--size", "1G", "--shareable", "--bootable")
	fails(t, exitNotFound, "volume", "create", "odd", "--size", "1G", "--pool", "none")

	succeeds(t, "volume", "destroy", "www", "copy")
	succeeds(t, "volume", "destroy", id)
	if out := succeeds(t, "trash", "list", "-q"); strings.Count(out, "\n") != 2 {
		t.Errorf("trash list: %s", out)
	}
	succeeds(t, "volume", "restore", "www")
	if out := succeeds(t, "volume", "info", "www", "--json"); !strings.Contains(out, `"note":"mine"`) {
		t.Errorf("the volume came back as %s", out)
	}
	if out := succeeds(t, "trash", "empty"); out != "Removed 1 volume.\n" {
		t.Errorf("trash empty: %s", out)
	}
	succeeds(t, "volume", "destroy", "www", "--purge")
	if entries, err := filepath.Glob(filepath.Join(root, "fast", "vid.*")); err != nil || len(entries) != 1 {
		t.Errorf("left are %v, %v; want the volume that was transferred", entries, err)
	}
	if out := succeeds(t, "volume", "list"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "twin") {
		t.Errorf("volume list: %s", out)
	}

	if out := succeeds(t, "job", "list", "--kind", "clone", "-q"); strings.Count(out, "\n") != 1 {
		t.Errorf("job list: %s", out)
	} else {
		succeeds(t, "job", "wait", strings.TrimSpace(out))
		succeeds(t, "job", "cancel", strings.TrimSpace(out)) // it has ended, which is no failure
	}
	fails(t, exitNotFound, "job", "show", "none")
	if out := succeeds(t, "version"); !strings.Contains(out, "1.0") {
		t.Errorf("version: %s", out)
	}
}

// TestLiveEvents follows the server while volumes are made.
func TestLiveEvents(t *testing.T) {
	liveServer(t)
	reader, writer := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		defer writer.Close()
		ended <- run(t.Context(), []string{"events", "--since", "1", "--type", "volume.", "--type", "reset", "--count", "3", "--json"}, strings.NewReader(""), writer, io.Discard)
	}()
	in := json.NewDecoder(reader)
	next := func() (e struct {
		Type   string
		Volume string `json:"volume_id"`
	},
	) {
		t.Helper()
		if err := in.Decode(&e); err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := next(); e.Type != "reset" { // so the stream is there
		t.Fatalf("the first event is %+v", e)
	}
	id := strings.TrimSpace(succeeds(t, "-q", "volume", "create", "web", "--size", "1M"))
	succeeds(t, "volume", "destroy", id)
	if e := next(); e.Type != "volume.created" || e.Volume != id {
		t.Errorf("event %+v", e)
	}
	if e := next(); e.Type != "volume.trashed" || e.Volume != id {
		t.Errorf("event %+v", e)
	}
	if code := <-ended; code != exitOK {
		t.Errorf("code %d", code)
	}
}
