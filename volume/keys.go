package volume

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"time"

	"elstore/volume/durable"
	"elstore/volume/fault"
	"elstore/volume/keylock"
)

// keyLife is how long an idempotency key is remembered.
const keyLife = 24 * time.Hour

const keyDir = "keys"

// Keys remembers the answers to requests that came with an idempotency key, across restarts. Its methods may be
// called at the same time.
type Keys struct {
	state *os.Root
	locks keylock.Map[string]
}

// Answer is what a request was answered.
type Answer struct {
	Status int             `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// remembered is one key's file. It is written before the request has an effect, without an answer, and again with it. The ids of
// what the request makes follow from Seed, so that a second try after a crash makes nothing twice.
type remembered struct {
	Request string    `json:"request"` // digest of the request
	Seed    ID        `json:"seed"`
	Created time.Time `json:"created"`
	Answer  *Answer   `json:"answer,omitempty"`
}

// NewKeys remembers keys in state.
func NewKeys(state *os.Root) (*Keys, error) {
	if err := state.MkdirAll(keyDir, 0o700); err != nil {
		return nil, fault.FromState("remember idempotency keys", err)
	}
	return &Keys{state: state}, nil
}

// Do answers a request that came with key, of the one whom scope names, or of anybody for "": with what was answered before, or by fn, which makes new volumes only with the
// ids that id gives. Only answers that fn returned without an error are remembered. The same key with
// another request is IdempotencyKeyReused. Two requests with one key run one after the other.
func (k *Keys) Do(ctx context.Context, scope, key string, request []byte, fn func(id func(n int) ID) (Answer, error)) (Answer, error) {
	if scope != "" {
		scope += "\n" // which no key has
	}
	sum := sha256.Sum256([]byte(scope + key))
	name := keyDir + "/" + hex.EncodeToString(sum[:]) + ".json"
	unlock, err := k.locks.Lock(ctx, name)
	if err != nil {
		return Answer{}, err
	}
	defer unlock()
	digest := sha256.Sum256(request)
	want := hex.EncodeToString(digest[:])
	r, err := k.read(name)
	if err != nil {
		return Answer{}, err
	}
	switch {
	case r == nil || time.Since(r.Created) >= keyLife:
		r = &remembered{Request: want, Seed: NewID(), Created: now()}
		if err := k.write(name, r); err != nil {
			return Answer{}, err
		}
	case r.Request != want:
		return Answer{}, fault.Errorf(fault.IdempotencyKeyReused, "Idempotency-Key %.64q came before with another request", key)
	case r.Answer != nil:
		return *r.Answer, nil
	}
	answer, err := fn(func(n int) ID {
		return IDFrom(sha256.Sum256(binary.BigEndian.AppendUint64(r.Seed.uid[:], uint64(n))))
	})
	if err != nil {
		return Answer{}, err
	}
	r.Answer = &answer
	return answer, k.write(name, r)
}

func (k *Keys) read(name string) (*remembered, error) {
	data, err := k.state.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a key that never came is no error
	}
	if err != nil {
		return nil, fault.FromState("remember the idempotency key", err)
	}
	r := new(remembered)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fault.FromState("remember the idempotency key", err)
	}
	return r, nil
}

func (k *Keys) write(name string, r *remembered) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return fault.FromState("remember the idempotency key", durable.WriteFile(k.state, name, data, 0o600))
}

// Sweep forgets the keys whose time is over, and returns how many. One that fails doesn't keep the others.
func (k *Keys) Sweep(ctx context.Context) (int, error) {
	names, err := fs.Glob(k.state.FS(), keyDir+"/*.json")
	if err != nil {
		return 0, err
	}
	swept := 0
	for _, name := range names {
		if ctx.Err() != nil {
			break
		}
		unlock, free := k.locks.TryLock(name)
		if !free {
			continue
		}
		r, rerr := k.read(name)
		if rerr == nil && r != nil && time.Since(r.Created) >= keyLife {
			if rerr = k.state.Remove(name); rerr == nil {
				swept++
			}
		}
		err = errors.Join(err, rerr)
		unlock()
	}
	return swept, err
}
