package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"elstore/volume"
	"elstore/volume/durable"
	"elstore/volume/fault"
)

const (
	tokensFile  = "tokens.json"
	fileVersion = 1

	// maxTokens bounds the store: it is held in memory and written whole.
	maxTokens = 10_000

	maxName   = 255
	maxLimits = 100 // paths or pools that a token is limited to
)

// Token is what is known of a token, without its secret.
type Token struct {
	ID       string        `json:"id"`
	Name     string        `json:"name"`
	Role     Role          `json:"role"`
	Identity volume.Client `json:"identity,omitzero"`
	Created  time.Time     `json:"created"`
	Expires  time.Time     `json:"expires,omitzero"`             // zero is never
	Paths    []string      `json:"paths,omitempty"`              // see Caller
	Pools    []string      `json:"pools,omitempty"`              // see Caller
	Rate     float64       `json:"requests_per_second,omitzero"` // 0 is no limit
}

// entry is a Token as it is stored.
type entry struct {
	Token
	SHA256 string `json:"sha256"` // of the secret, in hexadecimal

	sum    [sha256.Size]byte
	budget *budget // nil where it has no limit
}

// Tokens is the store. Its methods may be called at the same time; the state directory must be ours alone.
type Tokens struct {
	state *os.Root
	mu    sync.Mutex // over changes
	byID  atomic.Pointer[map[string]*entry]
}

// OpenTokens reads the store in state, which may be empty.
func OpenTokens(state *os.Root) (*Tokens, error) {
	t := &Tokens{state: state}
	byID, err := t.load()
	if err != nil {
		return nil, fault.FromState("the tokens in the state directory can't be read", err)
	}
	t.byID.Store(&byID)
	return t, nil
}

type file struct {
	Version int      `json:"version"`
	Tokens  []*entry `json:"tokens"`
}

func (t *Tokens) load() (map[string]*entry, error) {
	byID := map[string]*entry{}
	data, err := t.state.ReadFile(tokensFile)
	if errors.Is(err, fs.ErrNotExist) {
		return byID, nil
	}
	if err != nil {
		return nil, err
	}
	var f file
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", tokensFile, err)
	}
	if f.Version != fileVersion {
		return nil, fmt.Errorf("%s has version %d, and this server knows %d", tokensFile, f.Version, fileVersion)
	}
	for _, e := range f.Tokens {
		n, err := hex.Decode(e.sum[:], []byte(e.SHA256[:min(len(e.SHA256), 2*len(e.sum))]))
		if err != nil || n != len(e.sum) || len(e.SHA256) != 2*len(e.sum) || e.Role == Anonymous || byID[e.ID] != nil {
			return nil, fmt.Errorf("%s: the token %.40q is damaged", tokensFile, e.ID)
		}
		e.budget = newBudget(e.Rate)
		byID[e.ID] = e
	}
	return byID, nil
}

// Create makes a token with the name, role, limits and life that n asks for, and returns it with its text, which is
// told this once and kept nowhere. A reader or user without an identity gets one of its own.
func (t *Tokens) Create(n Token) (made Token, text string, err error) {
	n.Created = time.Now().UTC().Truncate(time.Second)
	if err := n.check(); err != nil {
		return Token{}, "", err
	}
	if n.Role <= User && n.Identity.IsZero() {
		n.Identity, err = volume.ParseClient(volume.NewID().String())
		if err != nil {
			return Token{}, "", err
		}
	}
	var s secret
	n.ID, s = newToken()
	e := &entry{Token: n, sum: s.sum(), budget: newBudget(n.Rate)}
	e.SHA256 = hex.EncodeToString(e.sum[:])
	err = t.change(func(byID map[string]*entry) error {
		if len(byID) >= maxTokens {
			return fault.Errorf(fault.ConditionFailed, "there are %d tokens, and no more are allowed; revoke some", maxTokens)
		}
		byID[n.ID] = e
		return nil
	})
	return n, format(n.ID, s), err
}

// check refuses what can't be meant.
func (n *Token) check() error {
	switch {
	case n.Name == "" || len(n.Name) > maxName || strings.ContainsFunc(n.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fault.Errorf(fault.BadRequest, "'name' is %.64q; allowed is 1 to %d bytes without control characters", n.Name, maxName)
	case n.Role <= Anonymous || n.Role > Operator:
		return fault.Errorf(fault.BadRequest, "'role' is %s; allowed is %s", n.Role, n.Role.Allowed())
	case n.Role > User && !n.Identity.IsZero():
		return fault.Errorf(fault.BadRequest, "'identity' is for readers and users; the role %s acts for everybody", n.Role)
	case !n.Expires.IsZero() && !n.Expires.After(n.Created):
		return fault.Errorf(fault.BadRequest, "'expires' is %s, which is over; allowed is a time to come", n.Expires.Format(time.RFC3339))
	case !(n.Rate >= 0) || math.IsInf(n.Rate, 0):
		return fault.Errorf(fault.BadRequest, "'requests_per_second' is %v; allowed is a number of 0 or more; 0 is no limit", n.Rate)
	case len(n.Paths) > maxLimits || len(n.Pools) > maxLimits:
		return fault.Errorf(fault.BadRequest, "a token is limited to at most %d paths and %d pools", maxLimits, maxLimits)
	}
	for _, p := range n.Paths {
		if len(p) < 2 || p[0] != '/' || p[len(p)-1] == '/' || len(p) > maxName {
			return fault.Errorf(fault.BadRequest, "'paths' has %.64q; allowed is a path below the API's base, such as /info", p)
		}
	}
	if slices.Contains(n.Pools, "") {
		return fault.Errorf(fault.BadRequest, "'pools' has an empty name")
	}
	return nil
}

// Revoke forgets a token: from its return on nobody is let in with it. One that is not there is revoked already.
func (t *Tokens) Revoke(id string) error {
	if (*t.byID.Load())[id] == nil {
		return nil
	}
	return t.change(func(byID map[string]*entry) error {
		delete(byID, id)
		return nil
	})
}

// change writes the store as fn makes it, and then uses it.
func (t *Tokens) change(fn func(byID map[string]*entry) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := maps.Clone(*t.byID.Load())
	if err := fn(next); err != nil {
		return err
	}
	data, err := json.MarshalIndent(file{fileVersion, sorted(next)}, "", "  ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(t.state, tokensFile, append(data, '\n'), 0o600); err != nil {
		return fault.FromState("the tokens can't be written", err)
	}
	t.byID.Store(&next)
	return nil
}

func sorted(byID map[string]*entry) []*entry {
	return slices.SortedFunc(maps.Values(byID), func(a, b *entry) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// List returns all tokens, the oldest first.
func (t *Tokens) List() []Token {
	list := []Token{}
	for _, e := range sorted(*t.byID.Load()) {
		list = append(list, e.Token)
	}
	return list
}

// unknown is compared with where an id is nobody's, so that the time doesn't tell.
var unknown entry

// check returns the token with that id, if the secret is its own.
func (t *Tokens) check(id string, s secret) (*entry, error) {
	e, there := (*t.byID.Load())[id]
	if !there {
		e = &unknown
	}
	sum := s.sum()
	same := subtle.ConstantTimeCompare(sum[:], e.sum[:]) == 1
	switch {
	case !there || !same:
		return nil, refused()
	case !e.Expires.IsZero() && !time.Now().Before(e.Expires):
		return nil, fault.Errorf(fault.Unauthorized, "the token has expired, at %s", e.Expires.UTC().Format(time.RFC3339))
	}
	return e, nil
}

// has reports whether a token has that id.
func (t *Tokens) has(id string) bool { return (*t.byID.Load())[id] != nil }

func refused() error {
	return fault.Errorf(fault.Unauthorized, "the token is not known here, or was revoked")
}

// caller is who comes with a token.
func (t *Tokens) caller(e *entry) *Caller {
	return &Caller{
		Role: e.Role, Identity: e.Identity, Name: e.Name, Token: e.ID, Paths: e.Paths, Pools: e.Pools, Until: e.Expires,
		revoked: func() bool { return !t.has(e.ID) },
	}
}
