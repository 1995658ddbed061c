package v1

import (
	"net/http"
	"slices"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
)

func (a *API) jobs(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeQuery[struct {
		State  []string   `json:"state"`
		Kind   []string   `json:"kind"`
		Volume *volume.ID `json:"volume" alias:"volume_id"`
		asker
	}](r)
	if err != nil {
		return err
	}
	list := slices.DeleteFunc(a.cfg.Jobs.List(), func(j volume.Job) bool {
		return !a.usesAll(access.CallerOf(r.Context()), j.Volumes) || len(req.State) > 0 && !slices.Contains(req.State, string(j.State)) ||
			len(req.Kind) > 0 && !slices.Contains(req.Kind, j.Kind) ||
			req.Volume != nil && !slices.Contains(j.Volumes, *req.Volume) ||
			req.Who != nil && (j.Owner == nil || *j.Owner != *req.Who)
	})
	for i := range list {
		list[i].Result = nil // a thousand results would be long; a job's own record has its
	}
	return rest.Reply(w, http.StatusOK, list)
}

func (a *API) job(w http.ResponseWriter, r *http.Request) error {
	job, err := a.visibleJob(r)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, job)
}

// visibleJob is the job that the path names, if the caller may see it: its own, or any where it acts for everybody.
func (a *API) visibleJob(r *http.Request) (volume.Job, error) {
	rest.SetAbout(r.Context(), r.PathValue("id"))
	job, err := a.cfg.Jobs.Get(r.PathValue("id"))
	if err == nil && (!access.CallerOf(r.Context()).Is(job.Owner) || !a.usesAll(access.CallerOf(r.Context()), job.Volumes)) {
		return volume.Job{}, volume.NoJob(r.PathValue("id"))
	}
	return job, err
}

func (a *API) cancelJob(w http.ResponseWriter, r *http.Request) error {
	job, err := a.visibleJob(r)
	if err != nil {
		return err
	}
	job, err = a.cfg.Jobs.Cancel(r.Context(), job.ID)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, job)
}
