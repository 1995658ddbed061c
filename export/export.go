package export

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// Request is a wish for an attachment. What is left out is as an attachment that stands already has it.
type Request struct {
	Volume    volume.ID
	Client    volume.Client
	Kind      string // "" is the server's default
	Initiator string // the only one that may log in; "" is any
	ReadOnly  *bool
	Multipath *bool
	Rates     Rates
	Portals   []string // those of ours that the answer is to name; none are all
	Rotate    bool     // a new secret: whoever has the old one can't log in again
	Path      bool     // the image's own path, where the kind has that

	Takeover     bool // from a server that is gone
	OldHostIsOff bool // the caller's word for that
}

// Answer is an attachment and how to use it, secrets and all: for its client alone.
type Answer struct {
	Record Record
	Access Access
}

// Export lets a client attach a volume. The same request again has the same answer, with the same secret.
func (s *Service) Export(ctx context.Context, q Request) (*Answer, error) {
	k, err := s.kind(q.Kind)
	if err != nil {
		return nil, err
	}
	q.Kind = k.Name()
	if !q.Rates.valid() {
		return nil, fault.Errorf(fault.BadRequest, "a rate is a number of 0 or more; 0 is no limit")
	}
	if q.Takeover && !q.OldHostIsOff {
		return nil, fault.Errorf(fault.BadRequest,
			"'takeover' needs \"old_host_is_off\": true, since requests that the old server sent to the storage can't be called back")
	}
	if err := s.elsewhere(ctx, &q); err != nil {
		return nil, err
	}
	var made, asked Record
	e, err := s.change(ctx, q.Volume, "export", &q, func(sc *scene) (err error) {
		if err := s.adopt(sc); err != nil {
			return err
		}
		asked, made, err = admit(k, sc)
		return err
	})
	if err != nil {
		return nil, s.lockedElsewhere(ctx, &q, err)
	}
	if !made.ID.IsZero() {
		s.cfg.Log.Info("volume exported", slog.Any("volume", q.Volume), slog.Any("client", q.Client), slog.String("kind", q.Kind),
			slog.Int64("epoch", made.Epoch))
		s.publish(e, made, volume.EventExported, nil)
	}
	for _, a := range s.standing(e) {
		if a.rec.ID == asked.ID {
			return &Answer{Record: asked, Access: a.at.Access(&q)}, nil
		}
	}
	return nil, fault.Errorf(fault.InternalError, "the export of volume %s to client %s vanished as it was made", q.Volume, q.Client)
}

// admit decides whether a request is granted, and enters what it makes into the Book. asked is what the client gets; made is
// the same if it is new.
func admit(k Kind, sc *scene) (asked, made Record, err error) {
	q, m := sc.q, sc.volume.Meta
	if m.Private && m.Creator != q.Client {
		return asked, made, fault.Errorf(fault.VolumeNotExportable, "volume %s is private, and client %s is not its owner", q.Volume, q.Client)
	}
	many := m.Shareable || m.ReadOnly
	for _, r := range sc.book.Attachments {
		switch {
		case r.Migration != "":
			return asked, made, fault.Errorf(fault.VolumeMigrating, "volume %s takes part in the live migration %s; conclude or revert that first", q.Volume, r.Migration)
		case r.Client == q.Client && r.Kind == q.Kind:
		case r.Path || q.Path:
			return asked, made, fault.Errorf(fault.VolumeAlreadyExported,
				"volume %s is exported to client %s over %s already, and who has an image's path has it alone", q.Volume, r.Client, r.Kind)
		case many:
		case r.Client == q.Client:
			return asked, made, fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported to client %s over %s already; end that first", q.Volume, r.Client, r.Kind)
		default:
			return asked, made, fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported to client %s already, and is not shareable", q.Volume, r.Client)
		}
	}
	old, there := sc.book.Find(q.Client, q.Kind)
	if there {
		asked, err := again(k, sc, old)
		return asked, Record{}, err
	}
	if len(sc.book.Attachments) >= maxAttachments {
		return asked, made, fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported to %d clients already, as many as can be", q.Volume, maxAttachments)
	}
	r := Record{
		Client: q.Client, Kind: q.Kind, Initiator: q.Initiator, ReadOnly: m.ReadOnly || q.ReadOnly != nil && *q.ReadOnly,
		Multipath: q.Multipath != nil && *q.Multipath, Path: q.Path, Rates: q.Rates,
	}
	if err := k.Complete(&sc.volume, q, &r); err != nil {
		return asked, made, err
	}
	if r.Path {
		if err := sc.idle(); err != nil { // whoever has it open could not be told from the client
			return asked, made, err
		}
	}
	r = sc.book.Add(r)
	return r, r, nil
}

// again answers a request for what there is already, or says what it wants otherwise.
func again(k Kind, sc *scene, old Record) (Record, error) {
	q := sc.q
	if err := k.Complete(&sc.volume, q, nil); err != nil {
		return old, err
	}
	readonly := q.ReadOnly == nil || *q.ReadOnly == old.ReadOnly || sc.volume.Meta.ReadOnly
	switch {
	case !readonly, q.Multipath != nil && *q.Multipath != old.Multipath, q.Initiator != "" && q.Initiator != old.Initiator, q.Path && !old.Path:
		return old, fault.Errorf(fault.VolumeAlreadyExported,
			"volume %s is exported to client %s already, with readonly %t, multipath %t and initiator %q; end that first to have it otherwise",
			q.Volume, q.Client, old.ReadOnly, old.Multipath, old.Initiator)
	}
	r := old
	r.Rates = q.Rates.Over(old.Rates)
	if q.Rotate {
		fresh := r
		if err := k.Complete(&sc.volume, q, &fresh); err != nil {
			return old, err
		}
		r.Secret, r.PeerSecret = fresh.Secret, fresh.PeerSecret
		if r.User == "" { // it has logged in without so far
			r.User, r.PeerUser = fresh.User, fresh.PeerUser
		}
	}
	sc.book.Set(r)
	return r, nil
}

// adopt makes the Book this server's, or says whose it is.
func (s *Service) adopt(sc *scene) error {
	id := sc.volume.ID
	if m, ok := foreign(sc.marks, s.cfg.ServerID, time.Now()); ok && !sc.q.takesOver() {
		return exportedBy(id, &m)
	}
	if sc.book.Server == s.cfg.ServerID && (sc.book.writer() == s.cfg.ServerID || !sc.q.takesOver()) {
		return nil
	}
	if len(sc.book.Attachments) > 0 {
		if sc.shared && !sc.q.takesOver() {
			m := mark{Marker: Marker{Server: sc.book.Server}}
			for _, other := range sc.marks {
				if other.Server == sc.book.Server {
					m = other
				}
			}
			return exportedBy(id, &m)
		}
		if slices.ContainsFunc(sc.book.Attachments, func(r Record) bool { return r.Path }) {
			if err := sc.idle(); err != nil { // with that server its sessions ended, and not who has the image's path
				return err
			}
		}
		s.cfg.Log.Warn("exports of another server dropped", slog.Any("volume", id), slog.String("server", sc.book.Server),
			slog.Int("attachments", len(sc.book.Attachments)), slog.Bool("takeover", sc.q.takesOver()))
	}
	sc.book = Book{Server: s.cfg.ServerID, Epoch: sc.book.Epoch}
	return nil
}

func (q *Request) takesOver() bool { return q != nil && q.Takeover }

func exportedBy(id volume.ID, m *mark) error {
	return fault.Errorf(fault.VolumeAlreadyExported, "volume %s is exported by %s since %s", id, m.where(), m.Since.UTC().Format(time.RFC3339))
}

// elsewhere refuses, before any lock is waited for, what another server keeps fresh. A takeover looks for longer.
func (s *Service) elsewhere(ctx context.Context, q *Request) error {
	if e := s.find(q.Volume); e != nil && !s.visiting(e) {
		return nil
	}
	before, err := s.look(ctx, q.Volume)
	if err != nil {
		return nil //nolint:nilerr // the change itself says what is wrong with the volume
	}
	if !q.Takeover {
		if m, ok := foreign(before, s.cfg.ServerID, time.Now()); ok {
			return exportedBy(q.Volume, &m)
		}
		return nil
	}
	return s.unchanged(ctx, q, before)
}

// unchanged waits until the markers of others have not changed for as long as a takeover needs, by our own clock.
func (s *Service) unchanged(ctx context.Context, q *Request, before []mark) error {
	others := func(list []mark) []mark {
		return slices.DeleteFunc(slices.Clone(list), func(m mark) bool { return m.Server == s.cfg.ServerID })
	}
	if len(others(before)) == 0 {
		return nil
	}
	tick := time.NewTicker(min(time.Second, s.cfg.takeoverWait/2))
	defer tick.Stop()
	for began := s.cfg.now(); s.cfg.now()-began < s.cfg.takeoverWait; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now, err := s.look(ctx, q.Volume)
		if err != nil {
			return err
		}
		for _, m := range others(now) {
			if !slices.ContainsFunc(before, func(o mark) bool { return o.name == m.name && o.touched.Equal(m.touched) }) {
				return fault.Errorf(fault.VolumeAlreadyExported, "volume %s can't be taken over: %s is alive, since it keeps the file %s fresh", q.Volume, m.where(), m.name)
			}
		}
	}
	return nil
}

// look lists a volume's markers without its lock.
func (s *Service) look(ctx context.Context, id volume.ID) ([]mark, error) {
	dir, err := s.directory(ctx, id)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return marks(dir)
}

// lockedElsewhere says of a volume that somebody else has locked which server that is, if it is exported there.
func (s *Service) lockedElsewhere(ctx context.Context, q *Request, err error) error {
	if !fault.Is(err, fault.VolumeAlreadyLocked) || s.find(q.Volume) != nil {
		return err
	}
	if list, lerr := s.look(ctx, q.Volume); lerr == nil {
		if m, ok := foreign(list, s.cfg.ServerID, time.Now()); ok {
			return exportedBy(q.Volume, &m)
		}
	}
	return err
}
