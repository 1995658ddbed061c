package iscsi

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"elstore/export/iscsi/pdu"

	"elstore/export/scsi"
)

func withLimiter(l *Limiter) option {
	return func(_ *Config, t *TargetConfig) { t.Limiter = l }
}

func TestLimiter(t *testing.T) {
	for _, c := range []struct {
		name    string
		rates   Rates
		command command
		n       int
		took    time.Duration
	}{
		{"read operations", Rates{ReadOperations: 10}, read10(0, 1), 31, 2 * time.Second},
		{"read bytes", Rates{ReadBytes: 4096 * 10}, read10(0, 8), 31, 2 * time.Second},
		{"the slower of two", Rates{ReadBytes: 1 << 30, ReadOperations: 1}, read10(0, 8), 5, 3 * time.Second},
		{"larger than a burst", Rates{ReadBytes: 4096}, read10(0, 40), 2, 4 * time.Second},
		{"write operations", Rates{WriteOperations: 10}, write10(0, 1, make([]byte, 512)), 31, 2 * time.Second},
		{"write bytes", Rates{WriteBytes: 5120}, write10(0, 1, make([]byte, 512)), 31, 2 * time.Second},
		{"reads, and writes are limited", Rates{WriteBytes: 1, WriteOperations: 1}, read10(0, 8), 50, 0},
		{"writes, and reads are limited", Rates{ReadBytes: 1, ReadOperations: 1}, write10(0, 1, make([]byte, 512)), 50, 0},
		{"without limits", Rates{}, read10(0, 8), 50, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachDisk(t, func(t *testing.T, options ...option) {
				synctest.Test(t, func(t *testing.T) {
					l, err := NewLimiter(c.rates)
					if err != nil {
						t.Fatal(err)
					}
					s := newStage(t, append(options, withLimiter(l))...)
					s.attach(AttachmentConfig{})
					p := newPeer(t, s.pipe()).login().ready()
					begin := time.Now()
					for range c.n {
						p.start(c.command)
					}
					for answers := 0; answers < c.n; {
						switch in := p.next(); in.h.Opcode() {
						case pdu.OpSCSIResponse:
							answers++
						case pdu.OpDataIn:
							if in.h[1]&1 != 0 { // with the status
								answers++
							}
						default:
							t.Fatalf("got %v", in.h.Opcode())
						}
					}
					if took := time.Since(begin); took != c.took {
						t.Errorf("%d commands took %v, want %v", c.n, took, c.took)
					}
				})
			})
		})
	}
}

func TestLimiterLetsGo(t *testing.T) {
	limited := func(t *testing.T) (*stage, *peer, uint32) {
		l, err := NewLimiter(Rates{WriteOperations: 1})
		if err != nil {
			t.Fatal(err)
		}
		s := newStage(t, withLimiter(l))
		s.attach(AttachmentConfig{})
		p := newPeer(t, s.pipe()).login().ready()
		for i := range 2 {
			if e := p.do(write10(i, 1, make([]byte, 512))); e.status != 0 {
				t.Fatal(e)
			}
		}
		return s, p, p.start(write10(2, 1, make([]byte, 512)))
	}
	t.Run("of a task that is aborted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, p, itt := limited(t)
			begin := time.Now()
			p.manage(pdu.AbortTask, itt, p.cmdSN-1)
			if got := p.managed(); got != pdu.FunctionComplete || time.Since(begin) != 0 {
				t.Errorf("got %v after %v", got, time.Since(begin))
			}
			<-time.After(5 * time.Second)
			if s.disk.landed() != 2 {
				t.Error("the aborted write landed")
			}
			p.ready()
		})
	})
	t.Run("of a session that ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, p, _ := limited(t)
			p.conn.Close()
			s.quiet()
			<-time.After(5 * time.Second)
			if s.disk.landed() != 2 {
				t.Error("the write of a session that is gone landed")
			}
		})
	})
	t.Run("not of negative rates", func(t *testing.T) {
		if _, err := NewLimiter(Rates{ReadBytes: -1}); err == nil {
			t.Error("they were taken")
		}
	})
}

func TestLimiterWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := NewLimiter(Rates{WriteBytes: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{0, 2 * time.Second, 3 * time.Second} { // each waits for those before, less the allowance
			began := time.Now()
			if err := l.wait(t.Context(), scsi.KindWrite, 3000); err != nil || time.Since(began) != want {
				t.Errorf("copy %d waited %v, want %v, %v", i, time.Since(began), want, err)
			}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if err := l.wait(ended, scsi.KindWrite, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("aborted: %v", err)
		}
		if err := (*Limiter)(nil).wait(ended, scsi.KindWrite, 1); err != nil {
			t.Errorf("no limiter: %v", err)
		}
	})
}
