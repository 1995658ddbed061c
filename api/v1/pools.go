package v1

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/pool"
	"elstore/volume"
	"elstore/volume/fault"
)

// poolRecord describes a pool, or with an empty name a directory that looks like one and is none.
func poolRecord(i pool.Info) pool.Info {
	if i.Formats == nil {
		i.Formats = []volume.Format{}
	}
	return i
}

func (a *API) pools(w http.ResponseWriter, r *http.Request) error {
	c := access.CallerOf(r.Context())
	list := []pool.Info{}
	for _, i := range a.cfg.Pools.Infos() {
		if c.Uses(i.Name) {
			list = append(list, poolRecord(i))
		}
	}
	if c.Limited() {
		return rest.Reply(w, http.StatusOK, list)
	}
	for _, n := range a.cfg.Pools.NotPools() {
		list = append(list, poolRecord(pool.Info{Path: n.Path, Reason: n.Reason}))
	}
	return rest.Reply(w, http.StatusOK, list)
}

func (a *API) pool(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	for _, i := range a.cfg.Pools.Infos() {
		if i.Name == name && access.CallerOf(r.Context()).Uses(name) {
			return rest.Reply(w, http.StatusOK, poolRecord(i))
		}
	}
	return noPool(name)
}

func (a *API) isPool(name string) bool {
	return slices.ContainsFunc(a.cfg.Pools.Infos(), func(i pool.Info) bool { return i.Name == name })
}

func noPool(name string) error {
	return fault.Errorf(fault.PoolNotFound, "no pool is named %.100q", name)
}

// refreshed says how many volumes a look at a pool's directory found that came and went without us.
type refreshed struct {
	Name string `json:"name"`
	Came int    `json:"came"`
	Went int    `json:"went"`
}

// inUse reports whether a pool of that name is known and valid.
func (a *API) inUse(name string) bool {
	return slices.ContainsFunc(a.cfg.Pools.Infos(), func(i pool.Info) bool { return i.Name == name && i.Valid })
}

// refresh looks at the disk now: for volumes in one pool, or for pools and for volumes in all that are in use.
func (a *API) refresh(ctx context.Context, req struct {
	Name string `json:"name" alias:"pool"`
},
) (work, error) {
	switch c := access.CallerOf(ctx); {
	case c.Uses(req.Name):
	case req.Name == "":
		return work{}, fault.Errorf(fault.NotAllowed, "this token is for the pools %s; name one of them", strings.Join(c.Pools, ", "))
	default:
		return work{}, noPool(req.Name)
	}
	return work{kind: "refresh", run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		if req.Name == "" || !a.inUse(req.Name) {
			if err := a.cfg.Pools.Rescan(ctx); err != nil {
				return nil, err
			}
		}
		list, known := []refreshed{}, req.Name == ""
		for _, i := range a.cfg.Pools.Infos() {
			if req.Name != "" && i.Name != req.Name {
				continue
			}
			known = true
			came, went, err := a.cfg.Volumes.Refresh(ctx, i.Name)
			switch {
			case err == nil:
				list = append(list, refreshed{i.Name, came, went})
			case req.Name == "" && fault.Is(err, fault.PoolNotFound): // it is not in use; its record says why
			default:
				return nil, err
			}
		}
		if !known {
			return nil, noPool(req.Name)
		}
		return list, nil
	}}, nil
}
