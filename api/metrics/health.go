package metrics

import (
	"net/http"

	"elstore/api/rest"
	"elstore/volume/fault"
)

// healthy answers as long as requests are answered at all.
func healthy(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	return rest.Reply(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ready refuses while the server stops, and while there are pools and none of them can be used. It names none: anybody may ask.
func (m *Metrics) ready(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Cache-Control", "no-store")
	select {
	case <-m.cfg.Stopping:
		return rest.ServerStopping()
	default:
	}
	valid, invalid := 0, 0
	for _, p := range m.cfg.Pools.Infos() {
		if p.Valid {
			valid++
		} else {
			invalid++
		}
	}
	if invalid > 0 && valid == 0 {
		return fault.Errorf(fault.PoolUnavailable, "none of the %d pools can be used; elstore pool list says why", invalid)
	}
	return rest.Reply(w, http.StatusOK, map[string]any{"status": "ready", "pools": map[string]int{"valid": valid, "invalid": invalid}})
}
