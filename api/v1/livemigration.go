package v1

import (
	"context"
	"math"
	"net/http"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/export"
	"elstore/livemigration"
	"elstore/volume"
	"elstore/volume/fault"
)

// migrating is which migration is meant: by its id, or by its volumes.
type migrating struct {
	ID      volume.ID   `json:"migration_id"`
	Volumes []volume.ID `json:"volume_ids"`
	Volume  volume.ID   `json:"volume_id" alias:"volumeID,vid"`
}

// ids are the volumes that are named.
func (q *migrating) ids() []volume.ID {
	if len(q.Volumes) == 0 && !q.Volume.IsZero() {
		return []volume.ID{q.Volume}
	}
	return q.Volumes
}

func (q *migrating) ref(ctx context.Context) (livemigration.Ref, error) {
	ref := livemigration.Ref{ID: q.ID, Volumes: q.ids(), By: access.CallerOf(ctx).Who()}
	rest.SetAbout(ctx, append(texts(q.ID), texts(ref.Volumes...)...)...)
	if ref.ID.IsZero() && len(ref.Volumes) == 0 {
		return ref, missing("migration_id")
	}
	return ref, nil
}

// party is one of the two hosts.
type party struct {
	Client    volume.Client `json:"client_uid" caller:"fill"`
	Initiator string        `json:"initiator"`
	Host      string        `json:"host"`
}

// migration is one as everybody may see it.
type migration struct {
	ID          volume.ID           `json:"migration_id"`
	State       livemigration.State `json:"state"`
	Pen         livemigration.Side  `json:"pen,omitempty"`
	PenAsked    bool                `json:"pen_asked,omitempty"`
	Owner       livemigration.Side  `json:"owner,omitempty"`
	Source      livemigration.Party `json:"source"`
	Destination livemigration.Party `json:"destination"`
	Began       time.Time           `json:"began"`
	Deadline    time.Time           `json:"deadline"`
	Ended       *time.Time          `json:"ended,omitempty"`
	Alarm       string              `json:"alarm,omitempty"`
	Waiting     string              `json:"waiting,omitempty"`
	Here        livemigration.Side  `json:"here,omitempty"`
	OtherServer string              `json:"other_server,omitempty"`
	OtherHost   string              `json:"other_host,omitempty"`
	Volumes     []migratingVolume   `json:"volumes"`
}

// migratingVolume is one of its volumes. Access is in the answer to prepare alone.
type migratingVolume struct {
	Volume   volume.ID        `json:"volume_id"`
	From     volume.ID        `json:"source_attachment_id"`
	To       volume.ID        `json:"attachment_id"`
	Sessions []export.Session `json:"sessions"`
	*export.Access
}

func migrationOf(i *livemigration.Info) migration {
	m := migration{
		ID: i.ID, State: i.State, Pen: i.Pen, PenAsked: i.PenAsked, Owner: i.Owner, Source: i.Source, Destination: i.Destination,
		Began: i.Began, Deadline: i.Deadline, Alarm: i.Alarm, Waiting: i.Waiting, Here: i.Here, OtherServer: i.Peer, OtherHost: i.PeerHost,
		Volumes: []migratingVolume{},
	}
	if !i.Ended.IsZero() {
		m.Ended = &i.Ended
	}
	for n, p := range i.Parts {
		sessions := i.Sessions[n]
		if sessions == nil {
			sessions = []export.Session{}
		}
		m.Volumes = append(m.Volumes, migratingVolume{Volume: p.Volume, From: p.Source, To: p.Destination, Sessions: sessions})
	}
	return m
}

// prepare is no job, as export is none: its answer has secrets, and asking again is the way to have it again.
func (a *API) prepare(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[struct {
		migrating
		Client      volume.Client `json:"client_uid" required:"true" caller:"match"`
		Source      party         `json:"source"`
		Destination party         `json:"destination"`
		Timeout     float64       `json:"timeout"` // seconds
	}](r)
	if err != nil {
		return err
	}
	if len(req.ids()) == 0 {
		return missing("volume_id")
	}
	if access.CallerOf(r.Context()).Limited() {
		return limitedMigration()
	}
	rest.SetAbout(r.Context(), texts(req.ids()...)...)
	if err := a.mayNotSee(r.Context(), req.ids()...); err != nil {
		return err
	}
	if req.Timeout < 0 || req.Timeout > math.MaxInt32 {
		return fault.Errorf(fault.BadRequest, "'timeout' is %v; allowed is a number of seconds from 1 on", req.Timeout)
	}
	if !req.Source.Client.IsZero() && req.Source.Client != req.Client {
		return fault.Errorf(fault.BadRequest, "'source' names the client %s, and 'client_uid' %s; what migrates is the caller's", req.Source.Client, req.Client)
	}
	set, err := a.cfg.Migrations.Prepare(context.WithoutCancel(r.Context()), livemigration.Request{
		Volumes:     req.ids(),
		Source:      livemigration.Party{Client: req.Client, Initiator: req.Source.Initiator, Host: req.Source.Host},
		Destination: livemigration.Party(req.Destination),
		Timeout:     time.Duration(req.Timeout * float64(time.Second)),
	})
	if err != nil {
		return err
	}
	answer := migrationOf(&set.Info)
	for i := range answer.Volumes {
		answer.Volumes[i].Access = &set.Access[i]
	}
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, answer)
}

func (a *API) conclude(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[struct {
		migrating
		Force bool `json:"force"`
	}](r)
	if err != nil {
		return err
	}
	return a.decided(w, r, &req.migrating, func(q livemigration.Ref) (livemigration.Info, error) {
		return a.cfg.Migrations.Conclude(r.Context(), q, req.Force)
	})
}

func (a *API) revert(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[struct {
		migrating
		Assert bool `json:"assert_source_running"`
	}](r)
	if err != nil {
		return err
	}
	return a.decided(w, r, &req.migrating, func(q livemigration.Ref) (livemigration.Info, error) {
		return a.cfg.Migrations.Revert(r.Context(), q, req.Assert)
	})
}

func (a *API) resolve(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[struct {
		migrating
		Owner string `json:"owner" required:"true"`
	}](r)
	if err != nil {
		return err
	}
	return a.decided(w, r, &req.migrating, func(q livemigration.Ref) (livemigration.Info, error) {
		return a.cfg.Migrations.Resolve(r.Context(), q, livemigration.Side(req.Owner))
	})
}

// decided answers a call that decides a migration: 202 where the other side is still being fenced.
func (a *API) decided(w http.ResponseWriter, r *http.Request, q *migrating, decide func(livemigration.Ref) (livemigration.Info, error)) error {
	if access.CallerOf(r.Context()).Limited() {
		return limitedMigration()
	}
	ref, err := q.ref(r.Context())
	if err != nil {
		return err
	}
	info, err := decide(ref)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if info.State != livemigration.Stable {
		status = http.StatusAccepted
		w.Header().Set("Location", base+"/livemigration/"+info.ID.String())
	}
	return rest.Reply(w, status, migrationOf(&info))
}

func (a *API) migrations(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeQuery[struct {
		Client *volume.Client `json:"client_uid" caller:"fill"`
	}](r)
	if err != nil {
		return err
	}
	list := []migration{}
	for _, i := range a.cfg.Migrations.List(req.Client) {
		if !a.usesAll(access.CallerOf(r.Context()), i.Volumes()) {
			continue
		}
		list = append(list, migrationOf(&i))
	}
	return rest.Reply(w, http.StatusOK, list)
}

func (a *API) migration(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("id"))
	if err != nil {
		return fault.Errorf(fault.MigrationNotFound, "there is no live migration %.40q", r.PathValue("id"))
	}
	info, err := a.cfg.Migrations.Get(livemigration.Ref{ID: id, By: access.CallerOf(r.Context()).Who()})
	if err != nil {
		return err
	}
	if !a.usesAll(access.CallerOf(r.Context()), info.Volumes()) {
		return fault.Errorf(fault.MigrationNotFound, "there is no live migration %s", id)
	}
	return rest.Reply(w, http.StatusOK, migrationOf(&info))
}

// limitedMigration refuses a token for some pools: a set of volumes is not held to them.
func limitedMigration() error {
	return fault.Errorf(fault.NotAllowed, "this token is for some pools, and decides no live migrations")
}

// migrationRoutes are the calls about live migration, which clients know under two names.
func (a *API) migrationRoutes() []rest.Route {
	var list []rest.Route
	for _, under := range []string{"/livemigration", "/migration"} {
		list = append(list,
			rest.Route{Methods: []string{http.MethodPost}, Path: under + "/prepare", Handler: a.prepare},
			rest.Route{Methods: []string{http.MethodPost}, Path: under + "/conclude", Handler: a.conclude},
			rest.Route{Methods: []string{http.MethodPost}, Path: under + "/revert", Handler: a.revert},
			rest.Route{Methods: []string{http.MethodPost}, Path: under + "/resolve", Handler: a.resolve},
			rest.Route{Methods: []string{http.MethodGet}, Path: under, Handler: a.migrations},
			rest.Route{Methods: []string{http.MethodGet}, Path: under + "/{id}", Handler: a.migration},
		)
	}
	return list
}
