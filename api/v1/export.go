package v1

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// exportRequest is a wish to let a client attach a volume.
type exportRequest struct {
	Volume volume.ID     `json:"volume_id" alias:"volumeID,vid" required:"true"`
	Client volume.Client `json:"client_uid" required:"true" caller:"match"`
	Type   string        `json:"type"`

	Initiator string   `json:"initiator"`
	ReadOnly  *bool    `json:"readonly"`
	Multipath *bool    `json:"multipath"`
	Portals   []string `json:"portals"`
	Rotate    bool     `json:"rotate"`
	Path      bool     `json:"path"`
	Takeover  bool     `json:"takeover"`
	IsOff     bool     `json:"old_host_is_off"`
	rates
}

// exportAnswer is an attachment and how to use it.
type exportAnswer struct {
	exportedTo
	export.Access
}

// exportedTo says of an attachment what is no secret.
type exportedTo struct {
	Volume     volume.ID     `json:"volume_id"`
	Client     volume.Client `json:"client_uid"`
	Type       string        `json:"type"`
	Attachment volume.ID     `json:"attachment_id"`
	Epoch      int64         `json:"epoch"`
	Since      time.Time     `json:"since"`
	ReadOnly   bool          `json:"readonly"`
	Multipath  bool          `json:"multipath"`
	Initiator  string        `json:"initiator,omitempty"`
	Migration  string        `json:"migration_id,omitempty"`
}

func exported(id volume.ID, r *export.Record) exportedTo {
	return exportedTo{
		Volume: id, Client: r.Client, Type: r.Kind, Attachment: r.ID, Epoch: r.Epoch, Since: r.Since,
		ReadOnly: r.ReadOnly, Multipath: r.Multipath, Initiator: r.Initiator, Migration: r.Migration,
	}
}

// export is no job, and its answer is not remembered for idempotency keys: it has secrets, and asking again is its way to have it again.
func (a *API) export(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[exportRequest](r)
	if err != nil {
		return err
	}
	rest.SetAbout(r.Context(), texts(req.Volume)...)
	if err := a.mayNotSee(r.Context(), req.Volume); err != nil {
		return err
	}
	// Somebody who hangs up leaves it done or undone, not halfway.
	answer, err := a.cfg.Exports.Export(context.WithoutCancel(r.Context()), export.Request{
		Volume: req.Volume, Client: req.Client, Kind: req.Type, Initiator: req.Initiator, ReadOnly: req.ReadOnly, Multipath: req.Multipath,
		Rates: req.limits(), Portals: req.Portals, Rotate: req.Rotate, Path: req.Path, Takeover: req.Takeover, OldHostIsOff: req.IsOff,
	})
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, exportAnswer{exported(req.Volume, &answer.Record), answer.Access})
}

// limits are the rates as numbers.
func (r rates) limits() (out export.Rates) {
	for value, into := range map[*rate]**float64{
		r.ReadMB: &out.ReadMB, r.WriteMB: &out.WriteMB, r.ReadIOPS: &out.ReadIOPS, r.WriteIOPS: &out.WriteIOPS,
	} {
		var n float64
		if value != nil && json.Unmarshal(*value, &n) == nil { // it was checked when it was read
			*into = &n
		}
	}
	return out
}

func (a *API) unexport(ctx context.Context, req struct {
	Volume volume.ID     `json:"volume_id" alias:"volumeID,vid" required:"true"`
	Client volume.Client `json:"client_uid" required:"true"`
	Type   string        `json:"type"`
	IfIdle bool          `json:"if_idle"`
},
) (work, error) {
	caller := access.CallerOf(ctx).Who()
	if !a.owns(ctx, req.Volume, caller) { // an owner ends anybody's
		if err := rest.Match(ctx, "client_uid", req.Client); err != nil {
			return work{}, err
		}
	}
	if caller == nil {
		caller = &req.Client
	}
	answer := map[string]any{}
	for key, value := range rest.Echo(ctx) {
		answer[key] = value
	}
	answer["volume_id"], answer["client_uid"] = req.Volume, req.Client
	// Who can't see it has nothing to end there, unless it became private since.
	if a.hides(ctx, req.Volume) && !slices.ContainsFunc(a.cfg.Exports.List(ctx, export.Query{Client: &req.Client, Volume: &req.Volume}),
		func(i export.Info) bool { return access.CallerOf(ctx).Uses(i.Pool) }) {
		return work{answer: answer}, nil
	}
	return work{kind: "unexport", owner: caller, volumes: []volume.ID{req.Volume}, run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		return answer, a.cfg.Exports.Unexport(ctx, req.Volume, req.Client, req.Type, req.IfIdle)
	}}, nil
}

// exportInfo is an attachment as lists show it: without secrets.
type exportInfo struct {
	exportedTo
	Pool      string           `json:"pool"`
	Name      string           `json:"target"`
	Portals   []string         `json:"portals"`
	State     export.State     `json:"state"`
	Rates     export.Rates     `json:"rates"`
	Sessions  []export.Session `json:"sessions"`
	Heartbeat *time.Time       `json:"heartbeat,omitempty"`
	export.Counts
	ReadTime  int64 `json:"read_time_us"`
	WriteTime int64 `json:"write_time_us"`
}

// orphan is something that disagrees.
type orphan struct {
	Volume  volume.ID `json:"volume_id"`
	Problem string    `json:"problem"`
}

func (a *API) exports(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeAny[struct {
		Client  *volume.Client `json:"client_uid" caller:"match"`
		Volume  *volume.ID     `json:"volume_id" alias:"volumeID,vid"`
		Orphans truth          `json:"orphans"`
	}](r)
	if err != nil {
		return err
	}
	if req.Orphans {
		if err := everybodys(r.Context()); err != nil {
			return err
		}
		list := []orphan{}
		for _, o := range a.cfg.Exports.Orphans(r.Context()) {
			if req.Volume == nil || *req.Volume == o.Volume {
				list = append(list, orphan{o.Volume, o.What})
			}
		}
		return rest.Reply(w, http.StatusOK, list)
	}
	list := []exportInfo{}
	for _, i := range a.cfg.Exports.List(r.Context(), export.Query{Client: req.Client, Volume: req.Volume}) {
		if caller := access.CallerOf(r.Context()); !caller.Uses(i.Pool) || !caller.Is(&i.Record.Client) && !caller.Is(i.Owner) {
			continue
		}
		e := exportInfo{
			exportedTo: exported(i.Volume, &i.Record), Pool: i.Pool, Name: i.Name, Portals: append([]string{}, i.Where...), State: i.State, Rates: i.Rates,
			Sessions: i.Sessions, Counts: i.Counts,
			ReadTime: i.Counts.ReadLatency.Sum.Microseconds(), WriteTime: i.Counts.WriteLatency.Sum.Microseconds(),
		}
		if !i.Heartbeat.IsZero() {
			e.Heartbeat = new(i.Heartbeat.UTC())
		}
		list = append(list, e)
	}
	return rest.Reply(w, http.StatusOK, list)
}

// truth is a bool that may be written as in a query: 1 and 0.
type truth bool

// Allowed says in an error message what it takes.
func (truth) Allowed() string { return "true, false, 1 or 0" }

// UnmarshalJSON reads true, false, 1 and 0.
func (t *truth) UnmarshalJSON(data []byte) error {
	switch string(data) {
	case "true", "1", `"1"`, `"true"`:
		*t = true
	case "false", "0", `"0"`, `"false"`:
		*t = false
	default:
		return fault.Errorf(fault.BadRequest, "it is %s", t.Allowed())
	}
	return nil
}
