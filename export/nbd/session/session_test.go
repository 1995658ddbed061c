package session

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"elstore/export"
	"elstore/export/nbd"
	"elstore/volume"
	"elstore/volume/fault"
)

// attachment makes one to nothing, and counts what is told of its sessions.
func attachment(t *testing.T, change func(m *volume.Meta, r *export.Record, rates *export.Rates)) (a *Attachment, told *atomic.Int32) {
	t.Helper()
	c := Config{Gate: &export.Gate{}}
	c.Medium.Log = slog.New(slog.DiscardHandler)
	if change != nil {
		change(&c.Medium.Volume.Meta, &c.Record, &c.Rates)
	}
	told = &atomic.Int32{}
	c.Watch = func(_ export.Session, began bool) {
		if began {
			told.Add(1)
		} else {
			told.Add(-1)
		}
	}
	return New(t.Context(), c), told
}

func TestWhoGetsIn(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *volume.Meta, r *export.Record, rates *export.Rates)
		second error
	}{
		{"one", nil, errTaken},
		{"several of what is shareable", func(m *volume.Meta, _ *export.Record, _ *export.Rates) { m.Shareable = true }, nil},
		{"several of what is read-only", func(m *volume.Meta, _ *export.Record, _ *export.Rates) { m.ReadOnly = true }, nil},
		{"several readers", func(_ *volume.Meta, r *export.Record, _ *export.Rates) { r.ReadOnly = true }, nil},
		{"several paths of one", func(_ *volume.Meta, r *export.Record, _ *export.Rates) { r.Multipath = true }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, told := attachment(t, tt.change)
			broken := errors.New("the connection broke")
			err := a.Serve("one", "there", func(context.Context, nbd.Export) error {
				second := a.Serve("two", "there", func(context.Context, nbd.Export) error {
					if list := a.Sessions(); len(list) != 2 || list[1].Initiator != "two" || told.Load() != 2 {
						t.Errorf("%+v, told of %d", list, told.Load())
					}
					return nil
				})
				if !errors.Is(second, tt.second) {
					t.Errorf("the second one: %v, want %v", second, tt.second)
				}
				return broken
			})
			if !errors.Is(err, broken) || len(a.Sessions()) != 0 || told.Load() != 0 {
				t.Errorf("%v, %+v, told of %d", err, a.Sessions(), told.Load())
			}
		})
	}
}

// Sessions are bounded: one that is too many is refused, and gets in when another one has ended.
func TestSessionsAreBounded(t *testing.T) {
	a, told := attachment(t, func(m *volume.Meta, _ *export.Record, _ *export.Rates) { m.Shareable = true })
	var next func(n int)
	next = func(n int) {
		err := a.Serve("one", "there", func(context.Context, nbd.Export) error {
			if n < maxSessions {
				next(n + 1)
				return nil
			}
			if err := a.Serve("one", "there", nil); !errors.Is(err, errMany) {
				t.Errorf("one too many: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("number %d: %v", n, err)
		}
	}
	for range 2 {
		next(1)
	}
	if len(a.Sessions()) != 0 || told.Load() != 0 {
		t.Errorf("%+v, told of %d", a.Sessions(), told.Load())
	}
}

// The end is proven when the last session has ended, and nobody gets in from the call on.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := attachment(t, nil)
		go a.Serve("one", "there", func(ctx context.Context, _ nbd.Export) error {
			<-ctx.Done()
			<-time.After(3 * time.Second) // a request that the storage takes its time for
			return nil
		})
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.End(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a request under way: %v", err)
		}
		if err := a.Serve("two", "there", nil); !errors.Is(err, errEnded) {
			t.Errorf("somebody gets in: %v", err)
		}
		began := time.Now()
		if err := a.End(t.Context()); err != nil || time.Since(began) != 2*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestRatesAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := 2.0
		a, _ := attachment(t, func(_ *volume.Meta, _ *export.Record, rates *export.Rates) { rates.ReadIOPS = &slow })
		took := func(kind nbd.Kind, n int) time.Duration {
			began := time.Now()
			for range n {
				if err := a.wait(t.Context(), kind, 512); err != nil {
					t.Fatal(err)
				}
				a.count(kind, 512, kind == nbd.Other, time.Millisecond)
			}
			return time.Since(began)
		}
		for kind, want := range map[nbd.Kind]time.Duration{nbd.Read: 3500 * time.Millisecond, nbd.Write: 0, nbd.Other: 0} {
			if got := took(kind, 10); got != want {
				t.Errorf("10 of kind %d take %v, want %v", kind, got, want)
			}
		}
		a.SetRates(export.Rates{})
		if got := took(nbd.Read, 10); got != 0 {
			t.Errorf("without a rate 10 reads take %v", got)
		}
		want := export.Counts{ReadOperations: 20, ReadBytes: 20 * 512, WriteOperations: 10, WriteBytes: 10 * 512, OtherOperations: 10, Errors: 10}
		got := a.Counts()
		if got.ReadLatency.Sum != 20*time.Millisecond || got.WriteLatency.Sum != 10*time.Millisecond {
			t.Errorf("they took %+v and %+v", got.ReadLatency, got.WriteLatency)
		}
		got.ReadLatency, got.WriteLatency = export.Latency{}, export.Latency{}
		if got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	})
}

func TestSockets(t *testing.T) {
	dir, err := os.MkdirTemp("", "nbd") //nolint:usetesting // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir = filepath.Join(dir, "s")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left, other := filepath.Join(dir, "left"+socketSuffix), filepath.Join(dir, "other")
	for _, name := range []string{left, other} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := NewSockets(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead socket is there still: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("what is no socket went: %v", err)
	}
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if err := (&Sockets{"/" + strings.Repeat("d", maxPath)}).Check(); !fault.Is(err, fault.BadRequest) {
		t.Errorf("a path that no socket can have: %v", err)
	}
	a, told := attachment(t, nil)
	id := volume.NewID()
	for range 2 { // the second time there is a file of that name
		k, err := s.Listen(id, a)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(s.Path(id)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		conn, err := net.Dial("unix", s.Path(id))
		if err != nil {
			t.Fatal(err)
		}
		greeting := make([]byte, 8)
		if _, err := conn.Read(greeting); err != nil || string(greeting) != "NBDMAGIC" {
			t.Errorf("greeted with %q, %v", greeting, err)
		}
		if list := a.Sessions(); len(list) != 1 || !strings.HasPrefix(list[0].Initiator, "process ") {
			t.Errorf("%+v", list)
		}
		k.Close()
		conn.Close()
		for deadline := time.After(30 * time.Second); told.Load() > 0; {
			select {
			case <-deadline:
				t.Fatal("the session does not end with its connection")
			case <-time.After(time.Millisecond):
			}
		}
		if err := os.WriteFile(s.Path(id), nil, 0o600); err != nil { // as a process leaves it that was killed
			t.Fatal(err)
		}
	}
}

func TestAccess(t *testing.T) {
	m := &export.Medium{Volume: volume.Volume{ID: volume.NewID(), Meta: volume.Meta{Bus: volume.Virtio}}}
	k := &Socket{path: "/run/a'b"}
	for _, readonly := range []bool{false, true} {
		x := k.Access(m, readonly)
		var dev struct {
			ReadOnly bool `json:"read-only"`
			File     struct{ Server Server }
		}
		if err := json.Unmarshal(x.Blockdev, &dev); err != nil || dev.ReadOnly != readonly || dev.File.Server != (Server{Type: "unix", Path: k.path}) {
			t.Errorf("%v, %s", err, x.Blockdev)
		}
		for _, disk := range []string{x.Libvirt.Disk, FileDisk(m, "raw", k.path, readonly)} {
			if !strings.Contains(disk, "'/run/a&#39;b'") || strings.Contains(disk, "<readonly/>") != readonly || !strings.Contains(disk, "<target dev='vda' bus='virtio'/>") {
				t.Error(disk)
			}
		}
	}
}
