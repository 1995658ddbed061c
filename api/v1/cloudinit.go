package v1

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"elstore/api/rest"
	"elstore/cloudinit"
	"elstore/volume"
	"elstore/volume/fault"
)

// machineRequest is the wish for a volume that a machine boots from, made of a cloud image.
type machineRequest struct {
	newRequest
	source
	Overlay bool            `json:"overlay"`
	Seed    json.RawMessage `json:"seed" secret:"true"` // the short form of a seed, which is made with it
}

// place is where the image is: a URL, or the path in one of the scheme file, which names a file under the directories that the
// configuration allows (RFC 8089).
func (r *machineRequest) place() (address, path string, err error) {
	if !strings.HasPrefix(strings.ToLower(r.URL), "file:") {
		return r.URL, "", nil
	}
	u, err := url.Parse(r.URL)
	if err != nil || u.Host != "" && u.Host != "localhost" || u.Path == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fault.Errorf(fault.CloudInitCreateImageDownloadfailed, "url %.200q is not allowed: use http, https, or file:// and an absolute path", r.URL)
	}
	return "", u.Path, nil
}

// createMachine makes a volume of a cloud image, bootable unless it is shareable, and its seed if the request has one.
func (a *API) createMachine(_ context.Context, req machineRequest) (work, error) {
	switch {
	case req.Size == nil && req.URL == "":
		return work{}, missing("url")
	case req.URL == "" && (req.Checksum != nil || req.SourceFormat != "" || req.Overlay):
		return work{}, fault.Errorf(fault.BadRequest, "checksum, source_format and overlay are for an image; url is missing")
	}
	if req.Overlay && req.Format == nil {
		req.Format = new(volume.QCOW2)
	}
	wanted := importRequest{newRequest: req.newRequest, source: req.source, Overlay: req.Overlay}
	n, src, err := wanted.plan()
	if err != nil {
		return work{}, err
	}
	n.Meta.Bootable = !n.Meta.Shareable
	src.Overlay = req.Overlay
	if src.URL, src.Path, err = req.place(); err != nil {
		return work{}, err
	}
	makes := 1
	var files cloudinit.Files
	if req.Seed != nil {
		makes = 2
		form, err := cloudinit.ParseShort(req.Seed)
		if err != nil {
			return work{}, err
		}
		if files, err = form.Render(); err != nil {
			return work{}, err
		}
	}
	return work{kind: "create", owner: &req.Creator, makes: makes, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID = made[0]
		v, err := a.cfg.Seeds.Machine(ctx, n, src, p)
		if err != nil {
			return nil, err
		}
		answer := wanted.answer(&v)
		if files == nil {
			return answer, nil
		}
		st, err := a.cfg.Seeds.Make(ctx, cloudinit.New{
			ID: made[1], Creator: req.Creator, Name: seedName(req.Name), Private: req.Private, Clonable: n.Meta.Clonable, Alg: n.Meta.Alg, Pool: v.Pool,
		}, files)
		if err != nil { // all or nothing
			_ = a.cfg.Volumes.Destroy(context.WithoutCancel(ctx), v.ID, nil, true)
			return nil, err
		}
		answer["seed"] = st.Volume.ID
		return answer, nil
	}}, nil
}

// seedName is the name of the seed of a machine's volume.
func seedName(name string) string {
	const end = "-seed"
	return name[:min(len(name), volume.MaxName-len(end))] + end
}

// renderRequest is a short form, and what is to become of it.
type renderRequest struct {
	Creator  *volume.Client             `json:"creatorID" caller:"match"`
	Name     string                     `json:"name"`
	Private  bool                       `json:"private"`
	Clonable *bool                      `json:"clonable"`
	Alg      *volume.Alg                `json:"alg"`
	Pool     string                     `json:"pool"`
	DryRun   bool                       `json:"dry_run"`
	Seed     json.RawMessage            `json:"seed" secret:"true"`
	Form     map[string]json.RawMessage `rest:"extra"`
}

// renderSeed makes the files of a short form, whose keys stand in the request itself or in seed. With creatorID and name it makes a volume
// of them.
func (a *API) renderSeed(_ context.Context, req renderRequest) (work, error) {
	form, err := req.form()
	if err != nil {
		return work{}, err
	}
	files, err := form.Render()
	if err != nil {
		return work{}, err
	}
	if req.Name == "" && req.Creator == nil || req.DryRun {
		return work{answer: map[string]any{"files": asText(files), "dry_run": req.DryRun}}, nil
	}
	if req.Creator == nil {
		return work{}, missing("creatorID")
	}
	if req.Name == "" {
		return work{}, missing("name")
	}
	return work{kind: "create", owner: req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, _ volume.Progress) (any, error) {
		st, err := a.cfg.Seeds.Make(ctx, cloudinit.New{
			ID: made[0], Creator: *req.Creator, Name: req.Name, Private: req.Private, Clonable: or(req.Clonable, true), Alg: or(req.Alg, volume.Copy), Pool: req.Pool,
		}, files)
		if err != nil {
			return nil, err
		}
		// Without the files: jobs and keys remember what they answered, and there may be secrets in them.
		return map[string]any{"dry_run": false, "vid": st.Volume.ID, "pool": st.Volume.Pool, "creatorID": req.Creator, "name": req.Name}, nil
	}}, nil
}

// form reads the short form from where it stands.
func (r *renderRequest) form() (*cloudinit.Short, error) {
	switch {
	case r.Seed != nil && len(r.Form) > 0:
		return nil, fault.Errorf(fault.BadRequest, "the keys of the short form stand in seed or beside it, not in both: %.64q", slices.Sorted(maps.Keys(r.Form))[0])
	case r.Seed != nil:
		return cloudinit.ParseShort(r.Seed)
	}
	data, err := json.Marshal(r.Form)
	if err != nil {
		return nil, err
	}
	return cloudinit.ParseShort(data)
}

func asText(files cloudinit.Files) map[string]string {
	text := make(map[string]string, len(files))
	for name, data := range files {
		text[name] = string(data)
	}
	return text
}

// seedState is what is told of a seed.
type seedState struct {
	ID       volume.ID      `json:"vid"`
	Expected int            `json:"expectedFiles"`
	Missing  int            `json:"missing"` // files that are still to come
	Complete bool           `json:"complete"`
	Instance *string        `json:"instance_id"` // null until the seed is complete
	Size     int64          `json:"size"`        // of the image in bytes
	Exports  []string       `json:"exports"`
	Files    []seedFileInfo `json:"files"`
}

type seedFileInfo struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	SHA256 string `json:"sha256"`
}

func stateOf(st *cloudinit.State) seedState {
	s := seedState{
		ID: st.Volume.ID, Expected: st.Expected, Complete: st.Complete, Size: st.Volume.Meta.Size, Exports: st.Volume.Exports, Files: []seedFileInfo{},
	}
	if s.Exports == nil {
		s.Exports = []string{}
	}
	if st.Complete {
		s.Instance = &st.Instance
	} else {
		s.Missing = st.Expected - len(st.Files)
	}
	for _, name := range slices.Sorted(maps.Keys(st.Files)) {
		sum := sha256.Sum256(st.Files[name])
		s.Files = append(s.Files, seedFileInfo{name, len(st.Files[name]), hex.EncodeToString(sum[:])})
	}
	return s
}

func (a *API) seed(w http.ResponseWriter, r *http.Request) error {
	st, _, err := a.seedOf(r)
	if err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, stateOf(&st))
}

// seedOf is the seed that a path names, for who the query says asks.
func (a *API) seedOf(r *http.Request) (cloudinit.State, asker, error) {
	id, q, err := seedQuery(r)
	if err != nil {
		return cloudinit.State{}, q, err
	}
	st, err := a.cfg.Seeds.Show(r.Context(), id, q.Who)
	return st, q, err
}

func seedQuery(r *http.Request) (volume.ID, asker, error) {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return id, asker{}, err
	}
	q, err := rest.DecodeQuery[asker](r)
	return id, q, err
}

// seedFile sends a file of a seed as it came.
func (a *API) seedFile(w http.ResponseWriter, r *http.Request) error {
	st, _, err := a.seedOf(r)
	if err != nil {
		return err
	}
	data, there := st.Files[r.PathValue("name")]
	if !there {
		return fault.Errorf(fault.NoSuchPath, "the seed has no file %.200q", r.PathValue("name"))
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-store")
	_, err = w.Write(data)
	return err
}

// putSeedFile changes a file of a seed, or adds one.
func (a *API) putSeedFile(w http.ResponseWriter, r *http.Request) error {
	id, q, err := seedQuery(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	data, err := readSeedFile(r.Body)
	if err != nil {
		return err
	}
	if err := a.cfg.Seeds.Check(r.Context(), name, data); err != nil { // here, since a job's error is shown to whoever lists jobs
		return err
	}
	return a.changeSeed(w, r, id, q, func(ctx context.Context) (cloudinit.State, error) { return a.cfg.Seeds.Put(ctx, id, q.Who, name, data) })
}

func (a *API) deleteSeedFile(w http.ResponseWriter, r *http.Request) error {
	id, q, err := seedQuery(r)
	if err != nil {
		return err
	}
	name := r.PathValue("name")
	return a.changeSeed(w, r, id, q, func(ctx context.Context) (cloudinit.State, error) { return a.cfg.Seeds.Delete(ctx, id, q.Who, name) })
}

// changeSeed runs a change to its end, also when the client hangs up, and answers with the seed's state.
func (a *API) changeSeed(w http.ResponseWriter, r *http.Request, id volume.ID, q asker, change func(ctx context.Context) (cloudinit.State, error)) error {
	todo := work{kind: "cloudinit", owner: q.Who, volumes: []volume.ID{id}, run: func(ctx context.Context, _ []volume.ID, _ volume.Progress) (any, error) {
		st, err := change(ctx)
		if err != nil {
			return nil, err
		}
		return stateOf(&st), nil
	}}
	answer, err := a.do(r.Context(), todo, false, nil)
	if err != nil {
		return err
	}
	return a.reply(w, r, answer)
}

// readSeedFile reads a file within the bound of a seed.
func readSeedFile(r io.Reader) ([]byte, error) {
	if r == nil {
		return nil, nil
	}
	data, err := io.ReadAll(io.LimitReader(r, cloudinit.MaxBytes+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.BadRequest, "the file did not arrive whole", err)
	case len(data) > cloudinit.MaxBytes:
		return nil, cloudinit.TooLarge()
	}
	return data, nil
}
