package v1

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// uploadQuery says who uploads, and what the whole image is.
type uploadQuery struct {
	asker
	Format   imageFormat `json:"format"` // "" is raw
	Checksum *checksum   `json:"checksum"`
}

// uploaded is how far an upload is.
type uploaded struct {
	ID       volume.ID `json:"vid"`
	Received int64     `json:"received"` // bytes of the image that are there
	Total    *int64    `json:"total"`    // bytes of the whole image, null where the client didn't say yet
	Complete bool      `json:"complete"` // the image is whole and is the volume's content now
}

// uploadOffset is the header that says how many bytes of an image are there.
const uploadOffset = "Upload-Offset"

// upload takes in an image, or a piece of it: 200 with the last piece, 202 while more is awaited, 409 with what is there
// where the piece doesn't go on from it.
func (a *API) upload(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return err
	}
	q, err := rest.DecodeQuery[uploadQuery](r)
	if err != nil {
		return err
	}
	part, err := partOf(r, q)
	if err != nil {
		return err
	}
	state := uploaded{ID: id}
	if part.Total >= 0 {
		state.Total = &part.Total
	}
	in := newIncoming(r.Body, part.Length)
	part.Body = in
	todo := work{kind: "upload", owner: q.Who, volumes: []volume.ID{id}, run: func(ctx context.Context, _ []volume.ID, p volume.Progress) (any, error) {
		var err error
		state.Received, state.Complete, err = a.cfg.Volumes.Upload(ctx, id, q.Who, part, p)
		return state, err
	}}
	async := rest.PrefersAsync(r) && part.Offset+part.Length == part.Total // a piece is there when it is there
	answer, err := a.receive(r.Context(), w, r, in, todo, nil, async)
	switch {
	case fault.Is(err, fault.UploadOffset):
		return replyOffset(w, err, state.Received)
	case err != nil:
		return err
	case answer.Status == http.StatusAccepted:
		return a.reply(w, r, answer)
	case !state.Complete:
		answer.Status = http.StatusAccepted
	}
	w.Header().Set(uploadOffset, strconv.FormatInt(state.Received, 10))
	return rest.Reply(w, answer.Status, answer.Body)
}

// replyOffset refuses a piece and says where to go on.
func replyOffset(w http.ResponseWriter, err error, received int64) error {
	code, sentence := rest.Describe(err)
	w.Header().Set(uploadOffset, strconv.FormatInt(received, 10))
	return rest.Reply(w, rest.Status(fault.KindOf(err)), map[string]any{"error": sentence, "code": code, "received": received})
}

// partOf reads from the headers which part of the image the body is: all of it, or what Content-Range says.
func partOf(r *http.Request, q uploadQuery) (volume.Part, error) {
	part := volume.Part{Format: string(q.Format)}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return part, fault.Errorf(fault.BadRequest, "Content-Encoding %.64q is not allowed: the image comes as it is", e)
	}
	var err error
	if part.Checksum, err = checksumOf(r, q); err != nil {
		return part, err
	}
	lines := r.Header.Values("Content-Range")
	if len(lines) == 0 {
		if r.ContentLength <= 0 {
			return part, fault.Errorf(fault.BadRequest, "an image of at least one byte is needed, with its Content-Length")
		}
		part.Length, part.Total = r.ContentLength, r.ContentLength
		return part, within(part)
	}
	c, err := rest.ParseContentRange(strings.Join(lines, ", "))
	if err != nil {
		return part, err
	}
	if c.First < 0 || r.ContentLength >= 0 && r.ContentLength != c.Len() {
		return part, fault.Errorf(fault.UploadInvalidRange, "Content-Range is %q and the body has %d bytes; the two must agree", c, r.ContentLength)
	}
	part.Offset, part.Length, part.Total = c.First, c.Len(), c.Total
	return part, within(part)
}

// within refuses images that no volume could hold.
func within(part volume.Part) error {
	if end := max(part.Total, part.Offset+part.Length); end > volume.MaxSize {
		return fault.Errorf(fault.UploadInvalidRange, "an image of %d bytes is too large; the largest volume has %d", end, int64(volume.MaxSize))
	}
	return nil
}

// checksumOf is what the whole image must sum up to: the header Repr-Digest or the query's checksum.
func checksumOf(r *http.Request, q uploadQuery) (*volume.Checksum, error) {
	lines := r.Header.Values("Repr-Digest")
	if len(lines) == 0 {
		return q.Checksum.sum(), nil
	}
	digest, err := rest.ParseReprDigest(strings.Join(lines, ", "))
	if err != nil {
		return nil, err
	}
	if q.Checksum != nil && q.Checksum.digest != digest {
		return nil, fault.Errorf(fault.BadRequest, "Repr-Digest and checksum differ; give one of them")
	}
	return (&checksum{digest}).sum(), nil
}

// dropUpload forgets the pieces that came.
func (a *API) dropUpload(w http.ResponseWriter, r *http.Request) error {
	id, err := volume.ParseID(r.PathValue("vid"))
	if err != nil {
		return err
	}
	q, err := rest.DecodeQuery[asker](r)
	if err != nil {
		return err
	}
	if err := a.cfg.Volumes.DropUpload(r.Context(), id, q.Who); err != nil {
		return err
	}
	return rest.Reply(w, http.StatusOK, uploaded{ID: id})
}
