package rest

import (
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"elstore/volume/fault"
)

// someone is an id as the domain's are.
type someone [2]byte

func (s someone) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

func (s *someone) UnmarshalText(text []byte) error {
	if len(text) != 4 {
		return fault.Errorf(fault.BadRequest, "it has 4 digits")
	}
	_, err := hex.Decode(s[:], []byte(strings.ToLower(string(text))))
	return err
}

type partyOf struct {
	Client someone `json:"client_uid" caller:"fill"`
	Host   string  `json:"host"`
}

type boundRequest struct {
	Who    *someone `json:"who" alias:"client_uid" caller:"fill"`
	Filter *someone `json:"creatorID"`
	Given  *someone `json:"given" caller:"match"`
	Party  partyOf  `json:"party"`
	partyless
}

type partyless struct {
	Plain someone `json:"plain" caller:"fill"`
}

type ownerOf struct {
	Owner someone `json:"owner" required:"true" caller:"match"`
}

func bound(method, query, body, identity string) *http.Request {
	r := httptest.NewRequest(method, "/?"+query, strings.NewReader(body))
	if identity == "" {
		return r
	}
	return r.WithContext(WithBound(r.Context(), identity))
}

func TestBound(t *testing.T) {
	const me = "0a0b"
	tests := []struct {
		name, body string
		refused    string // the key
	}{
		{"all left out", `{}`, ""},
		{"null", `{"who": null, "given": null}`, ""},
		{"oneself", `{"who": "0a0b", "given": "0A0B", "plain": "0a0b", "party": {"client_uid": "0a0b"}}`, ""},
		{"by the other name", `{"client_uid": "0a0b"}`, ""},
		{"another", `{"who": "0a0c"}`, "who"},
		{"another by the other name", `{"client_uid": "0a0c"}`, "who"},
		{"another where nothing is filled in", `{"given": "0a0c"}`, "given"},
		{"another within", `{"party": {"client_uid": "0a0c"}}`, "party.client_uid"},
		{"another in an embedded struct", `{"plain": "0a0c"}`, "plain"},
		{"a filter is no caller", `{"creatorID": "0a0c"}`, ""},
		{"unknown keys", `{"Who": "0a0c", "WHO": "0a0c"}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode[boundRequest](bound(http.MethodPost, "", tt.body, me))
			if tt.refused != "" {
				if !fault.Is(err, fault.NotAllowed) || !strings.Contains(err.Error(), "'"+tt.refused+"'") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			mine := someone{0x0a, 0x0b}
			if got.Who == nil || *got.Who != mine || got.Party.Client != mine || got.Plain != mine || got.Given != nil && *got.Given != mine {
				t.Errorf("%+v", got)
			}
		})
	}
	if got, err := Decode[boundRequest](bound(http.MethodPost, "", `{"who": "0a0c"}`, "")); err != nil || *got.Who != (someone{0x0a, 0x0c}) || got.Plain != (someone{}) {
		t.Errorf("without an identity: %+v, %v", got, err)
	}
}

func TestBoundZeroIsSomebodyElse(t *testing.T) {
	if _, err := Decode[ownerOf](bound(http.MethodPost, "", `{"owner": "0000"}`, "0a0b")); !fault.Is(err, fault.NotAllowed) {
		t.Errorf("%v", err)
	}
	if _, err := Decode[ownerOf](bound(http.MethodPost, "", `{}`, "0a0b")); !fault.Is(err, fault.BadRequest) {
		t.Errorf("what is required stays required: %v", err)
	}
}

func TestBoundElsewhere(t *testing.T) {
	_, err := Decode[[]ownerOf](bound(http.MethodPost, "", `[{"owner": "0a0b"}, {"owner": "0a0c"}]`, "0a0b"))
	if at, ok := errors.AsType[*indexed](err); !ok || at.index != 1 || !fault.Is(err, fault.NotAllowed) {
		t.Errorf("an array: %v", err)
	}
	if got, err := DecodeQuery[boundRequest](bound(http.MethodGet, "", "", "0a0b")); err != nil || got.Who == nil || *got.Who != (someone{0x0a, 0x0b}) {
		t.Errorf("a query: %+v, %v", got, err)
	}
	if _, err := DecodeQuery[boundRequest](bound(http.MethodGet, "client_uid=0a0c", "", "0a0b")); !fault.Is(err, fault.NotAllowed) {
		t.Errorf("another in a query: %v", err)
	}
	if _, err := DecodeAny[boundRequest](bound(http.MethodGet, "who=0a0c", "", "0a0b")); !fault.Is(err, fault.NotAllowed) {
		t.Errorf("either way: %v", err)
	}
}
