package v1_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"elstore/api"
	"elstore/api/access"
	"elstore/test/rig"
	"elstore/volume"
)

// The callers of the table, in its order.
var callers = []string{"anonymous", "reader", "owner", "stranger", "orchestrator", "operator"}

// guarded is a server that asks who somebody is, and the same server's API that doesn't, for what a test needs made.
type guarded struct {
	*server
	open     *httptest.Server
	shut     *httptest.Server
	token    map[string]string // by caller; none for anonymous
	identity map[string]string // whom the caller names where a request says who asks
	control  *access.Control
	where    string // the pool that things are made in
}

func newGuarded(t testing.TB) *guarded {
	t.Helper()
	g := &guarded{where: "pool", server: newServer(t, `{}`, func(c *volume.Config) { c.Fetch = newFetcher(t) }), token: map[string]string{}}
	g.open = g.http
	rig.Pool(t, g.root, "other", `{}`)
	if err := g.Pools.Rescan(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.control = access.NewControl(g.tokens, nil)
	g.shut = httptest.NewServer(api.New(api.Config{Log: slog.New(slog.DiscardHandler), Routes: g.routes(), Audit: g.audit, Access: g.control}))
	t.Cleanup(g.shut.Close)
	// For the callers that are not in the table: alice and an orchestrator, each with a token for one pool alone.
	for who, role := range map[string]access.Role{"limited": access.User, "limited orchestrator": access.Orchestrator} {
		n := access.Token{Name: who, Role: role, Pools: []string{"pool"}}
		if role == access.User {
			n.Identity = clientID(t, alice)
		}
		var err error
		if _, g.token[who], err = g.tokens.Create(n); err != nil {
			t.Fatal(err)
		}
	}
	g.identity = map[string]string{"limited": alice, "limited orchestrator": alice, "anonymous": alice, "owner": alice, "stranger": bob, "orchestrator": alice, "operator": alice}
	roles := map[string]access.Role{
		"reader": access.Reader, "owner": access.User, "stranger": access.User, "orchestrator": access.Orchestrator, "operator": access.Operator,
	}
	for who, role := range roles {
		n := access.Token{Name: who, Role: role}
		if role == access.User {
			n.Identity = clientID(t, g.identity[who])
		}
		made, text, err := g.tokens.Create(n)
		if err != nil {
			t.Fatal(err)
		}
		g.token[who] = text
		if role == access.Reader {
			g.identity[who] = made.Identity.String()
		}
	}
	return g
}

func clientID(t testing.TB, text string) volume.Client {
	t.Helper()
	c, err := volume.ParseClient(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// as sends a request to the server that asks, with the caller's token. The answer must be as the document says.
func (g *guarded) as(who, method, path string, body any, headers ...header) answer {
	g.t.Helper()
	g.http = g.shut
	defer func() { g.http = g.open }()
	if token := g.token[who]; token != "" {
		headers = append(slices.Clip(headers), header{"Authorization", "Bearer " + token})
	}
	return g.do(method, path, body, headers...)
}

// opened sends a request whose answer has no end, and returns its status.
func (g *guarded) opened(who, path string) int {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.shut.URL+base+path, http.NoBody)
	if err != nil {
		g.t.Fatal(err)
	}
	if token := g.token[who]; token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// right is a row of the table: a call, and the status that each of callers gets. In its path and body $me is the caller's
// identity, and $volume, $binned, $exported, $migrating, $migration, $job, $seed and $iso are alice's, private, and made for
// each caller anew.
type right struct {
	call    string // as the document has it
	request string // the path with its query; "" is the call's own
	body    string
	headers []header
	want    [6]int
	stream  bool // the answer has no end
}

const (
	formHead = "--b\r\nContent-Disposition: form-data; name=\"json\"\r\n\r\n"
	formFile = "\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"user-data\"\r\n\r\n#cloud-config\nhostname: web\n\r\n--b--\r\n"
	nowhere  = `"url": "http://127.0.0.1:1/x"`
)

var (
	aForm = []header{{"Content-Type", "multipart/form-data; boundary=b"}}

	everybody  = [6]int{401, 200, 200, 200, 200, 200}
	users      = [6]int{401, 403, 200, 200, 200, 200}
	usersFail  = [6]int{401, 403, 400, 400, 400, 400} // for a reason that comes after who asks
	owners     = [6]int{401, 403, 200, 404, 200, 200}
	ownersRead = [6]int{401, 404, 200, 404, 200, 200} // readers are told that it is not there
	everybodys = [6]int{401, 403, 403, 403, 200, 200}
	operators  = [6]int{401, 403, 403, 403, 403, 200}
)

var rights = []right{
	{call: "POST /create", body: `{"creatorID": "$me", "name": "n", "size": 0.001}`, want: users},
	{call: "POST /create/multiple", body: `[{"creatorID": "$me", "name": "n", "size": 0.001}]`, want: users},
	{call: "POST /create/url", body: `{"creatorID": "$me", "name": "n", ` + nowhere + `}`, want: usersFail},
	{call: "POST /create/upload", body: formHead + `{"creatorID": "$me", "name": "n"}` + formFile, headers: aForm, want: users},
	{call: "POST /import", body: `{"creatorID": "$me", "name": "n", ` + nowhere + `}`, want: usersFail},
	{call: "POST /clone", body: `{"volume_id": "$volume", "creatorID": "$me", "name": "n"}`, want: owners},
	{call: "POST /cancreate", body: `{"size": 1}`, want: everybody},
	{call: "GET /cancreate", request: "/cancreate?size=1", want: everybody},
	{call: "POST /cancreate/multiple", body: `[{"size": 1}]`, want: everybody},
	{call: "POST /accessible", body: `{"client_uid": "$me"}`, want: everybody},
	{call: "GET /accessible", request: "/accessible?client_uid=$me", want: everybody},
	{call: "POST /info", body: `{"volume_id": "$volume"}`, want: ownersRead},
	{call: "POST /info", body: `{"volume_id": "$volume", "client_uid": "$me"}`, want: ownersRead},
	{call: "POST /has", body: `{"volume_id": "$volume"}`, want: everybody},
	{call: "POST /update", body: `{"vid": "$volume", "creatorID": "$me", "name": "m"}`, want: owners},
	{call: "POST /update/resize", body: `{"vid": "$volume", "creatorID": "$me", "size": 0.002}`, want: owners},
	{call: "POST /update/convert", body: `{"vid": "$volume", "creatorID": "$me", "format": "raw"}`, want: owners},
	{call: "POST /update/transfer", body: `{"vid": "$volume", "creatorID": "$me", "newCreatorID": "` + bob + `"}`, want: owners},
	{call: "POST /transfer", body: `{"vid": "$volume", "creatorID": "$me", "newCreatorID": "` + bob + `"}`, want: owners},
	{call: "POST /overlay/compact", body: `{"vid": "$volume", "creatorID": "$me"}`, want: owners},
	{call: "POST /ceph/create", body: `{"creatorID": "$me", "name": "n", "size": 0.001, "format": "raw"}`, want: usersFail},
	{call: "POST /ceph/credentials", body: `{"volume_id": "$volume", "client_uid": "$me"}`, want: [6]int{401, 403, 400, 404, 400, 400}},
	{call: "POST /export", body: `{"volume_id": "$volume", "client_uid": "$me"}`, want: owners},
	{call: "POST /unexport", body: `{"volume_id": "$exported", "client_uid": "$me"}`, want: users},
	{call: "GET /exports", want: everybody},
	{call: "POST /exports", body: `{"volume_id": "$exported"}`, want: everybody},
	{call: "GET /exports", request: "/exports?orphans=true", want: everybodys},
	{call: "POST /destroy", body: `{"volume_id": "$volume"}`, want: users},
	{call: "POST /destroy", body: `{"volume_id": "$volume", "purge": true}`, want: users},
	{call: "GET /trash", want: everybody},
	{call: "POST /trash", body: `{}`, want: everybody},
	{call: "POST /trash/restore", body: `{"volume_id": "$binned"}`, want: owners},
	{call: "POST /trash/empty", body: `{}`, want: users},
	{call: "GET /volumes/{vid}/data", request: "/volumes/$volume/data", want: owners},
	{call: "HEAD /volumes/{vid}/data", request: "/volumes/$volume/data", want: owners},
	{call: "PUT /volumes/{vid}/data", request: "/volumes/$volume/data", body: "image", want: owners},
	{call: "DELETE /volumes/{vid}/data", request: "/volumes/$volume/data", want: owners},
	{call: "POST /iso/create", body: `{"creatorID": "$me", "name": "n", "isotype": "tool", "size": 0.001}`, want: users},
	{call: "POST /iso/create/url", body: `{"creatorID": "$me", "name": "n", "isotype": "tool", ` + nowhere + `}`, want: usersFail},
	{call: "POST /iso/create/upload", body: formHead + `{"creatorID": "$me", "name": "n", "isotype": "tool"}` + formFile, headers: aForm, want: usersFail},
	{call: "GET /iso/{vid}/files", request: "/iso/$iso/files", want: owners},
	{call: "GET /iso/{vid}/files/{path}", request: "/iso/$iso/files/user-data", want: owners},
	{call: "POST /cloudinit/create", body: `{"creatorID": "$me", "name": "n", "size": 0.001}`, want: users},
	{
		call: "POST /cloudinit/metadata/{json}", request: "/cloudinit/metadata/$first", body: formFile[2:], headers: aForm,
		want: [6]int{401, 403, 206, 206, 206, 206},
	},
	{call: "POST /cloudinit/render", body: `{"hostname": "web"}`, want: users},
	{call: "POST /cloudinit/render", body: `{"seed": {"hostname": "web"}, "creatorID": "$me", "name": "n"}`, want: users},
	{call: "GET /cloudinit/{vid}", request: "/cloudinit/$seed", want: owners},
	{call: "GET /cloudinit/{vid}/files/{name}", request: "/cloudinit/$seed/files/user-data", want: owners},
	{call: "PUT /cloudinit/{vid}/files/{name}", request: "/cloudinit/$seed/files/vendor-data", body: "#cloud-config\n{}\n", want: owners},
	{call: "DELETE /cloudinit/{vid}/files/{name}", request: "/cloudinit/$seed/files/network-config", want: owners},
	{call: "GET /pools", want: everybody},
	{call: "GET /pools/{name}", request: "/pools/pool", want: everybody},
	{call: "POST /pools/refresh", body: `{}`, want: everybodys},
	{call: "GET /jobs", want: everybody},
	{call: "GET /jobs/{id}", request: "/jobs/$job", want: ownersRead},
	{call: "DELETE /jobs/{id}", request: "/jobs/$job", want: owners},
	{call: "GET /events", stream: true, want: everybody},
	{call: "GET /revisions", want: everybody},
	{call: "GET /revisions/stream", stream: true, want: everybody},
	{call: "GET /version", want: everybody},
	{call: "GET /whoami", want: everybody},
	{call: "GET /openapi.json", want: everybody},
	{call: "GET /openapi.yaml", want: everybody},
	{call: "GET /docs", want: everybody},
	{call: "GET /tokens", want: operators},
	{call: "POST /tokens", body: `{"name": "n", "role": "operator"}`, want: operators},
	{call: "DELETE /tokens/{id}", request: "/tokens/0123456789abcdef", want: operators},
	{call: "GET /audit", want: operators},
}

// migrationRights are the same under two names.
var migrationRights = []right{
	{call: "POST /prepare", body: `{"volume_id": "$exported", "client_uid": "$me", "destination": {"host": "node2"}}`, want: owners},
	{call: "POST /conclude", body: `{"migration_id": "$migration"}`, want: [6]int{401, 403, 412, 404, 412, 412}},
	{call: "POST /conclude", body: `{"volume_id": "$migrating"}`, want: [6]int{401, 403, 412, 404, 412, 412}},
	{call: "POST /revert", body: `{"volume_ids": ["$migrating"]}`, want: owners},
	{call: "POST /resolve", body: `{"migration_id": "$migration", "owner": "source"}`, want: [6]int{401, 403, 403, 403, 403, 409}},
	{call: "GET ", want: everybody},
	{call: "GET /{id}", request: "/$migration", want: ownersRead},
}

func init() {
	for _, under := range []string{"/livemigration", "/migration"} {
		for _, r := range migrationRights {
			method, path, _ := strings.Cut(r.call, " ")
			r.call = method + " " + under + path
			if r.request != "" {
				r.request = under + r.request
			}
			rights = append(rights, r)
		}
	}
}

func base64of(t testing.TB, document any) string {
	t.Helper()
	data, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

var placeholder = regexp.MustCompile(`\$[a-z]+`)

// fill puts in what the placeholders stand for: what is there, or else what nobody ever made.
func (g *guarded) fill(text, me string, there bool, made map[string]string) string {
	g.t.Helper()
	return placeholder.ReplaceAllStringFunc(text, func(name string) string {
		switch name {
		case "$me":
			return me
		case "$first":
			return base64of(g.t, map[string]any{"creatorID": me, "name": "s", "private": true, "expectedFiles": 2})
		}
		if made[name] == "" {
			if there {
				g.make(name, made)
			} else {
				made[name] = volume.NewID().String()
			}
		}
		return made[name]
	})
}

// make makes one of alice's things, and what it needs.
func (g *guarded) make(name string, made map[string]string) {
	g.t.Helper()
	private := func() string { return g.create("secret", 0.001, "private", true, "pool", g.where) }
	switch name {
	case "$volume":
		made[name] = private()
	case "$binned":
		made[name] = private()
		g.post("/destroy", map[string]any{"volume_id": made[name]}).want(200)
	case "$exported":
		made[name] = private()
		g.post("/export", to(made[name], alice)).want(200)
	case "$migrating", "$migration":
		made["$migrating"] = private()
		g.post("/export", to(made["$migrating"], alice)).want(200)
		m := g.post("/livemigration/prepare", map[string]any{"volume_id": made["$migrating"], "client_uid": alice, "destination": map[string]any{"host": "n"}})
		made["$migration"] = m.want(200).object()["migration_id"].(string)
	case "$job":
		a := g.post("/create", map[string]any{"creatorID": alice, "name": "secret", "size": 0.001, "pool": g.where}, header{"Prefer", "respond-async"})
		made[name] = g.wait(a)["id"].(string)
	case "$seed", "$iso":
		made[name] = g.post("/cloudinit/render", map[string]any{
			"creatorID": alice, "name": "secret", "private": true, "pool": g.where, "seed": map[string]any{"hostname": "web", "network": map[string]any{"dhcp": true}},
		}).want(200).object()["vid"].(string)
	default:
		g.t.Fatalf("nothing is %s", name)
	}
}

// ask makes the call of a row as somebody. there says whether what it names is.
func (g *guarded) ask(r *right, who, me string, there bool, made map[string]string) answer {
	g.t.Helper()
	method, path, _ := strings.Cut(r.call, " ")
	if r.request != "" {
		path = r.request
	}
	path = g.fill(path, me, there, made)
	if r.stream {
		return answer{t: g.t, status: g.opened(who, path)}
	}
	var body any
	if r.body != "" {
		text := g.fill(r.body, me, there, made)
		if text == "image" {
			text = strings.Repeat("x", 1000448)
		}
		body = text
	}
	return g.as(who, method, path, body, r.headers...)
}

// TestEveryRouteForEveryRole holds all calls of the document against the table.
func TestEveryRouteForEveryRole(t *testing.T) {
	doc, err := loadSpec()
	if err != nil {
		t.Fatal(err)
	}
	inTable := map[string]bool{}
	for _, r := range rights {
		inTable[r.call] = true
	}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			if call := method + " " + path; !inTable[call] {
				t.Errorf("%s has no row", call)
			}
			delete(inTable, method+" "+path)
		}
	}
	for call := range inTable {
		t.Errorf("%s is in the table and not in the document", call)
	}
	g := newGuarded(t)
	for _, r := range rights {
		t.Run(r.call, func(t *testing.T) {
			g := *g
			g.server = new(*g.server)
			g.t = t
			for i, who := range callers {
				if got := g.ask(&r, who, g.identity[who], true, map[string]string{}); got.status != r.want[i] {
					t.Errorf("%s gets %.300s, want %d", who, got, r.want[i])
				}
			}
		})
	}
}

// TestNobodyElseMayBeNamed: whoever has one identity is refused where a request names another as the one who asks.
func TestNobodyElseMayBeNamed(t *testing.T) {
	g := newGuarded(t)
	tried := 0
	for _, r := range rights {
		if !strings.Contains(r.body+r.request, "$me") {
			continue
		}
		tried++
		for _, who := range []string{"stranger", "reader"} {
			if got := g.ask(&r, who, alice, true, map[string]string{}); got.status != http.StatusForbidden || !strings.Contains(string(got.body), "NotAllowed") {
				t.Errorf("%s as alice, %s: %.300s", who, r.call, got)
			}
		}
	}
	for _, body := range []string{
		`[{"creatorID": "` + bob + `", "name": "n", "size": 0.001}, {"creatorID": "` + alice + `", "name": "n", "size": 0.001}]`,
	} {
		if got := g.as("stranger", http.MethodPost, "/create/multiple", body).want(403, "NotAllowed").object(); got["index"] != 1.0 {
			t.Errorf("%v", got)
		}
	}
	for _, path := range []string{"/exports?client_uid=", "/jobs?client_uid=", "/trash?creatorID=", "/livemigration?client_uid=", "/events?client_uid=", "/volumes/" + alice + "/data?client_uid="} {
		g.as("stranger", http.MethodGet, path+alice, nil).want(403, "NotAllowed")
	}
	g.as("stranger", http.MethodPost, "/livemigration/prepare",
		`{"volume_id": "`+alice+`", "client_uid": "`+bob+`", "destination": {"client_uid": "`+alice+`"}}`).want(403, "NotAllowed")
	if tried < 20 {
		t.Errorf("only %d calls say who asks", tried)
	}
}

// TestAPrivateVolumeIsAsIfItWerentThere: to whom it is not, a private volume, and what is done with it, looks in every
// call just as one that never was.
func TestAPrivateVolumeIsAsIfItWerentThere(t *testing.T) {
	g := newGuarded(t)
	same := regexp.MustCompile(`[0-9a-f]{32}|[0-9a-z]{26}|"\d{4}-[^"]*"`)
	tried := 0
	for _, r := range rights {
		names := placeholder.FindAllString(r.request+r.body, -1)
		names = slices.DeleteFunc(names, func(n string) bool { return n == "$me" || n == "$first" })
		if len(names) == 0 || r.stream {
			continue
		}
		tried++
		for _, who := range []string{"stranger", "reader", "limited", "limited orchestrator"} {
			g.where = "pool"
			if made := map[string]string{}; strings.HasPrefix(who, "limited") {
				if strings.Contains(r.body+r.request, "$job") && who == "limited" {
					continue // a job is its owner's, wherever its volume is
				}
				if got := g.ask(&r, who, alice, true, made); got.status == http.StatusNotFound {
					t.Errorf("%s: a token for the pool doesn't see what is in it: %.200s", r.call, got)
				}
				g.where = "other"
			}
			made := map[string]string{}
			there := g.ask(&r, who, g.identity[who], true, made)
			before := g.secrets(made)
			g.ask(&r, who, g.identity[who], true, made)
			if after := g.secrets(made); after != before {
				t.Errorf("%s by a %s changed\n%s\nto\n%s", r.call, who, before, after)
			}
			missing := g.ask(&r, who, g.identity[who], false, map[string]string{})
			a, b := same.ReplaceAllString(there.String(), "#"), same.ReplaceAllString(missing.String(), "#")
			if a != b {
				t.Errorf("%s: a %s is told of a private one\n%s\nand of none\n%s", r.call, who, a, b)
			}
			for _, h := range []string{"Content-Type", "Volume-Size", "Upload-Offset", "ETag", "Cache-Control", "Location"} {
				if there.header.Get(h) != missing.header.Get(h) {
					t.Errorf("%s: a %s sees it in %s: %q and %q", r.call, who, h, there.header.Get(h), missing.header.Get(h))
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d calls name something", tried)
	}
}

// secrets is how alice's things stand.
func (g *guarded) secrets(made map[string]string) string {
	g.t.Helper()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(made)) {
		switch id := made[name]; name {
		case "$job", "$migration":
		default:
			a := g.post("/info", map[string]any{"volume_id": id})
			fmt.Fprintln(&b, name, a.status, a.object()["name"], a.object()["size"], a.object()["creatorID"], a.object()["exported"], a.object()["locked"])
		}
	}
	return b.String()
}

// TestListsAreOnesOwn: no list tells a user of what is somebody else's.
func TestListsAreOnesOwn(t *testing.T) {
	g := newGuarded(t)
	made := map[string]string{}
	for _, name := range []string{"$volume", "$binned", "$exported", "$migration", "$job", "$seed"} {
		g.make(name, made)
	}
	g.where = "other"
	elsewhere := map[string]string{}
	for name := range made {
		g.make(name, elsewhere)
	}
	for _, path := range []string{"/accessible?client_uid=$me", "/exports", "/trash", "/jobs", "/livemigration", "/migration"} {
		for who, sees := range map[string]bool{"owner": true, "stranger": false, "reader": false, "operator": true, "orchestrator": true} {
			text := string(g.as(who, http.MethodGet, strings.ReplaceAll(path, "$me", g.identity[who]), nil).want(200).body)
			found := slices.ContainsFunc(slices.Collect(maps.Values(made)), func(id string) bool { return strings.Contains(text, id) })
			if found != sees {
				t.Errorf("%s: a %s sees %.300s", path, who, text)
			}
		}
		for _, who := range []string{"limited", "limited orchestrator"} {
			text := string(g.as(who, http.MethodGet, strings.ReplaceAll(path, "$me", alice), nil).want(200).body)
			in := func(ids map[string]string) bool {
				return slices.ContainsFunc(slices.Collect(maps.Values(ids)), func(id string) bool { return strings.Contains(text, id) })
			}
			if !in(made) || in(elsewhere) && (path != "/jobs" || who != "limited") {
				t.Errorf("%s: who is %s to a pool sees %.300s", path, who, text)
			}
		}
	}
}

// TestEventsAreOnesOwn: nor does the stream of events.
func TestEventsAreOnesOwn(t *testing.T) {
	g := newGuarded(t)
	since := fmt.Sprint(g.Events.Subscribe(0).Since)
	made := map[string]string{}
	for _, name := range []string{"$volume", "$exported", "$migration", "$job"} {
		g.make(name, made)
	}
	public := g.create("public", 0.001)
	g.post("/export", to(public, alice)).want(200)
	lent := g.create("lent", 0.001)
	g.as("stranger", http.MethodPost, "/export", to(lent, bob)).want(200)
	end := g.create("end", 0.001, "creatorID", bob)
	seen := map[string]string{}
	for _, who := range []string{"owner", "stranger", "operator"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.shut.URL+base+"/events", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", g.token[who])
		req.Header.Set("Last-Event-ID", since)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		buf := make([]byte, 4096)
		for !strings.Contains(text.String(), end) {
			n, err := resp.Body.Read(buf)
			text.Write(buf[:n])
			if err != nil {
				t.Fatalf("%s: %v after %s", who, err, text.String())
			}
		}
		resp.Body.Close()
		seen[who] = text.String()
	}
	for name, id := range made {
		if strings.Contains(seen["stranger"], id) || !strings.Contains(seen["owner"], id) && name != "$job" || !strings.Contains(seen["operator"], id) {
			t.Errorf("%s is told to the wrong ones", name)
		}
	}
	for _, who := range []string{"owner", "operator"} {
		if !strings.Contains(seen[who], "event: export.began") || !strings.Contains(seen[who], "event: migration.changed") {
			t.Errorf("%s is not told of exports or migrations:\n%s", who, seen[who])
		}
	}
	if strings.Count(seen["stranger"], "event: export.began") != 1 || !strings.Contains(seen["stranger"], public) {
		t.Errorf("a stranger is told\n%s", seen["stranger"])
	}
	if id := "\"client_uid\":\"" + bob; !strings.Contains(seen["owner"], id) {
		t.Errorf("the owner is not told who has the volume:\n%s", seen["owner"])
	}
}

// TestKeysAreOnesOwn: the answer to one caller's Idempotency-Key is no other's.
func TestKeysAreOnesOwn(t *testing.T) {
	g := newGuarded(t)
	made := map[string]string{}
	g.make("$seed", made)
	render := `{"seed": {"hostname": "web"}, "name": "n", "creatorID": "%s"}`
	key := header{"Idempotency-Key", "same"}
	one := g.as("owner", http.MethodPost, "/cloudinit/render", fmt.Sprintf(render, alice), key).want(200).object()["vid"]
	two := g.as("stranger", http.MethodPost, "/cloudinit/render", fmt.Sprintf(render, bob), key).want(200).object()["vid"]
	again := g.as("owner", http.MethodPost, "/cloudinit/render", fmt.Sprintf(render, alice), key).want(200).object()["vid"]
	if one == two || one != again {
		t.Errorf("%v, %v and %v", one, two, again)
	}
	g.as("owner", http.MethodPost, "/trash/empty", `{}`, header{"Idempotency-Key", "empty"}).want(200)
	g.as("stranger", http.MethodPost, "/trash/empty", `{}`, header{"Idempotency-Key", "empty"}).want(200)
}

// TestTokensThroughTheAPI: made, used, listed without its secret, revoked, and each of that in the audit log.
func TestTokensThroughTheAPI(t *testing.T) {
	g := newGuarded(t)
	made := g.as("operator", http.MethodPost, "/tokens", map[string]any{"name": "ci\r\nforged", "role": "user"})
	made.want(400, "BadRequest")
	made = g.as("operator", http.MethodPost, "/tokens", map[string]any{
		"name": "ci", "role": "user", "expires": "2100-01-01T00:00:00Z", "paths": []string{"/whoami", "/create"}, "requests_per_second": 1000,
	}).want(200)
	if made.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", made.header)
	}
	text, id := made.object()["token"].(string), made.object()["id"].(string)
	g.token["ci"] = text
	me := g.as("ci", http.MethodGet, "/whoami", nil).want(200).object()
	if me["identity"] != made.object()["identity"] || me["role"] != "user" || me["access_control"] != true || me["token_id"] != id {
		t.Errorf("%v is told that it is %v", made, me)
	}
	vid := g.as("ci", http.MethodPost, "/create", map[string]any{"creatorID": me["identity"], "name": "n", "size": 0.001}).want(200).object()["vid"]
	g.as("ci", http.MethodPost, "/info", map[string]any{"volume_id": vid}).want(403, "NotAllowed")
	if list := g.as("operator", http.MethodGet, "/tokens", nil).want(200); strings.Contains(string(list.body), text) || !strings.Contains(string(list.body), id) {
		t.Errorf("%s", list)
	}
	for range 2 {
		g.as("operator", http.MethodDelete, "/tokens/"+id, nil).want(200)
	}
	if a := g.as("ci", http.MethodGet, "/whoami", nil).want(401, "Unauthorized"); a.header.Get("WWW-Authenticate") != `Bearer realm="elstore", error="invalid_token"` {
		t.Errorf("%v", a.header)
	}
	log := g.as("operator", http.MethodGet, "/audit?limit=20", nil).want(200)
	var got []string
	for _, e := range log.list() {
		got = append(got, fmt.Sprint(e["who"], " ", e["method"], " ", e["route"], " ", e["about"], " ", e["status"], " ", e["code"]))
	}
	want := []string{
		" GET /api/v1.0/whoami <nil> 401 Unauthorized",
		"operator DELETE /tokens/{id} [" + id + "] 200 <nil>",
		"operator DELETE /tokens/{id} [" + id + "] 200 <nil>",
		"ci POST /info <nil> 403 NotAllowed",
		fmt.Sprintf("ci POST /create [%s] 200 <nil>", vid),
		"operator POST /tokens [" + id + "] 200 <nil>",
		"operator POST /tokens <nil> 400 BadRequest",
	}
	if !slices.Equal(got, want) {
		t.Errorf("the audit log has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(string(log.body), text) {
		t.Errorf("the token is in the audit log: %s", log)
	}
	if list := g.as("operator", http.MethodGet, "/audit?refused=true&who="+id, nil).want(200).list(); len(list) != 1 || list[0]["route"] != "/info" {
		t.Errorf("%v", list)
	}
	for _, q := range []string{"limit=0", "limit=10001", "since=now", "refused=maybe"} {
		g.as("operator", http.MethodGet, "/audit?"+q, nil).want(400, "BadRequest")
	}
}

// TestPathTricks: no spelling of a path leads around the table.
func TestPathTricks(t *testing.T) {
	g := newGuarded(t)
	for _, path := range []string{
		"/api/v1/tokens", "/api/v1/tokens/", "/api/v1.0/tokens/", "/api/v1.0//tokens", "//api/v1.0/tokens", "/api/v1.0/./tokens", "/api/v1.0/x/../tokens",
		"/api/v1.0/%74okens", "/api/v1.0/tokens%2f", "/api/v1.0/tokens%00", "/api/v1.0/tokens;a=b", "/api/v1.0/TOKENS", "/api/v1.0/openapi.json/../tokens",
		"/api/v1.0/version%2f..%2ftokens", "/%2e%2e/api/v1.0/tokens", "/api/v1.0\\tokens", "/healthz/../api/v1.0/tokens", "/api/v1.0/tokens?x=/healthz",
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, "get", "PROPFIND"} {
			req, err := http.NewRequestWithContext(t.Context(), method, g.shut.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.URL.Opaque = "//" + req.URL.Host + path
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode < 400 || strings.Contains(string(body), "sha256") {
				t.Errorf("%s %s: %d %s", method, path, resp.StatusCode, body)
			}
		}
	}
}

// TestTokensForSomePools: what their bearers make is placed in those pools, and no other can be named.
func TestTokensForSomePools(t *testing.T) {
	g := newGuarded(t)
	both, _, err := g.tokens.Create(access.Token{Name: "both", Role: access.User, Pools: []string{"pool", "other"}})
	if err != nil || both.Pools == nil {
		t.Fatal(err)
	}
	for _, who := range []string{"limited", "limited orchestrator"} {
		create := func(pool string) answer {
			return g.as(who, http.MethodPost, "/create", map[string]any{"creatorID": alice, "name": "n", "size": 0.001, "pool": pool})
		}
		for range 4 {
			if got := create("").want(200).object(); got["pool"] != "pool" {
				t.Errorf("%v", got)
			}
		}
		if a, b := create("other").want(404, "PoolNotFound"), create("none").want(404, "PoolNotFound"); strings.ReplaceAll(string(a.body), "other", "none") != string(b.body) {
			t.Errorf("%s and %s", a, b)
		}
		g.as(who, http.MethodPost, "/create/multiple", []any{
			map[string]any{"creatorID": alice, "name": "n", "size": 0.001}, map[string]any{"creatorID": alice, "name": "n", "size": 0.001, "pool": "other"},
		}).want(404, "PoolNotFound")
		if got := g.as(who, http.MethodPost, "/cancreate", map[string]any{"size": 0.001}).want(200); strings.TrimSpace(string(got.body)) != "1" {
			t.Errorf("%s pools could take it", got)
		}
		if got := g.as(who, http.MethodGet, "/pools", nil).want(200).list(); len(got) != 1 || got[0]["name"] != "pool" {
			t.Errorf("%v", got)
		}
		g.as(who, http.MethodGet, "/pools/other", nil).want(404, "PoolNotFound")
		large := g.as(who, http.MethodPost, "/create", map[string]any{"creatorID": alice, "name": "n", "size": 1e6, "preallocation": "full"})
		if large.status != http.StatusInsufficientStorage || strings.Contains(string(large.body), "other") {
			t.Errorf("%s", large)
		}
	}
	g.as("limited", http.MethodPost, "/trash/empty", `{"pool": "other"}`).want(404, "PoolNotFound")
	g.as("limited orchestrator", http.MethodPost, "/pools/refresh", `{"name": "other"}`).want(404, "PoolNotFound")
	g.as("limited orchestrator", http.MethodPost, "/pools/refresh", `{}`).want(403, "NotAllowed")
	g.as("limited orchestrator", http.MethodPost, "/pools/refresh", `{"name": "pool"}`).want(200)
}
