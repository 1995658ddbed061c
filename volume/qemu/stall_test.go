package qemu

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestWatch(t *testing.T) {
	moves := func(until time.Duration, change func(*sample, time.Duration)) func(time.Duration) sample {
		return func(now time.Duration) (s sample) {
			change(&s, min(now, until))
			return s
		}
	}
	for name, tc := range map[string]struct {
		take func(now time.Duration) sample
		want time.Duration // when it is found to have stalled; 0 is never within an hour
	}{
		"never moves":          {func(time.Duration) sample { return sample{} }, time.Minute},
		"always moves":         {moves(2*time.Hour, func(s *sample, d time.Duration) { s.percent = d.Seconds() }), 0},
		"stops after 10 min":   {moves(10*time.Minute, func(s *sample, d time.Duration) { s.percent = d.Seconds() }), 11 * time.Minute},
		"only its io moves":    {moves(2*time.Hour, func(s *sample, d time.Duration) { s.io = d.String() }), 0},
		"only its blocks move": {moves(time.Minute, func(s *sample, d time.Duration) { s.blocks = int64(d) }), 2 * time.Minute},
		"only its size moves":  {moves(time.Minute, func(s *sample, d time.Duration) { s.size = int64(d) }), 2 * time.Minute},
		"moves every 55 s": {func(d time.Duration) sample {
			return sample{percent: float64(d / (55 * time.Second))}
		}, 0},
		"moves every 65 s": {func(d time.Duration) sample {
			return sample{percent: float64(d / (65 * time.Second))}
		}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				begin := time.Now()
				var stalled time.Duration
				watch(ctx, stallLimit, sampleEvery, func() sample { return tc.take(time.Since(begin)) }, func() { stalled = time.Since(begin) })
				if stalled != tc.want {
					t.Fatalf("found to have stalled after %v, want %v", stalled, tc.want)
				}
				if took := time.Since(begin); tc.want == 0 && took != time.Hour {
					t.Fatalf("watched for %v", took)
				}
			})
		})
	}
}

func TestTakeSample(t *testing.T) {
	path := writeFile(t, "target", make([]byte, 10<<10))
	s := takeSample(os.Getpid(), path, 12)
	if s.percent != 12 || s.size != 10<<10 || s.io == "" {
		t.Fatalf("sample is %+v", s)
	}
	if err := os.WriteFile(path, make([]byte, 100<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if now := takeSample(os.Getpid(), path, 12); now.io == s.io || now.size == s.size {
		t.Fatalf("a write of 100 KiB moved nothing: %+v", now)
	}
	if none := takeSample(1<<30, "", 0); none != (sample{}) {
		t.Fatalf("the sample of no process is %+v", none)
	}
}
