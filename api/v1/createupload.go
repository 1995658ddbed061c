package v1

import (
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// createUpload makes a volume of the image that a multipart form brings: the request's keys first, each in a field of its
// own or all as JSON in the field "json" or "metadata", then the image in the field "file". Nothing is kept of it
// but where it is to go.
func (a *API) createUpload(w http.ResponseWriter, r *http.Request) error {
	key, err := keyOf(r)
	if err != nil {
		return err
	}
	form, err := r.MultipartReader()
	if err != nil {
		return fault.Errorf(fault.BadRequest, "the request is no multipart form (Content-Type multipart/form-data): %w", err)
	}
	fields, document, file, err := readForm(form)
	if err != nil {
		return err
	}
	key.standsFor([]byte(fields.Encode()), document)
	req, err := decodeForm(r, fields, document)
	if err != nil {
		return err
	}
	n, src, err := req.plan()
	if err != nil {
		return err
	}
	in := newIncoming(&lastPart{file, form}, -1)
	todo := work{kind: "create", owner: &req.Creator, makes: 1, run: func(ctx context.Context, made []volume.ID, p volume.Progress) (any, error) {
		n.ID, src.Body = made[0], in
		v, err := a.cfg.Volumes.Import(ctx, n, src, p)
		if err != nil {
			return nil, err
		}
		return req.answer(&v), nil
	}}
	answer, err := key.once(r.Context(), a.cfg.Keys, "upload", func(ctx context.Context, id func(n int) volume.ID) (volume.Answer, error) {
		return a.receive(ctx, w, r, in, todo, todo.ids(id), rest.PrefersAsync(r))
	})
	if err != nil {
		return err
	}
	return a.reply(w, r, answer)
}

// maxFields is how many fields may come before the file.
const maxFields = 100

// readForm reads what comes before the file's data: fields of their own, and the JSON.
func readForm(form *multipart.Reader) (fields url.Values, document []byte, file *multipart.Part, err error) {
	fields = url.Values{}
	left := int64(rest.MaxBody)
	for range maxFields {
		part, err := form.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil, nil, missing("file")
		case err != nil:
			return nil, nil, nil, badForm(err)
		case part.FormName() == "file":
			return fields, document, part, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return nil, nil, nil, badForm(err)
		}
		if left -= int64(len(value)); left < 0 {
			return nil, nil, nil, fault.Errorf(fault.BodyTooLarge, "the form's fields before the file are larger than %d bytes", rest.MaxBody)
		}
		switch name := part.FormName(); {
		case name != "json" && name != "metadata":
			fields.Add(name, string(value))
		case document != nil:
			return nil, nil, nil, fault.Errorf(fault.BadRequest, "the form has its JSON twice")
		default:
			document = append([]byte{}, value...)
		}
	}
	return nil, nil, nil, fault.Errorf(fault.BadRequest, "the form has over %d fields before the file", maxFields)
}

func badForm(err error) error {
	return fault.Errorf(fault.BadRequest, "the multipart form can't be read: %w", err)
}

// decodeForm reads the request from the form's JSON or from its fields.
func decodeForm(r *http.Request, fields url.Values, document []byte) (importRequest, error) {
	req, err := decodeFormAs[uploadRequest](r, fields, document)
	return importRequest{newRequest: req.newRequest, source: source{Checksum: req.Checksum, SourceFormat: req.SourceFormat}}, err
}

// uploadRequest is a newRequest and what its image is.
type uploadRequest struct {
	newRequest
	Checksum     *checksum   `json:"checksum"`
	SourceFormat imageFormat `json:"source_format"`
}

// lastPart is the data of the form's last part. More parts after it would be keys that came too late to be heeded: then
// its end is an error, and nothing is made.
type lastPart struct {
	*multipart.Part
	form *multipart.Reader
}

func (l *lastPart) Read(p []byte) (int, error) {
	n, err := l.Part.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	after, ferr := l.form.NextPart()
	switch {
	case errors.Is(ferr, io.EOF):
		return n, err
	case ferr != nil:
		return n, ferr
	}
	return n, fault.Errorf(fault.BadRequest, "the form has the field %.64q after the file; the file comes last", after.FormName())
}
