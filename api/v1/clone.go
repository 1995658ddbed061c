package v1

import (
	"context"

	"elstore/volume"
)

type cloneRequest struct {
	Source  volume.ID     `json:"volume_id" alias:"volumeID,vid" required:"true"`
	Creator volume.Client `json:"creatorID" required:"true" caller:"match"`
	Name    string        `json:"name" required:"true"`
	Private *bool         `json:"private"`
	Alg     *volume.Alg   `json:"alg"`
	Pool    string        `json:"pool"`
}

func (a *API) clone(_ context.Context, req cloneRequest) (work, error) {
	if err := volume.CheckName(req.Name); err != nil {
		return work{}, err
	}
	source := []volume.ID{req.Source}
	return work{kind: "clone", owner: &req.Creator, volumes: source, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		v, err := a.cfg.Volumes.Clone(ctx, req.Source, volume.CloneRequest{
			ID: made[0], Creator: req.Creator, Name: req.Name, Private: req.Private, Alg: req.Alg, Pool: req.Pool,
		}, p)
		if err != nil {
			return nil, err
		}
		answer := created(&v, nil)
		answer["volume_id"] = req.Source
		return answer, nil
	}}, nil
}
