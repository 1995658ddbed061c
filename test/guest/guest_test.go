package guest

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func TestScripts(t *testing.T) {
	g := Boot(t, "iqn.2026-01.org.example:guest")
	for _, tt := range []struct {
		name, script string
		want         Result
	}{
		{"output", "echo one; echo two >&2", Result{0, "one\ntwo"}},
		{"status", "echo out; exit 3", Result{3, "out"}},
		{"many lines", "if true\nthen echo 'a  b'\nfi", Result{0, "a  b"}},
		{"nothing", "", Result{}},
		{"no input", "cat", Result{}},
		{"no such program", "no-such-program 2>/dev/null", Result{Status: 127}},
		{"much output", "yes | head -n 100000", Result{0, strings.Repeat("y\n", 99_999) + "y"}},
		{"who it is", "cat /etc/iscsi/initiatorname.iscsi", Result{0, "InitiatorName=iqn.2026-01.org.example:guest"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := g.Try(t, tt.script); got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
	t.Run("at once", func(t *testing.T) {
		first := g.Start("until [ -e /tmp/second ]; do sleep 0.02; done; touch /tmp/first")
		second := g.Start("touch /tmp/second; until [ -e /tmp/first ]; do sleep 0.02; done; echo both")
		if got := second.Wait(t); got != (Result{0, "both"}) {
			t.Errorf("%+v", got)
		}
		if got := first.Wait(t); got != (Result{}) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a command that fails", func(t *testing.T) {
		failed := judge(func(t testing.TB) { g.Run(t, "false\necho on") })
		if !strings.Contains(failed, "exit status 1") || !strings.Contains(failed, "The kernel said") {
			t.Errorf("failed with %q", failed)
		}
	})
	t.Run("a guest that ends", func(t *testing.T) {
		running := g.Start("sleep 1000")
		if err := g.qemu.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for range ports + 1 {
			if failed := judge(func(t testing.TB) { running.Wait(t) }); !strings.Contains(failed, "example:guest") {
				t.Errorf("failed with %q", failed)
			}
			running = g.Start("echo")
		}
	})
}

// verdict is a test that notes how it failed, instead of failing.
type verdict struct {
	testing.TB
	failed string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// judge returns how a test fails.
func judge(test func(testing.TB)) string {
	v := &verdict{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		test(v)
	}()
	<-done
	return v.failed
}
