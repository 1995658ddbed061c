package client_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"elstore/api/client"
)

// shelf answers /accessible with pages of volumes whose ids are the numbers from 1 to n.
type shelf struct {
	n     int
	asked []int
	fails bool // from the second page on
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var req struct {
		Limit int    `json:"limit"`
		After string `json:"after"`
	}
	_ = json.NewDecoder(r.Body).Decode(&req)
	s.asked = append(s.asked, req.Limit)
	if s.fails && len(s.asked) > 1 {
		says(500, `{"error":"broken","code":"InternalError"}`)(w)
		return
	}
	first := 1
	if req.After != "" {
		fmt.Sscanf(req.After, "%x", &first)
		first++
	}
	list := []map[string]string{}
	for i := first; i <= s.n && len(list) < req.Limit; i++ {
		list = append(list, map[string]string{"volumeID": fmt.Sprintf("%032x", i)})
	}
	_ = json.NewEncoder(w).Encode(list)
}

func TestAll(t *testing.T) {
	tests := []struct {
		name        string
		n, limit    int
		want, pages int
	}{
		{"none", 0, 0, 0, 1},
		{"some", 7, 0, 7, 1},
		{"more than a page", 2500, 0, 2500, 3},
		{"exactly a page", 1000, 0, 1000, 2},
		{"a limit", 2500, 5, 5, 1},
		{"a limit over a page", 2500, 1500, 1500, 2},
		{"a limit beyond the end", 7, 100, 7, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &shelf{n: tt.n}
			c := serve(t, s, nil)
			got := 0
			for v, err := range c.All(t.Context(), client.AccessibleRequest{Client: me, Limit: tt.limit}) {
				if err != nil {
					t.Fatal(err)
				}
				if got++; v.ID != fmt.Sprintf("%032x", got) {
					t.Fatalf("volume %d is %s", got, v.ID)
				}
			}
			if got != tt.want || len(s.asked) != tt.pages {
				t.Errorf("%d volumes in %d pages, want %d in %d", got, len(s.asked), tt.want, tt.pages)
			}
		})
	}
	t.Run("broken off by the caller", func(t *testing.T) {
		s := &shelf{n: 2500}
		for range serve(t, s, nil).All(t.Context(), client.AccessibleRequest{}) {
			break
		}
		if len(s.asked) != 1 {
			t.Errorf("%d pages", len(s.asked))
		}
	})
	t.Run("an error", func(t *testing.T) {
		s := &shelf{n: 2500, fails: true}
		got, failed := 0, 0
		for _, err := range serve(t, s, nil).All(t.Context(), client.AccessibleRequest{}) {
			if err != nil {
				failed++
			} else {
				got++
			}
		}
		if got != 1000 || failed != 1 {
			t.Errorf("%d volumes and %d errors", got, failed)
		}
	})
	t.Run("a server that repeats itself", func(t *testing.T) {
		page := make([]map[string]string, 1000)
		for i := range page {
			page[i] = map[string]string{"volumeID": vid}
		}
		body, _ := json.Marshal(page)
		got := 0
		for range serve(t, &recorder{answers: []func(http.ResponseWriter){says(200, string(body))}}, nil).All(t.Context(), client.AccessibleRequest{}) {
			if got++; got > 5000 {
				t.Fatal("it is asked for ever")
			}
		}
	})
}
