package v1

import (
	"net/http"
	"time"

	"elstore/api/audit"
	"elstore/api/rest"
	"elstore/volume/fault"
)

const (
	auditLimit    = 100
	maxAuditLimit = 10_000
)

// audit lists what the audit log has, the newest first.
func (a *API) audit(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeQuery[struct {
		Who     string     `json:"who"`
		About   string     `json:"about"`
		Since   *time.Time `json:"since"`
		Refused truth      `json:"refused"`
		Limit   *int       `json:"limit"`
	}](r)
	if err != nil {
		return err
	}
	q := audit.Query{Who: req.Who, About: req.About, Refused: bool(req.Refused), Limit: or(req.Limit, auditLimit)}
	if q.Limit < 1 || q.Limit > maxAuditLimit {
		return fault.Errorf(fault.BadRequest, "'limit' is %d; allowed is 1 to %d", q.Limit, maxAuditLimit)
	}
	if req.Since != nil {
		q.Since = *req.Since
	}
	list, err := a.cfg.Audit.Read(q)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, list)
}
