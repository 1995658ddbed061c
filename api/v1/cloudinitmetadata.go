package v1

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"elstore/api/rest"
	"elstore/cloudinit"
	"elstore/volume"
	"elstore/volume/fault"
)

// seedRequest is the JSON that a seed's file comes with: on the first call what volume is to be made, on those that follow its vid.
type seedRequest struct {
	ID       *volume.ID                 `json:"vid" alias:"volume_id,volumeID"`
	Creator  *volume.Client             `json:"creatorID" caller:"fill"`
	Name     *string                    `json:"name"`
	Private  bool                       `json:"private"`
	Bootable bool                       `json:"bootable"`
	Clonable *bool                      `json:"clonable"`
	Alg      *volume.Alg                `json:"alg"`
	Pool     string                     `json:"pool"`
	Expected *count                     `json:"expectedFiles"`
	Unknown  map[string]json.RawMessage `rest:"extra"`
}

// count is a number of files, which old clients write as text too.
type count int

// Allowed says in an error message what numbers there are.
func (count) Allowed() string { return "a whole number from 2 to 64" }

// UnmarshalJSON accepts a number or its text.
func (c *count) UnmarshalJSON(data []byte) error {
	var n int
	if err := json.Unmarshal(bytes.Trim(data, `"`), &n); err != nil {
		return fault.Errorf(fault.BadRequest, "expectedFiles %.64s is not allowed: use %s", data, c.Allowed())
	}
	*c = count(n)
	return nil
}

// addSeedFile takes in one of a seed's files: 206 while more are missing, 200 with the last.
func (a *API) addSeedFile(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	document, err := decodeDocument(r.PathValue("json"))
	if err != nil {
		return err
	}
	req, err := rest.Decode[seedRequest]((&http.Request{Method: r.Method, URL: r.URL, Body: io.NopCloser(bytes.NewReader(document))}).WithContext(r.Context()))
	if err != nil {
		return err
	}
	if err := req.check(); err != nil {
		return err
	}
	name, data, err := readSeedForm(r)
	if err != nil {
		return err
	}
	if err := a.cfg.Seeds.Check(r.Context(), name, data); err != nil {
		return err
	}
	key.standsFor(document, []byte(name), data)
	answer, err := key.once(r.Context(), a.cfg.Keys, "cloudinit", func(ctx context.Context, id func(int) volume.ID) (volume.Answer, error) {
		var st cloudinit.State // valid when the job has ended
		todo := work{kind: "cloudinit", owner: req.Creator, run: func(ctx context.Context, made []volume.ID, _ volume.Progress) (any, error) {
			var err error
			if st, err = a.takeSeedFile(ctx, &req, made, name, data); err != nil {
				return nil, err
			}
			return req.answer(&st), nil
		}}
		if req.ID != nil {
			todo.volumes = []volume.ID{*req.ID}
		} else {
			todo.makes = 1
		}
		answer, err := a.do(ctx, todo, false, id)
		if err == nil && !st.Complete {
			answer.Status = http.StatusPartialContent
		}
		return answer, err
	})
	if err != nil {
		return err
	}
	return a.reply(w, r, answer)
}

func (a *API) takeSeedFile(ctx context.Context, req *seedRequest, made []volume.ID, name string, data []byte) (cloudinit.State, error) {
	if req.ID != nil {
		return a.cfg.Seeds.Add(ctx, *req.ID, req.Creator, name, data)
	}
	return a.cfg.Seeds.Begin(ctx, cloudinit.New{
		ID: made[0], Creator: *req.Creator, Name: *req.Name, Private: req.Private, Bootable: req.Bootable, Clonable: or(req.Clonable, true),
		Alg: or(req.Alg, volume.Copy), Pool: req.Pool, Extra: kept(req.Unknown, rates{}),
	}, int(*req.Expected), name, data)
}

// check refuses a first call that lacks what a volume needs.
func (r *seedRequest) check() error {
	switch {
	case r.ID != nil:
		return nil
	case r.Creator == nil:
		return missing("creatorID")
	case r.Name == nil:
		return missing("name")
	case r.Expected == nil:
		return missing("expectedFiles")
	}
	if err := volume.CheckName(*r.Name); err != nil {
		return err
	}
	return cloudinit.CheckExpected(int(*r.Expected))
}

// answer is the seed's state, and on the first call what was asked for.
func (r *seedRequest) answer(st *cloudinit.State) map[string]any {
	s := stateOf(st)
	answer := map[string]any{"vid": s.ID, "expectedFiles": s.Expected, "missing": s.Missing, "complete": s.Complete, "files": s.Files}
	if r.ID == nil {
		m := st.Volume.Meta
		maps.Copy(answer, map[string]any{
			"creatorID": m.Creator, "name": m.Name, "private": m.Private, "bootable": m.Bootable, "clonable": m.Clonable, "alg": m.Alg, "pool": st.Volume.Pool,
		})
	}
	return answer
}

// decodeDocument reads base64 as it stands in a path: of either alphabet, padded or not, percent-encoded or not, and perhaps with the
// slash that may end every path.
func decodeDocument(raw string) ([]byte, error) {
	plain, err := url.PathUnescape(raw)
	if err != nil {
		return nil, badDocument()
	}
	for _, text := range []string{plain, strings.TrimSuffix(plain, "/")} {
		text = strings.NewReplacer("-", "+", "_", "/", " ", "+").Replace(strings.TrimRight(text, "="))
		data, err := base64.RawStdEncoding.DecodeString(text)
		if err == nil && json.Valid(data) {
			return data, nil
		}
	}
	return nil, badDocument()
}

func badDocument() error {
	return fault.Errorf(fault.BadRequest, "the path does not end with the base64 of a JSON object, such as that of creatorID, name and expectedFiles, or of vid")
}

// readSeedForm reads the field "file" of a multipart form, and the name that the file has there, as it is written: Part.FileName would
// strip directories, and take ../../evil for evil.
func readSeedForm(r *http.Request) (name string, data []byte, err error) {
	if kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil && kind == "multipart/form-data" && params["boundary"] == "" {
		return "", nil, fault.Errorf(fault.BadRequest, "the multipart form has no boundary in its Content-Type")
	}
	form, err := r.MultipartReader()
	if errors.Is(err, http.ErrNotMultipart) {
		return "", nil, missing("file")
	}
	if err != nil {
		return "", nil, badForm(err)
	}
	for range maxFields {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil, missing("file")
		case err != nil:
			return "", nil, badForm(err)
		case part.FormName() != "file":
			continue
		}
		_, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil || params["filename"] == "" {
			return "", nil, fault.Errorf(fault.BadRequest, "the form's field file has no file name")
		}
		data, err := readSeedFile(part)
		return params["filename"], data, err
	}
	return "", nil, missing("file")
}
