package api

import (
	"net/http"
	"strings"

	"elstore/api/access"
)

// rule is who may call routes, and whether the audit log tells of it.
type rule struct {
	least   access.Role
	audited bool
	routes  string // methods and a path below the API's base, one route a line
}

// policy says for every route which role it takes. What stands nowhere here is an operator's, and audited: a test sees
// to it that no route of ours stands nowhere. Which volumes and names a caller may use at all is for the handlers to
// say (see access.Caller).
var policy = []rule{
	{access.Anonymous, false, `
		GET /
		GET /healthz
		GET /readyz
	`},
	{access.Reader, false, `
		GET /version
		GET /whoami
		GET /metrics
		GET /openapi.json
		GET /openapi.yaml
		GET /docs
		GET,POST /accessible
		POST /info
		POST /has
		GET,POST /cancreate
		POST /cancreate/multiple
		GET,POST /trash
		GET,POST /exports
		GET /pools
		GET /pools/{name}
		GET /jobs
		GET /jobs/{id}
		GET /events
		GET /revisions
		GET /revisions/stream
		GET /livemigration
		GET /livemigration/{id}
		GET /migration
		GET /migration/{id}
	`},
	{access.User, false, `
		GET,HEAD /volumes/{vid}/data
		GET /iso/{vid}/files
		GET /iso/{vid}/files/{path...}
		GET /cloudinit/{vid}
		GET /cloudinit/{vid}/files/{name}
	`},
	{access.User, true, `
		POST /create
		POST /create/multiple
		POST /create/url
		POST /create/upload
		POST /import
		POST /clone
		POST /update
		POST /update/resize
		POST /update/convert
		POST /update/transfer
		POST /transfer
		POST /overlay/compact
		POST /ceph/create
		POST /ceph/credentials
		POST /destroy
		POST /trash/restore
		POST /trash/empty
		POST /export
		POST /unexport
		PUT,DELETE /volumes/{vid}/data
		POST /iso/create
		POST /iso/create/url
		POST /iso/create/upload
		POST /cloudinit/create
		POST /cloudinit/metadata/{json...}
		POST /cloudinit/render
		PUT,DELETE /cloudinit/{vid}/files/{name}
		DELETE /jobs/{id}
		POST /livemigration/prepare
		POST /livemigration/conclude
		POST /livemigration/revert
		POST /migration/prepare
		POST /migration/conclude
		POST /migration/revert
	`},
	{access.Orchestrator, true, `
		POST /pools/refresh
	`},
	{access.Operator, false, `
		GET /tokens
		GET /audit
	`},
	{access.Operator, true, `
		POST /livemigration/resolve
		POST /migration/resolve
		POST /tokens
		DELETE /tokens/{id}
	`},
}

// verdict is what policy says of one route.
type verdict struct {
	least   access.Role
	audited bool
}

// verdicts is policy by method and path. HEAD is as GET where it doesn't stand for itself.
var verdicts = func() map[string]verdict {
	all := map[string]verdict{}
	for _, r := range policy {
		for line := range strings.Lines(r.routes) {
			methods, path, ok := strings.Cut(strings.TrimSpace(line), " ")
			if !ok {
				continue
			}
			for method := range strings.SplitSeq(methods, ",") {
				all[method+" "+path] = verdict{r.least, r.audited}
			}
		}
	}
	return all
}()

// verdictOf returns what policy says of a route, and whether it stands there.
func verdictOf(method, pattern string) (verdict, bool) {
	v, known := verdicts[method+" "+pattern]
	if !known && method == http.MethodHead {
		v, known = verdicts[http.MethodGet+" "+pattern]
	}
	if !known {
		v = verdict{access.Operator, true}
	}
	return v, known
}
