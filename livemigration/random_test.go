package livemigration

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"elstore/export"
	"elstore/volume"
)

// stories is how many seeds TestAnythingBetweenServers tries, and from which on.
var (
	stories   = flag.Int("stories", 4, "how many random stories of two servers are lived")
	firstSeed = flag.Uint64("first-seed", 1, "the first story's seed")
)

// Whatever is asked of two servers, in whatever order, by several at once, with crashes and lost journals between: at no moment do two machines
// write to one volume, which toy sees to, and in the end one of them can, and nothing is in the way of another move.
func TestAnythingBetweenServers(t *testing.T) {
	for n := range *stories {
		seed := *firstSeed + uint64(n)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			d := newDuo(t, nil)
			d.one.cfg.ask, d.two.cfg.ask = 20*time.Millisecond, 20*time.Millisecond
			d.anything(rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func (d *duo) anything(r *rand.Rand) {
	t := d.t
	ids := d.disks(2)
	both := []*stage{d.one, d.two}
	soon := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		t.Cleanup(cancel)
		return ctx
	}
	said := func(format string, args ...any) { t.Logf(format, args...) }
	for range 14 {
		n := r.IntN(2)
		s := both[n]
		switch r.IntN(11) {
		case 0, 1:
			from, to := alice, client(byte(r.IntN(3)+1))
			if b, err := s.exports.Book(t.Context(), ids[0]); err == nil && len(b.Attachments) > 0 {
				from = b.Attachments[0].Client
			}
			_, err := s.Prepare(soon(), Request{Volumes: ids, Source: Party{Client: from}, Destination: Party{Client: to}})
			said("prepare at %d: %v", n, err)
		case 2, 3:
			for _, i := range s.exports.List(t.Context(), export.Query{}) {
				if a := s.toy.get(i.Volume, i.Record.ID); a != nil && a.login() {
					ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
					said("a write at %d of %s: %t", n, i.Record.Client, a.write(ctx))
					cancel()
				}
			}
		case 4:
			_, err := s.Conclude(soon(), Ref{Volumes: ids}, r.IntN(2) == 0)
			said("conclude at %d: %v", n, err)
		case 5:
			_, err := s.Revert(soon(), Ref{Volumes: ids}, r.IntN(2) == 0)
			said("revert at %d: %v", n, err)
		case 6:
			said("crash of %d", n)
			d.crash(s)
			s.cfg.ask = 20 * time.Millisecond
		case 7:
			said("the journal of %d is lost", n)
			d.loses(s)
			s.cfg.ask = 20 * time.Millisecond
		case 8:
			said("%d is suspended", n)
			d.stops[s]()
			other := both[1-n]
			_, err := other.Conclude(soon(), Ref{Volumes: ids}, true)
			said("meanwhile conclude at %d: %v", 1-n, err)
			d.run(s)
		case 9:
			said("the host of %d dies", n)
			d.dies(s)
			by := both[1-n]
			for _, id := range ids {
				if r.IntN(4) > 0 {
					_, err := by.exports.Export(soon(), export.Request{Volume: id, Client: client(3), Takeover: true, OldHostIsOff: true})
					said("a volume taken over by %d: %v", 1-n, err)
				}
			}
			s.start()
			d.run(s)
			s.cfg.ask = 20 * time.Millisecond
		case 10:
			said("two calls at once")
			ctx := soon()
			var calls sync.WaitGroup
			calls.Go(func() { _, _ = d.one.Revert(ctx, Ref{Volumes: ids}, true) })
			calls.Go(func() { _, _ = d.two.Conclude(ctx, Ref{Volumes: ids}, true) })
			calls.Wait()
		}
	}
	d.comesToAnEnd(ids)
}

// comesToAnEnd has an operator revert, or conclude, or decide, what is open, until nothing is, and checks that somebody has the volumes.
func (d *duo) comesToAnEnd(ids []volume.ID) {
	d.t.Helper()
	both := []*stage{d.one, d.two}
	ctx := d.t.Context()
	d.eventually(func() (open string) {
		for n, s := range both {
			for _, m := range s.List(nil) {
				if m.State == Stable {
					continue
				}
				var err error
				switch {
				case m.State == NeedsOperator:
					side := Source
					if s.lets(&m.Record, Destination) {
						side = Destination
					}
					_, err = s.Resolve(ctx, Ref{ID: m.ID}, side)
				case m.State == Reverting:
					_, err = s.Revert(ctx, Ref{ID: m.ID}, true)
				case m.Pen == Destination:
					_, err = s.Conclude(ctx, Ref{ID: m.ID}, true)
				default:
					_, err = s.Revert(ctx, Ref{ID: m.ID}, false)
				}
				if now, gerr := s.Get(Ref{ID: m.ID}); gerr != nil || now.State != Stable {
					open += fmt.Sprintf("%s: %v of %s is open at %d: %v, waiting for %q\n", m.ID, m.Status, m.Here, n, err, now.Waiting)
				}
			}
		}
		return open
	})
	for _, id := range ids {
		d.eventually(func() string {
			for _, s := range both {
				if err := s.Held(id); err != nil {
					return err.Error()
				}
				for _, i := range s.exports.List(ctx, export.Query{Volume: &id}) {
					short, cancel := context.WithTimeout(ctx, time.Second)
					a := s.toy.get(id, i.Record.ID)
					wrote := a != nil && i.Record.Migration == "" && a.login() && a.write(short)
					cancel()
					if wrote {
						return ""
					}
				}
			}
			b, err := d.one.exports.Book(ctx, id)
			if err == nil && len(b.Attachments) == 0 { // an operator said so
				return ""
			}
			return fmt.Sprintf("nobody can write to volume %s, whose Book is %+v, %v", id, b, err)
		})
	}
}

// lets reports whether a side has a volume by its Book.
func (s *stage) lets(rec *Record, side Side) bool {
	for i := range rec.Parts {
		at := s.standing(s.t.Context(), rec, &rec.Parts[i])
		if side == Destination && (at == passed || at == destinations) {
			return true
		}
	}
	return false
}
