package v1

import (
	"net/http"

	"elstore/api/rest"
	"elstore/volume"
)

// volumeRequest names a volume, and perhaps who asks.
type volumeRequest struct {
	ID volume.ID `json:"volume_id" alias:"volumeID,vid" required:"true"`
	asker
}

func (a *API) info(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[volumeRequest](r)
	if err != nil {
		return err
	}
	v, err := a.cfg.Volumes.Get(r.Context(), req.ID, req.Who)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, recordOf(&v))
}

func (a *API) has(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.Decode[volumeRequest](r)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, map[string]bool{"has": a.cfg.Volumes.Has(r.Context(), req.ID, req.Who)})
}
