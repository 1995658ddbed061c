package v1

import (
	"context"
	"encoding/json"
	"maps"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// attributes are what a new volume can be told to be.
type attributes struct {
	Private   bool            `json:"private"`
	ReadOnly  bool            `json:"readonly"`
	Shareable bool            `json:"shareable"`
	Bootable  bool            `json:"bootable"`
	Clonable  *bool           `json:"clonable"` // default true
	Alg       *volume.Alg     `json:"alg"`      // default cp
	Format    *volume.Format  `json:"format"`   // default raw
	Bus       *volume.Bus     `json:"bus"`      // default virtio
	Pool      string          `json:"pool"`     // "" is the best one
	Prealloc  volume.Prealloc `json:"preallocation"`
	rates
}

// newRequest is what every call that makes a volume from nothing takes.
type newRequest struct {
	Creator volume.Client     `json:"creatorID" required:"true" caller:"match"`
	Name    string            `json:"name" required:"true"`
	Size    *volume.Gigabytes `json:"size"`
	attributes
	Unknown map[string]json.RawMessage `rest:"extra"`
}

// createRequest is a newRequest, and where its content comes from if that is not zeros.
type createRequest struct {
	newRequest
	source
}

// volume returns what the domain is asked to make.
func (r *newRequest) volume() (volume.NewVolume, error) {
	n := r.describe()
	n.Meta.Creator, n.Meta.Name = r.Creator, r.Name
	n.Meta.Extra = kept(r.Unknown, r.rates)
	maps.DeleteFunc(n.Meta.Extra, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	if r.Size != nil {
		n.Meta.Size = r.Size.Bytes
	}
	return n, n.Check()
}

// describe fills in the defaults.
func (r *attributes) describe() volume.NewVolume {
	return volume.NewVolume{Pool: r.Pool, Prealloc: r.Prealloc, Meta: volume.Meta{
		Private: r.Private, ReadOnly: r.ReadOnly, Shareable: r.Shareable, Bootable: r.Bootable,
		Clonable: or(r.Clonable, true), Alg: or(r.Alg, volume.Copy), Format: or(r.Format, volume.Raw), Bus: or(r.Bus, volume.Virtio),
	}}
}

// or returns what p points to, or value for nil.
func or[T any](p *T, value T) T {
	if p == nil {
		return value
	}
	return *p
}

// empty refuses requests for an empty volume that lack a size or name a source.
func (r *createRequest) empty() (volume.NewVolume, error) {
	switch {
	case r.Size == nil:
		return volume.NewVolume{}, missing("size")
	case r.URL != "" || r.Checksum != nil || r.SourceFormat != "":
		return volume.NewVolume{}, fault.Errorf(fault.BadRequest, "url, checksum and source_format are for a volume made of an image; here it is made empty")
	}
	return r.volume()
}

func (a *API) create(_ context.Context, req createRequest) (work, error) {
	if req.URL != "" {
		return a.importWork("create", importRequest{newRequest: req.newRequest, source: req.source})
	}
	n, err := req.empty()
	if err != nil {
		return work{}, err
	}
	return work{kind: "create", owner: &req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID = made[0]
		v, err := a.cfg.Volumes.Create(ctx, n, p)
		if err != nil {
			return nil, err
		}
		return created(&v, &req.newRequest), nil
	}}, nil
}

// createMany makes all or none.
func (a *API) createMany(_ context.Context, reqs []createRequest) (work, error) {
	list := make([]volume.NewVolume, len(reqs))
	var owner volume.Who
	for i := range reqs {
		var err error
		if list[i], err = reqs[i].empty(); err != nil {
			return work{}, rest.AtIndex(i, err)
		}
		owner = &reqs[0].Creator
	}
	return work{kind: "create", owner: owner, makes: len(list), run: func(ctx context.Context, made []volume.ID, _ volume.Progress) (any, error) {
		for i := range list {
			list[i].ID = made[i]
		}
		volumes, err := a.cfg.Volumes.CreateMany(ctx, list)
		if err != nil {
			return nil, err
		}
		answers := make([]map[string]any, len(volumes))
		for i := range volumes {
			answers[i] = created(&volumes[i], &reqs[i].newRequest)
		}
		return answers, nil
	}}, nil
}

// created is the answer of every call that makes a volume: the source document's keys with what the volume became, the
// size as the request had it, and the volume's id and pool. req is nil where the request had other keys.
func created(v *volume.Volume, req *newRequest) map[string]any {
	m := &v.Meta
	answer := make(map[string]any, 16+len(m.Extra))
	for key, value := range m.Extra {
		answer[key] = value
	}
	size := volume.FromBytes(m.Size)
	if req != nil && req.Size != nil {
		size = *req.Size
	}
	if req != nil && req.Prealloc != "" {
		answer["preallocation"] = req.Prealloc
	}
	maps.Copy(answer, map[string]any{
		"vid": v.ID, "creatorID": m.Creator, "name": m.Name, "size": size, "img_format": m.Format, "private": m.Private,
		"readonly": m.ReadOnly, "shareable": m.Shareable, "bootable": m.Bootable, "clonable": m.Clonable, "alg": m.Alg,
		"bus": m.Bus, "pool": v.Pool,
	})
	return answer
}
