package v1

import (
	"context"
	"net/url"

	"elstore/volume"
	"elstore/volume/fault"
)

// source is where a new volume's content comes from.
type source struct {
	URL          string      `json:"url" secret:"true"` // it may bear a password, or a token in its query
	Checksum     *checksum   `json:"checksum"`
	SourceFormat imageFormat `json:"source_format"`
}

// importRequest is the wish for a volume made of an image.
type importRequest struct {
	newRequest
	source
	Path    string `json:"path"`
	Overlay bool   `json:"overlay"`
}

func (a *API) createURL(_ context.Context, req createRequest) (work, error) {
	if req.URL == "" {
		return work{}, missing("url")
	}
	return a.importWork("create", importRequest{newRequest: req.newRequest, source: req.source})
}

func (a *API) importImage(_ context.Context, req importRequest) (work, error) {
	switch {
	case req.URL == "" && req.Path == "":
		return work{}, missing("path")
	case req.URL != "" && req.Path != "":
		return work{}, fault.Errorf(fault.BadRequest, "path and url exclude each other: the image comes from one of them")
	}
	if req.Overlay && req.Format == nil {
		overlay := volume.QCOW2 // the only format that an overlay can have
		req.Format = &overlay
	}
	return a.importWork("import", req)
}

// importWork makes a volume of what a URL or path names.
func (a *API) importWork(kind string, req importRequest) (work, error) {
	n, src, err := req.plan()
	if err != nil {
		return work{}, err
	}
	src.URL, src.Path, src.Overlay = req.URL, req.Path, req.Overlay
	return work{kind: kind, owner: &req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID = made[0]
		v, err := a.cfg.Volumes.Import(ctx, n, src, p)
		if err != nil {
			return nil, err
		}
		return req.answer(&v), nil
	}}, nil
}

// plan checks what the request says of the volume and its image.
func (r *importRequest) plan() (volume.NewVolume, volume.Source, error) {
	n, err := r.volume()
	if err == nil && r.Prealloc != "" && r.Prealloc != volume.PreallocOff {
		err = fault.Errorf(fault.BadRequest, "preallocation %q is for empty volumes; one made of an image is sparse", r.Prealloc)
	}
	return n, volume.Source{Length: -1, Format: string(r.SourceFormat), Checksum: r.Checksum.sum()}, err
}

// answer is that of create with what the request says of the image.
func (r *importRequest) answer(v *volume.Volume) map[string]any {
	answer := created(v, &r.newRequest)
	for key, value := range map[string]string{"url": shown(r.URL), "path": r.Path, "source_format": string(r.SourceFormat)} {
		if value != "" {
			answer[key] = value
		}
	}
	if r.Checksum != nil {
		answer["checksum"] = r.Checksum
	}
	if r.Overlay {
		answer["overlay"] = true
	}
	return answer
}

// shown is a URL without what may be secret in it: answers are kept with their jobs.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User, u.RawQuery, u.Fragment, u.RawFragment = nil, "", "", ""
	return u.String()
}
