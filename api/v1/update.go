package v1

import (
	"context"
	"encoding/json"
	"slices"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// ownerRequest names a volume, and its owner, who asks for the change.
type ownerRequest struct {
	ID      volume.ID     `json:"vid" alias:"volume_id,volumeID" required:"true"`
	Creator volume.Client `json:"creatorID" required:"true" caller:"match"`
}

// changing is the work of changing one volume, answered with the request.
func (r *ownerRequest) changing(ctx context.Context, kind string, run func(ctx context.Context, p volume.Progress) error) work {
	echo := rest.Echo(ctx)
	answer := make(map[string]any, len(echo)+2)
	for key, value := range echo {
		answer[key] = value
	}
	answer["vid"], answer["creatorID"] = r.ID, r.Creator
	return work{kind: kind, owner: &r.Creator, volumes: []volume.ID{r.ID}, run: func(ctx context.Context, _ []volume.ID, p volume.Progress) (any, error) {
		return answer, run(ctx, p)
	}}
}

type updateRequest struct {
	ownerRequest
	Name      *string     `json:"name"`
	Private   *bool       `json:"private"`
	ReadOnly  *bool       `json:"readonly"`
	Shareable *bool       `json:"shareable"`
	Bootable  *bool       `json:"bootable"`
	Clonable  *bool       `json:"clonable"`
	Alg       *volume.Alg `json:"alg"`
	Bus       *volume.Bus `json:"bus"`
	rates
	Format    *volume.Format             `json:"format"`    // must be as it is
	CloudInit *bool                      `json:"cloudinit"` // must be as it is
	Unknown   map[string]json.RawMessage `rest:"extra"`
}

func (a *API) update(ctx context.Context, req updateRequest) (work, error) {
	if req.Name != nil {
		if err := volume.CheckName(*req.Name); err != nil {
			return work{}, err
		}
	}
	change := volume.Change{
		Name: req.Name, Private: req.Private, ReadOnly: req.ReadOnly, Shareable: req.Shareable, Bootable: req.Bootable,
		Clonable: req.Clonable, Alg: req.Alg, Bus: req.Bus, Extra: kept(req.Unknown, req.rates),
	}
	return req.changing(ctx, "update", func(ctx context.Context, _ volume.Progress) error {
		v, err := a.cfg.Volumes.Get(ctx, req.ID, &req.Creator)
		if err != nil {
			return err
		}
		if err := req.impossible(&v); err != nil {
			return err
		}
		return a.cfg.Volumes.Update(ctx, req.ID, &req.Creator, change)
	}), nil
}

// impossible refuses what can't change here.
func (r *updateRequest) impossible(v *volume.Volume) error {
	switch {
	case r.Creator != v.Meta.Creator:
		return fault.Errorf(fault.VolumeImpossibleCreatorIDMetaUpdate,
			"creatorID is not the owner of volume %s: only the owner updates it, and /update/transfer makes another the owner", v.ID)
	case r.Format != nil && *r.Format != v.Meta.Format:
		return fault.Errorf(fault.VolumeImpossibleFormatMetaUpdate,
			"volume %s has format %s, which /update/convert changes, not /update", v.ID, v.Meta.Format)
	case r.CloudInit != nil && *r.CloudInit != v.Meta.CloudInit:
		return fault.Errorf(fault.VolumeImpossibleCloudinitMetaUpdate, "volume %s has cloudinit %t, which can't change", v.ID, v.Meta.CloudInit)
	}
	return r.fixed(v)
}

// fixed refuses other values for those attributes of a record that are no client's to set. A record sent back as it
// came is fine, and so is one whose state has changed since.
func (r *updateRequest) fixed(v *volume.Volume) error {
	has := map[string]any{"size": v.Meta.Size, "pool": v.Pool, "ceph": v.Meta.OnCeph(), "iso_type": v.ISOType}
	for key, text := range r.Unknown {
		value, there := has[key]
		if !there {
			continue
		}
		if now, err := json.Marshal(value); err != nil || !slices.Equal(now, text) {
			return fault.Errorf(fault.VolumeMetadataNotUpdatable, "'%s' of volume %s is %s, which can't change here", key, v.ID, now)
		}
	}
	return nil
}

func (a *API) resize(ctx context.Context, req struct {
	ownerRequest
	Size     volume.Gigabytes `json:"size" required:"true"`
	Shrink   bool             `json:"shrink"`
	Prealloc volume.Prealloc  `json:"preallocation"`
},
) (work, error) {
	return req.changing(ctx, "resize", func(ctx context.Context, _ volume.Progress) error {
		return a.cfg.Volumes.Resize(ctx, req.ID, &req.Creator, volume.ResizeRequest{Size: req.Size.Bytes, Shrink: req.Shrink, Prealloc: req.Prealloc})
	}), nil
}

func (a *API) convert(ctx context.Context, req struct {
	ownerRequest
	Format volume.Format `json:"format" required:"true"`
},
) (work, error) {
	if req.Format == volume.ISO {
		return work{}, fault.Errorf(fault.VolumeFormatNotAllowed, "'format' is \"iso\"; allowed is raw, qcow2 or rbd")
	}
	return req.changing(ctx, "convert", func(ctx context.Context, p volume.Progress) error {
		return a.cfg.Volumes.Convert(ctx, req.ID, &req.Creator, req.Format, p)
	}), nil
}

func (a *API) transfer(ctx context.Context, req struct {
	ownerRequest
	To volume.Client `json:"newCreatorID" required:"true"`
},
) (work, error) {
	return req.changing(ctx, "transfer", func(ctx context.Context, _ volume.Progress) error {
		return a.cfg.Volumes.Transfer(ctx, req.ID, &req.Creator, req.To)
	}), nil
}

func (a *API) compact(ctx context.Context, req ownerRequest) (work, error) {
	return req.changing(ctx, "compact", func(ctx context.Context, p volume.Progress) error {
		return a.cfg.Volumes.Compact(ctx, req.ID, &req.Creator, p)
	}), nil
}
