package v1

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net/http"

	"elstore/api/access"
	"elstore/volume"
	"elstore/volume/fault"
)

// key is a request's Idempotency-Key and what of the request it stands for. A nil key remembers nothing.
type key struct {
	text    string
	scope   string    // who sent it: one caller's keys are not another's
	request hash.Hash // of what tells the request from another one
}

// maxKey is the longest Idempotency-Key, in characters.
const maxKey = 255

// keyOf reads the header; nil where the request has none.
func keyOf(r *http.Request) (*key, error) {
	lines := r.Header.Values("Idempotency-Key")
	if len(lines) == 0 {
		return nil, nil //nolint:nilnil // a request without a key is no error
	}
	if len(lines) > 1 || len(lines[0]) == 0 || len(lines[0]) > maxKey {
		return nil, badKey()
	}
	for i := range len(lines[0]) {
		if c := lines[0][i]; c <= ' ' || c > '~' {
			return nil, badKey()
		}
	}
	k := &key{text: lines[0], request: sha256.New()}
	if who := access.CallerOf(r.Context()).Who(); who != nil {
		k.scope = who.String()
	}
	return k, nil
}

// standsForBody makes the key stand for r's body, which is to be read whole.
func (k *key) standsForBody(r *http.Request) {
	if k != nil && r.Body != nil {
		r.Body = summed{r.Body, k.request}
	}
}

// standsFor makes the key stand for text.
func (k *key) standsFor(text ...[]byte) {
	for _, t := range text {
		if k != nil {
			_, _ = fmt.Fprintf(k.request, "%d:%s", len(t), t) // a hash never fails
		}
	}
}

func badKey() error {
	return fault.Errorf(fault.BadRequest, "an Idempotency-Key is one header of 1 to %d visible ASCII characters", maxKey)
}

// summed is a body that is summed up while it is read.
type summed struct {
	io.ReadCloser
	sum hash.Hash
}

func (s summed) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.sum.Write(p[:n])
	return n, err
}

// once runs fn, or answers as fn did when the key came first, with the same request of the same kind. With a key fn goes on when
// the client hangs up, so that its answer is there for the client's next try. The ids that fn makes volumes
// with are the same in every try.
func (k *key) once(ctx context.Context, keys *volume.Keys, kind string, fn func(ctx context.Context, id func(n int) volume.ID) (volume.Answer, error)) (volume.Answer, error) {
	if k == nil {
		return fn(ctx, func(int) volume.ID { return volume.NewID() })
	}
	ctx = context.WithoutCancel(ctx)
	return keys.Do(ctx, k.scope, k.text, k.request.Sum([]byte(kind+"\x00")), func(id func(n int) volume.ID) (volume.Answer, error) {
		return fn(ctx, id)
	})
}
