package v1

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"

	"elstore/api/rest"
	"elstore/iso"
	"elstore/volume"
	"elstore/volume/fault"
)

// isoRequest is the wish for an ISO volume, in either shape of the source document.
type isoRequest struct {
	Creator   volume.Client              `json:"creatorID" required:"true" caller:"match"`
	Name      string                     `json:"name" required:"true"`
	Type      iso.Type                   `json:"isotype" required:"true"`
	Private   bool                       `json:"private"`
	Clonable  *bool                      `json:"clonable"` // default true
	Alg       *volume.Alg                `json:"alg"`      // default cp
	OSFamily  *string                    `json:"os_family"`
	OSFlavour *string                    `json:"os_flavour"`
	OSVersion *string                    `json:"os_version"`
	Scope     *string                    `json:"tool_scope" alias:"scope"`
	Version   *string                    `json:"tool_version" alias:"version"`
	Size      *volume.Gigabytes          `json:"size"`
	Pool      string                     `json:"pool"`
	URL       string                     `json:"url" secret:"true"`
	Path      string                     `json:"path"`
	Checksum  *checksum                  `json:"checksum"`
	Unknown   map[string]json.RawMessage `rest:"extra"`
}

func (r *isoRequest) wish() (iso.New, error) {
	n := iso.New{
		Creator: r.Creator, Name: r.Name, Private: r.Private, Clonable: or(r.Clonable, true), Alg: or(r.Alg, volume.Copy), Pool: r.Pool,
		Info: iso.Info{
			Type: r.Type, OSFamily: r.OSFamily, OSFlavour: r.OSFlavour, OSVersion: r.OSVersion, Scope: r.Scope, Version: r.Version,
		},
		Extra: kept(r.Unknown, rates{}),
	}
	maps.DeleteFunc(n.Extra, func(_ string, value json.RawMessage) bool { return string(value) == "null" })
	if r.Size != nil {
		n.Size = r.Size.Bytes
	}
	return n, n.Check()
}

// createISO makes a volume of what url or path names, or one whose image is to be uploaded.
func (a *API) createISO(_ context.Context, req isoRequest) (work, error) {
	if req.URL != "" && req.Path != "" {
		return work{}, fault.Errorf(fault.BadRequest, "path and url exclude each other: the image comes from one of them")
	}
	n, err := req.wish()
	if err != nil {
		return work{}, err
	}
	if req.URL == "" && req.Path == "" && req.Checksum != nil {
		return work{}, fault.Errorf(fault.BadRequest, "checksum is for a volume made of an image; here its image comes later")
	}
	return work{kind: "create", owner: &req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID = made[0]
		if req.URL != "" || req.Path != "" {
			return a.importISO(ctx, &req, n, volume.Source{URL: req.URL, Path: req.Path, Length: -1, Checksum: req.Checksum.sum()}, p)
		}
		v, err := a.cfg.ISO.Create(ctx, n, p)
		if err != nil {
			return nil, err
		}
		return req.answer(&v, n.Info), nil
	}}, nil
}

func (a *API) createISOURL(ctx context.Context, req isoRequest) (work, error) {
	if req.URL == "" {
		return work{}, missing("url")
	}
	return a.createISO(ctx, req)
}

func (a *API) importISO(ctx context.Context, req *isoRequest, n iso.New, src volume.Source, p volume.Progress) (any, error) {
	v, info, err := a.cfg.ISO.Import(ctx, n, src, p)
	if err != nil {
		return nil, err
	}
	return req.answer(&v, info), nil
}

// createISOUpload makes a volume of the image that a multipart form brings, as /create/upload does.
func (a *API) createISOUpload(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return badForm(err)
	}
	fields, document, file, err := readForm(form)
	if err != nil {
		return err
	}
	key.standsFor([]byte(fields.Encode()), document)
	req, err := decodeFormAs[isoRequest](r, fields, document)
	if err != nil {
		return err
	}
	if req.URL != "" || req.Path != "" {
		return fault.Errorf(fault.BadRequest, "url and path are for /iso/create; here the image comes with the form")
	}
	n, err := req.wish()
	if err != nil {
		return err
	}
	in := newIncoming(&lastPart{file, form}, -1)
	todo := work{kind: "create", owner: &req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID = made[0]
		return a.importISO(ctx, &req, n, volume.Source{Body: in, Length: -1, Checksum: req.Checksum.sum()}, p)
	}}
	answer, err := key.once(r.Context(), a.cfg.Keys, "iso-upload", func(ctx context.Context, id func(n int) volume.ID) (volume.Answer, error) {
		return a.receive(ctx, w, r, in, todo, todo.ids(id), rest.PrefersAsync(r))
	})
	if err != nil {
		return err
	}
	return a.reply(w, r, answer)
}

// answer is the source document's, with null for what nobody said and the image doesn't tell.
func (r *isoRequest) answer(v *volume.Volume, info iso.Info) map[string]any {
	answer := make(map[string]any, 16+len(v.Meta.Extra))
	for key, value := range v.Meta.Extra {
		answer[key] = value
	}
	maps.Copy(answer, map[string]any{
		"vid": v.ID, "creatorID": v.Meta.Creator, "name": v.Meta.Name, "private": v.Meta.Private, "clonable": v.Meta.Clonable,
		"alg": v.Meta.Alg, "pool": v.Pool, "isotype": info.Type, "os_family": info.OSFamily, "os_flavour": info.OSFlavour,
		"os_version": info.OSVersion, "tool_scope": info.Scope, "tool_version": info.Version,
	})
	for key, value := range map[string]string{"url": shown(r.URL), "path": r.Path} {
		if value != "" {
			answer[key] = value
		}
	}
	if r.Checksum != nil {
		answer["checksum"] = r.Checksum
	}
	return answer
}

// decodeFormAs reads a request from a form's JSON or from its fields. r is the request that the form came with.
func decodeFormAs[T any](r *http.Request, fields url.Values, document []byte) (T, error) {
	inner := (&http.Request{
		Method: http.MethodPost, URL: &url.URL{RawQuery: fields.Encode()}, Body: io.NopCloser(bytes.NewReader(document)),
	}).WithContext(r.Context())
	if document == nil {
		return rest.DecodeQuery[T](inner)
	}
	if len(fields) > 0 {
		var none T
		return none, fault.Errorf(fault.BadRequest, "the form has both JSON and fields of their own; give one of them")
	}
	return rest.Decode[T](inner)
}
