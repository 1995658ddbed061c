package livemigration

import (
	"context"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
)

// hanging is a stage with a prepared migration of one disk: a write of the source hangs in its storage, and the destination's first
// writes wait for it. release lets the source's write end; wrote tells how the destination's did.
func hanging(t *testing.T, drain time.Duration, writes int) (s *stage, rec Record, release func(), wrote chan bool) {
	t.Helper()
	s = newStage(t, func(c *Config) { c.drain = drain })
	rec = s.prepared(s.disks(1)...).Record
	s.arrive(rec)
	release = s.at(rec, 0, Source).begin(t.Context())
	if release == nil {
		t.Fatal("the source can't write")
	}
	destination := s.at(rec, 0, Destination)
	wrote = make(chan bool, writes)
	for range writes {
		go func() { wrote <- destination.write(t.Context()) }()
	}
	m := s.named(rec.ID.String())
	for m.pen.try() { // until one of them has it
		m.pen.release()
		<-time.After(time.Millisecond)
	}
	return s, rec, release, wrote
}

// Who decides while the source's storage hangs is answered when its context ends, and has changed nothing.
func TestDecisionEndsWithItsCaller(t *testing.T) {
	for name, decide := range map[string]func(s *stage, ctx context.Context, rec Record) error{
		"conclude": func(s *stage, ctx context.Context, rec Record) error {
			_, err := s.Conclude(ctx, Ref{ID: rec.ID}, true)
			return err
		},
		"revert": func(s *stage, ctx context.Context, rec Record) error {
			_, err := s.Revert(ctx, Ref{ID: rec.ID}, false)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, rec, release, wrote := hanging(t, time.Hour, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			began := time.Now()
			if err := decide(s, ctx, rec); err == nil || ctx.Err() == nil {
				t.Errorf("it was decided: %v", err)
			}
			if d := time.Since(began); d > 3*time.Second {
				t.Errorf("it took %v", d)
			}
			if now, err := s.Get(Ref{ID: rec.ID}); err != nil || now.State != Prepared {
				t.Errorf("%+v, %v", now.Record, err)
			}
			release()
			if !<-wrote {
				t.Error("the destination can't write when the source's write has ended")
			}
		})
	}
}

// However many writes of the destination wait for the source's storage, who decides is let through after one wait.
func TestDecisionWhileSourceHangs(t *testing.T) {
	const drain, writes = 300 * time.Millisecond, 32
	t.Run("conclude", func(t *testing.T) {
		s, rec, release, wrote := hanging(t, drain, writes)
		m := s.named(rec.ID.String())
		took := make(chan time.Duration, 1)
		go func() {
			began := time.Now()
			if err := s.step(t.Context(), m, Conclude, nil); err != nil {
				t.Error(err)
			}
			took <- time.Since(began)
		}()
		if d := <-took; d > 10*drain {
			t.Errorf("it took %v", d)
		}
		release()
		if now, err := s.Conclude(t.Context(), Ref{ID: rec.ID}, true); err != nil || now.State != Stable {
			t.Errorf("%+v, %v", now.Record, err)
		}
		for range writes {
			if !<-wrote {
				t.Error("a write of the destination failed, which has the volume now")
			}
		}
		s.wantOwner(rec, bob)
	})
	t.Run("revert", func(t *testing.T) {
		s, rec, release, wrote := hanging(t, drain, writes)
		began := time.Now()
		now, err := s.Revert(t.Context(), Ref{ID: rec.ID}, false)
		if err != nil || now.State != Stable {
			t.Errorf("%+v, %v", now.Record, err)
		}
		if d := time.Since(began); d > 10*drain {
			t.Errorf("it took %v", d)
		}
		release()
		for range writes {
			if <-wrote {
				t.Error("the destination wrote after it was reverted")
			}
		}
		if !s.at(rec, 0, Source).write(t.Context()) {
			t.Error("the source can't write")
		}
		s.wantOwner(rec, alice)
	})
}

// A migration whose pen is taken for long does not keep Run from the others.
func TestRunGoesOnWhileSourceHangs(t *testing.T) {
	s, rec, release, wrote := hanging(t, time.Hour, 1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	other := s.prepared(s.disk("other")).Record
	deadline := time.Now().Add(10 * time.Second)
	for !s.look(s.named(other.ID.String())).LoggedIn {
		s.at(rec, 0, Destination).login() // Run may not listen yet
		s.at(other, 0, Destination).login()
		if time.Now().After(deadline) {
			t.Fatal("the login to another migration is not noted")
		}
		<-time.After(10 * time.Millisecond)
	}
	release()
	<-wrote
}

// disk makes a volume of a name, which alice has exported.
func (s *stage) disk(name string) volume.ID {
	s.t.Helper()
	m := volume.Meta{Creator: alice, Name: name, Clonable: true, Alg: volume.Copy, Format: volume.Raw, Bus: volume.Virtio, Size: 1 << 20}
	v, err := s.Volumes.Create(s.t.Context(), volume.NewVolume{Meta: m}, nil)
	s.must(err)
	_, err = s.exports.Export(s.t.Context(), export.Request{Volume: v.ID, Client: alice})
	s.must(err)
	return v.ID
}

// What a migration has left to do when it is over does not move the pen of the next one.
func TestMigrationLeavesTheNextAlone(t *testing.T) {
	s := newStage(t, nil)
	first := s.prepared(s.disks(1)...).Record
	s.arrive(first)
	over, err := s.Conclude(t.Context(), Ref{ID: first.ID}, false)
	s.must(err)
	id := first.Parts[0].Volume
	next, err := s.Prepare(t.Context(), Request{Volumes: []volume.ID{id}, Source: Party{Client: bob}, Destination: Party{Client: alice}})
	s.must(err)
	s.must(s.exports.ShutGate(t.Context(), id, next.Parts[0].Source))
	if !s.Claim(t.Context(), first.ID.String(), next.Parts[0].Source) {
		t.Error("the source can't write where its gate asks for the migration of before")
	}
	s.arrive(next.Record)
	if !s.at(next.Record, 0, Destination).write(t.Context()) {
		t.Error("the destination can't write")
	}
	s.open(&over.Record, Destination)
	if s.at(next.Record, 0, Source).write(t.Context()) || s.Claim(t.Context(), first.ID.String(), next.Parts[0].Source) {
		t.Error("the source writes when the destination has the pen")
	}
}
