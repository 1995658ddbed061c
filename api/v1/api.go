package v1

import (
	"context"
	"net/http"

	"elstore/api/access"
	"elstore/api/audit"
	"elstore/api/rest"
	"elstore/cloudinit"
	"elstore/export"
	"elstore/iso"
	"elstore/livemigration"
	"elstore/pool"
	"elstore/volume"
)

// PoolLister knows the pools. pool.Set satisfies it.
type PoolLister interface {
	// Infos describes all pools, valid or not, in the order of their names.
	Infos() []pool.Info
	// NotPools returns the directories that look like pools and are none, and why.
	NotPools() []pool.NotPool
	// Rescan looks for pools that came, went or changed, and returns when that is done.
	Rescan(ctx context.Context) error
}

var _ PoolLister = (*pool.Set)(nil)

// Config is what the API stands on. All of it is required but Version.
type Config struct {
	Volumes *volume.Service
	Pools   PoolLister
	Jobs    *volume.Jobs
	Events  *volume.Events
	Keys    *volume.Keys
	Exports *export.Service
	ISO     *iso.Service
	Seeds   *cloudinit.Service

	Migrations *livemigration.Service

	Tokens *access.Tokens
	Audit  *audit.Log

	Version string // of the server, as GET /version tells it
}

// API answers the calls. Its handlers may run at the same time.
type API struct{ cfg Config }

// New returns the API.
func New(cfg Config) *API { return &API{cfg} }

// base is where links in answers lead.
const base = "/api/v1.0"

// Routes returns all calls with their paths below the API's base.
func (a *API) Routes() []rest.Route {
	var (
		get    = []string{http.MethodGet}
		head   = []string{http.MethodHead}
		post   = []string{http.MethodPost}
		either = []string{http.MethodGet, http.MethodPost}
		put    = []string{http.MethodPut}
		del    = []string{http.MethodDelete}
	)
	return append([]rest.Route{
		{Methods: post, Path: "/create", Handler: changes(a, a.create)},
		{Methods: post, Path: "/create/multiple", Handler: changes(a, a.createMany)},
		{Methods: post, Path: "/create/url", Handler: changes(a, a.createURL)},
		{Methods: post, Path: "/create/upload", Handler: a.createUpload},
		{Methods: post, Path: "/import", Handler: changes(a, a.importImage)},
		{Methods: post, Path: "/clone", Handler: changes(a, a.clone)},
		{Methods: either, Path: "/cancreate", Handler: a.canCreate},
		{Methods: post, Path: "/cancreate/multiple", Handler: a.canCreateMany},

		{Methods: either, Path: "/accessible", Handler: a.accessible},
		{Methods: post, Path: "/info", Handler: a.info},
		{Methods: post, Path: "/has", Handler: a.has},

		{Methods: post, Path: "/update", Handler: changes(a, a.update)},
		{Methods: post, Path: "/update/resize", Handler: changes(a, a.resize)},
		{Methods: post, Path: "/update/convert", Handler: changes(a, a.convert)},
		{Methods: post, Path: "/update/transfer", Handler: changes(a, a.transfer)},
		{Methods: post, Path: "/transfer", Handler: changes(a, a.transfer)},
		{Methods: post, Path: "/overlay/compact", Handler: changes(a, a.compact)},

		{Methods: post, Path: "/ceph/create", Handler: changes(a, a.createOnCeph)},
		{Methods: post, Path: "/ceph/credentials", Handler: a.credentials},

		{Methods: post, Path: "/destroy", Handler: changes(a, a.destroy)},
		{Methods: either, Path: "/trash", Handler: a.trash},
		{Methods: post, Path: "/trash/restore", Handler: changes(a, a.restore)},
		{Methods: post, Path: "/trash/empty", Handler: changes(a, a.emptyTrash)},

		{Methods: post, Path: "/export", Handler: a.export},
		{Methods: post, Path: "/unexport", Handler: changes(a, a.unexport)},
		{Methods: either, Path: "/exports", Handler: a.exports},

		{Methods: get, Path: "/volumes/{vid}/data", Handler: a.download},
		{Methods: head, Path: "/volumes/{vid}/data", Handler: a.dataHead},
		{Methods: put, Path: "/volumes/{vid}/data", Handler: a.upload},
		{Methods: del, Path: "/volumes/{vid}/data", Handler: a.dropUpload},

		{Methods: post, Path: "/iso/create", Handler: changes(a, a.createISO)},
		{Methods: post, Path: "/iso/create/url", Handler: changes(a, a.createISOURL)},
		{Methods: post, Path: "/iso/create/upload", Handler: a.createISOUpload},
		{Methods: get, Path: "/iso/{vid}/files", Handler: a.isoFiles},
		{Methods: get, Path: "/iso/{vid}/files/{path...}", Handler: a.isoFiles},

		{Methods: post, Path: "/cloudinit/create", Handler: changes(a, a.createMachine)},
		{Methods: post, Path: "/cloudinit/metadata/{json...}", Handler: a.addSeedFile},
		{Methods: post, Path: "/cloudinit/render", Handler: changes(a, a.renderSeed)},
		{Methods: get, Path: "/cloudinit/{vid}", Handler: a.seed},
		{Methods: get, Path: "/cloudinit/{vid}/files/{name}", Handler: a.seedFile},
		{Methods: put, Path: "/cloudinit/{vid}/files/{name}", Handler: a.putSeedFile},
		{Methods: del, Path: "/cloudinit/{vid}/files/{name}", Handler: a.deleteSeedFile},

		{Methods: get, Path: "/pools", Handler: a.pools},
		{Methods: get, Path: "/pools/{name}", Handler: a.pool},
		{Methods: post, Path: "/pools/refresh", Handler: changes(a, a.refresh)},

		{Methods: get, Path: "/jobs", Handler: a.jobs},
		{Methods: get, Path: "/jobs/{id}", Handler: a.job},
		{Methods: del, Path: "/jobs/{id}", Handler: a.cancelJob},

		{Methods: get, Path: "/events", Handler: a.events},
		{Methods: get, Path: "/revisions", Handler: a.revision},
		{Methods: get, Path: "/revisions/stream", Handler: a.revisions},

		{Methods: get, Path: "/whoami", Handler: a.whoami},
		{Methods: get, Path: "/tokens", Handler: a.tokens},
		{Methods: post, Path: "/tokens", Handler: a.createToken},
		{Methods: del, Path: "/tokens/{id}", Handler: a.revokeToken},
		{Methods: get, Path: "/audit", Handler: a.audit},

		{Methods: get, Path: "/version", Handler: a.version},
		{Methods: get, Path: "/openapi.json", Handler: openapiJSON},
		{Methods: get, Path: "/openapi.yaml", Handler: openapiYAML},
		{Methods: get, Path: "/docs", Handler: docs},
	}, a.migrationRoutes()...)
}
