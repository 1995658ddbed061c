package v1

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"elstore/api/access"
	"elstore/api/rest"
	"elstore/volume"
)

// work is a call that changes something, checked and ready to run as a job.
type work struct {
	kind    string
	owner   volume.Who
	volumes []volume.ID // that it changes
	makes   int         // how many volumes it makes
	run     func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error)

	// answer, where it is not nil, is all that there is to the call: no job is made, and nothing remembered.
	answer any
}

// changes makes the handler of a call that changes something. plan refuses what is wrong with the request alone, so
// that no job is promised for it, and says what is to be done.
func changes[T any](a *API, plan func(ctx context.Context, req T) (work, error)) rest.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		key, err := keyOf(r)
		if err != nil {
			return err
		}
		key.standsForBody(r)
		req, err := rest.Decode[T](r)
		if err != nil {
			return err
		}
		todo, err := plan(r.Context(), req)
		if err != nil {
			return err
		}
		if todo.answer != nil {
			return rest.Reply(w, http.StatusOK, todo.answer)
		}
		answer, err := key.once(r.Context(), a.cfg.Keys, todo.kind, func(ctx context.Context, id func(n int) volume.ID) (volume.Answer, error) {
			return a.do(ctx, todo, rest.PrefersAsync(r), id)
		})
		if err != nil {
			return err
		}
		return a.reply(w, r, answer)
	}
}

// do starts the job and, unless the caller prefers not to, waits for its end. The job outlives ctx.
func (a *API) do(ctx context.Context, todo work, async bool, id func(n int) volume.ID) (volume.Answer, error) {
	made := todo.ids(id)
	rest.SetAbout(ctx, texts(slices.Concat(todo.volumes, made)...)...)
	pools := access.CallerOf(ctx).OnlyPools()
	job, err := a.cfg.Jobs.Start(ctx, todo.kind, slices.Concat(a.used(ctx, todo.volumes), made), todo.owner, async, func(ctx context.Context, p volume.Progress) (any, error) {
		return todo.run(volume.Within(ctx, pools), made, p)
	})
	if err != nil {
		return volume.Answer{}, err
	}
	return a.await(ctx, job, async)
}

// ids are those of the volumes that it makes.
func (todo *work) ids(id func(n int) volume.ID) []volume.ID {
	made := make([]volume.ID, todo.makes)
	for i := range made {
		made[i] = id(i)
	}
	return made
}

// await is the answer of a job: its result, or for async the job itself as it stands.
func (a *API) await(ctx context.Context, job volume.Job, async bool) (volume.Answer, error) {
	if async {
		body, err := json.Marshal(job)
		return volume.Answer{Status: http.StatusAccepted, Body: body}, err
	}
	job, err := a.cfg.Jobs.Wait(ctx, job.ID)
	return volume.Answer{Status: http.StatusOK, Body: job.Result}, err
}

// reply writes an answer, a job's as it stands now and with the way to follow it.
func (a *API) reply(w http.ResponseWriter, r *http.Request, answer volume.Answer) error {
	if answer.Status != http.StatusAccepted {
		return rest.Reply(w, answer.Status, answer.Body)
	}
	var job volume.Job
	if err := json.Unmarshal(answer.Body, &job); err != nil {
		return err
	}
	if now, err := a.cfg.Jobs.Get(job.ID); err == nil { // one that is forgotten is told as it was
		job = now
	}
	w.Header().Set("Location", base+"/jobs/"+job.ID)
	if rest.PrefersAsync(r) {
		w.Header().Set("Preference-Applied", "respond-async")
	}
	return rest.Reply(w, answer.Status, job)
}
