package v1_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"testing"
)

// names posts to /accessible and returns the names of what came, in their order by id made comparable by sorting.
func (s *server) names(body map[string]any) []string {
	s.t.Helper()
	return namesOf(s.post("/accessible", body).want(200).list())
}

func namesOf(list []map[string]any) []string {
	names := []string{}
	for _, record := range list {
		names = append(names, record["name"].(string))
	}
	slices.Sort(names)
	return names
}

func TestAccessible(t *testing.T) { onBoth(t, testAccessible) }

func testAccessible(t *testing.T, s *server) {
	if got := s.post("/accessible", map[string]any{"client_uid": alice}).want(200); string(got.body) != "[]\n" {
		t.Errorf("%s", got)
	}
	s.create("public", 1)
	s.create("private", 1, "private", true)
	s.create("bobs", 1, "private", true, "creatorID", bob)
	if got := s.names(map[string]any{"client_uid": alice}); fmt.Sprint(got) != "[private public]" {
		t.Errorf("alice sees %v", got)
	}
	if got := s.names(map[string]any{"client_uid": bob}); fmt.Sprint(got) != "[bobs public]" {
		t.Errorf("bob sees %v", got)
	}
}

func TestAccessibleFilters(t *testing.T) {
	s := newServer(t, `{}`)
	a := s.create("a", 1)
	s.create("b", 2, "format", "qcow2", "bootable", true, "read_iops", 100, "ip", "10.0.0.1", "tags", []int{1, 2})
	s.create("c", 1, "private", true, "bus", "scsi", "alg", "no", "clonable", false, "read_iops", 200)
	s.create("d", 1, "creatorID", bob, "shareable", true, "readonly", true)
	record := s.record(a)
	tests := []struct {
		filter map[string]any
		want   string
		query  bool // it can be asked in a query string too
	}{
		{map[string]any{}, "[a b c d]", true},
		{map[string]any{"name": "a"}, "[a]", true},
		{map[string]any{"volumeID": a}, "[a]", true},
		{map[string]any{"creatorID": bob}, "[d]", true},
		{map[string]any{"size": record["size"].(float64)}, "[a c d]", false},
		{map[string]any{"size": 2000000000}, "[b]", true},
		{map[string]any{"size": 2000000001}, "[]", true},
		{map[string]any{"format": "qcow2"}, "[b]", true},
		{map[string]any{"private": true}, "[c]", true},
		{map[string]any{"private": false}, "[a b d]", true},
		{map[string]any{"bootable": true, "format": "raw"}, "[]", true},
		{map[string]any{"bus": "scsi"}, "[c]", true},
		{map[string]any{"alg": "no"}, "[c]", true},
		{map[string]any{"clonable": false}, "[c]", true},
		{map[string]any{"shareable": true}, "[d]", true},
		{map[string]any{"readonly": true}, "[d]", true},
		{map[string]any{"cloudinit": true}, "[]", true},
		{map[string]any{"ceph": false, "exported": false, "locked": false, "available": true, "overlay": false}, "[a b c d]", true},
		{map[string]any{"pool": "pool"}, "[a b c d]", true},
		{map[string]any{"pool": "other"}, "[]", true},
		{map[string]any{"sizeOnDisk": record["sizeOnDisk"], "format": "raw"}, "[a c d]", false},
		{map[string]any{"sizeOnDisk": 7}, "[]", true},
		{map[string]any{"lastUpdated": record["lastUpdated"]}, "[a]", true},
		{map[string]any{"iso_type": "tool"}, "[]", true},
		{map[string]any{"read_iops": 100}, "[b]", true},
		{map[string]any{"read_iops": 100.0, "ip": "10.0.0.1"}, "[b]", true},
		{map[string]any{"ip": "10.0.0.2"}, "[]", true},
		{map[string]any{"tags": []int{1, 2}}, "[b]", false},
		{map[string]any{"tags": []int{2, 1}}, "[]", false},
		{map[string]any{"nobody has it": 1}, "[]", true},
		{map[string]any{"limit": 0, "after": nil}, "[a b c d]", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.filter), func(t *testing.T) {
			body := map[string]any{"client_uid": alice}
			query := url.Values{"client_uid": {alice}}
			for key, value := range tt.filter {
				body[key] = value
				query.Set(key, fmt.Sprint(value))
			}
			if got := s.names(body); fmt.Sprint(got) != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
			if tt.query {
				if got := namesOf(s.get("/accessible?" + query.Encode()).want(200).list()); fmt.Sprint(got) != tt.want {
					t.Errorf("by query got %v, want %s", got, tt.want)
				}
			}
		})
	}
}

func TestAccessiblePages(t *testing.T) { onBoth(t, testAccessiblePages) }

func testAccessiblePages(t *testing.T, s *server) {
	const volumes = 7
	for i := range volumes {
		s.create(strconv.Itoa(i), 1, "private", i%2 == 0)
	}
	var all []string
	for _, record := range s.post("/accessible", map[string]any{"client_uid": alice}).want(200).list() {
		all = append(all, record["volumeID"].(string))
	}
	if !slices.IsSorted(all) || len(all) != volumes {
		t.Fatalf("%v", all)
	}
	for _, extra := range []map[string]any{{}, {"sizeOnDisk": s.record(all[0])["sizeOnDisk"]}} {
		for limit := 1; limit <= volumes+1; limit++ {
			var paged []string
			for {
				body := map[string]any{"client_uid": alice, "limit": limit}
				maps.Copy(body, extra)
				if len(paged) > 0 {
					body["after"] = paged[len(paged)-1]
				}
				page := s.post("/accessible", body).want(200).list()
				if len(page) > limit {
					t.Fatalf("%d records with limit %d", len(page), limit)
				}
				for _, record := range page {
					paged = append(paged, record["volumeID"].(string))
				}
				if len(page) == 0 {
					break
				}
			}
			if !slices.Equal(paged, all) {
				t.Errorf("limit %d: %v", limit, paged)
			}
		}
	}
}

func TestAccessibleIsNotSentTwice(t *testing.T) {
	s := newServer(t, `{}`)
	path := "/accessible?client_uid=" + alice
	first := s.get(path).want(200)
	tag := first.header.Get("ETag")
	if want := `"` + strconv.FormatInt(s.Events.Revision(), 10) + `"`; tag != want {
		t.Errorf("ETag %s, want %s", tag, want)
	}
	if got := s.post("/accessible", map[string]string{"client_uid": alice}, header{"If-None-Match", tag}).want(200); got.header.Get("ETag") != tag {
		t.Errorf("ETag of POST %s", got.header.Get("ETag"))
	}
	if got := s.get(path, header{"If-None-Match", tag}).want(http.StatusNotModified); len(got.body) != 0 {
		t.Errorf("%s", got)
	}
	s.create("new", 1)
	if got := s.get(path, header{"If-None-Match", tag}).want(200); got.header.Get("ETag") == tag || len(got.list()) != 1 {
		t.Errorf("%s", got)
	}
}

func TestInfoAndHas(t *testing.T) { onBoth(t, testInfoAndHas) }

func testInfoAndHas(t *testing.T, s *server) {
	id := s.create("mine", 1, "private", true)
	for _, key := range []string{"volume_id", "volumeID", "vid"} {
		if got := s.post("/info", map[string]string{key: id}).want(200).object(); got["name"] != "mine" {
			t.Errorf("%v", got)
		}
	}
	for _, key := range []string{"client_uid", "creatorID"} {
		s.post("/info", map[string]string{"volume_id": id, key: alice}).want(200)
		s.post("/info", map[string]string{"volume_id": id, key: bob}).want(404, "VolumeNotFound")
		if got := s.post("/has", map[string]string{"volume_id": id, key: bob}).want(200).object(); got["has"] != false {
			t.Errorf("%v", got)
		}
	}
	if got := s.post("/has", map[string]string{"volume_id": id}).want(200); string(got.body) != "{\"has\":true}\n" {
		t.Errorf("%s", got)
	}
	s.post("/info", map[string]string{"volume_id": bob}).want(404, "VolumeNotFound")
}
