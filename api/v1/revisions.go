package v1

import (
	"net/http"
	"strconv"

	"elstore/api/rest"
	"elstore/volume"
)

// revision is the number that grows with every change of the list of volumes and pools.
type revision struct {
	Revision int64 `json:"revision"`
}

func (a *API) revision(w http.ResponseWriter, r *http.Request) error {
	n := a.cfg.Events.Revision()
	if rest.NotModified(w, r, strconv.FormatInt(n, 10)) {
		return nil
	}
	return rest.Reply(w, http.StatusOK, revision{n})
}

// revisions tells the revision now and whenever it has grown.
func (a *API) revisions(w http.ResponseWriter, r *http.Request) error {
	sub := a.cfg.Events.Subscribe(0)
	defer sub.Close()
	told := a.cfg.Events.Revision()
	s, err := newStream(w, told)
	if err != nil || r.Method == http.MethodHead || s.send(told, "revision", revision{told}) != nil {
		return nil // the client is gone
	}
	follow(r.Context(), s, sub, func() int64 { return told }, func(e volume.Event) error {
		if e.Revision <= told {
			return nil
		}
		told = e.Revision
		return s.send(told, "revision", revision{told})
	})
	return nil
}
