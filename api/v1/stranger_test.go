package v1_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"elstore/volume"
)

// TestALockTellsNothing: a private volume that is locked looks, to whom it is not, as one that never was, and is not waited for.
func TestALockTellsNothing(t *testing.T) {
	g := newGuarded(t)
	tried := 0
	for _, r := range rights {
		if !strings.Contains(r.request+r.body, "$volume") {
			continue
		}
		tried++
		for _, who := range []string{"stranger", "reader", "limited orchestrator"} {
			g.where = "pool"
			if strings.HasPrefix(who, "limited") {
				g.where = "other"
			}
			made := map[string]string{}
			g.make("$volume", made)
			missing := g.ask(&r, who, g.identity[who], false, map[string]string{})
			id, err := volume.ParseID(made["$volume"])
			if err != nil {
				t.Fatal(err)
			}
			err = g.Volumes.Turn(t.Context(), id, "long", func(context.Context, *volume.Turn) error {
				if got := g.ask(&r, who, g.identity[who], true, made); got.status != missing.status || strings.Contains(string(got.body), "long") {
					t.Errorf("%s: a %s is told of a locked one\n%s\nand of none\n%s", r.call, who, got, missing)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: a %s did something to it: %v", r.call, who, err)
			}
		}
	}
	if tried < 10 {
		t.Errorf("only %d calls name a volume", tried)
	}
}

// TestADamagedVolumeIsNoStrangers: nor does a user see, or destroy, what doesn't tell any more whose it is.
func TestADamagedVolumeIsNoStrangers(t *testing.T) {
	g := newGuarded(t)
	id := g.create("v", 0.001, "private", true, "pool", "pool")
	dir := filepath.Join(g.pool, "vid."+id+".elimg")
	if err := os.WriteFile(dir+"/meta.json", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	resize := map[string]any{"vid": id, "creatorID": alice, "size": 1}
	g.as("orchestrator", http.MethodPost, "/update/resize", resize).want(503, "VolumeDamaged") // it is noticed
	for _, who := range []string{"owner", "stranger"} {
		g.as(who, http.MethodPost, "/info", map[string]any{"volume_id": id}).want(404, "VolumeNotFound")
		if got := g.as(who, http.MethodPost, "/has", map[string]any{"volume_id": id}).want(200).object(); got["has"] != false {
			t.Errorf("%v", got)
		}
		for _, purge := range []bool{false, true} {
			g.as(who, http.MethodPost, "/destroy", map[string]any{"volume_id": id, "purge": purge}).want(200)
		}
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("%s destroyed it: %v", who, err)
		}
	}
	g.as("operator", http.MethodPost, "/info", map[string]any{"volume_id": id}).want(503, "VolumeDamaged")
	g.as("operator", http.MethodPost, "/destroy", map[string]any{"volume_id": id, "purge": true}).want(200)
	if _, err := os.Stat(dir); err == nil {
		t.Error("an operator can't destroy it")
	}
}

// TestJobsOfLimitedTokensTellNothing: whether a volume is there, in a pool that a token is not for, isn't told by the job of a call about it.
func TestJobsOfLimitedTokensTellNothing(t *testing.T) {
	g := newGuarded(t)
	g.where = "other"
	for _, who := range []string{"limited", "limited orchestrator"} {
		made := map[string]string{}
		g.make("$volume", made)
		var told []answer
		secret := g.create("secret", 0.001, "creatorID", bob, "private", true, "pool", "pool")
		for _, id := range []string{made["$volume"], secret, volume.NewID().String()} {
			if id == secret && who != "limited" {
				id = volume.NewID().String() // an orchestrator sees it
			}
			job := g.as(who, http.MethodPost, "/destroy", map[string]any{"volume_id": id}, header{"Prefer", "respond-async"}).want(202)
			g.wait(job)
			told = append(told, g.as(who, http.MethodGet, "/jobs/"+job.object()["id"].(string), nil))
			list := string(g.as(who, http.MethodGet, "/jobs", nil).want(200).body)
			if !strings.Contains(list, job.object()["id"].(string)) {
				t.Errorf("%s doesn't see its job", who)
			}
		}
		for _, a := range told {
			if a.status != http.StatusOK || a.object()["volumes"] != nil {
				t.Errorf("%s is told %s", who, a)
			}
		}
	}
	// What it sees, its job names.
	id := g.as("limited", http.MethodPost, "/create", map[string]any{"creatorID": alice, "name": "n", "size": 0.001}).want(200).object()["vid"]
	job := g.as("limited", http.MethodPost, "/destroy", map[string]any{"volume_id": id}, header{"Prefer", "respond-async"}).want(202)
	if got := job.object()["volumes"]; len(got.([]any)) != 1 {
		t.Errorf("%v", got)
	}
}

// TestStreamsEndWithTheirToken: what happens after a token was revoked is told to nobody who came with it.
func TestStreamsEndWithTheirToken(t *testing.T) {
	for _, path := range []string{"/events", "/revisions/stream"} {
		t.Run(path, func(t *testing.T) {
			g := newGuarded(t)
			made := g.as("operator", http.MethodPost, "/tokens", map[string]any{"name": "leaked", "role": "operator"}).want(200).object()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.shut.URL+base+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+made["token"].(string))
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			lines := bufio.NewScanner(resp.Body)
			heard := func(word string) bool {
				for lines.Scan() {
					if strings.Contains(lines.Text(), word) {
						return true
					}
				}
				return false
			}
			g.create("before", 0.001)
			if !heard("event: " + map[string]string{"/events": "volume.created", "/revisions/stream": "revision"}[path]) {
				t.Fatal("it tells nothing")
			}
			g.as("operator", http.MethodDelete, "/tokens/"+made["id"].(string), nil).want(200)
			after := g.Events.Revision()
			for range 3 {
				g.create("after", 0.001)
			}
			for lines.Scan() { // to its end
				if strings.Contains(lines.Text(), fmt.Sprintf(`"revision":%d`, after+1)) {
					t.Fatalf("it is told %s", lines.Text())
				}
			}
		})
	}
}

// TestNobodyIsLockedIn: a volume doesn't become private over somebody else's export, and whoever lost sight of one can still end his own.
func TestNobodyIsLockedIn(t *testing.T) {
	g := newGuarded(t)
	id := g.create("v", 0.001, "shareable", true, "pool", "pool")
	g.as("owner", http.MethodPost, "/export", to(id, alice)).want(200)
	g.as("stranger", http.MethodPost, "/export", to(id, bob)).want(200)
	private := map[string]any{"vid": id, "creatorID": alice, "private": true}
	g.as("owner", http.MethodPost, "/update", private).want(409, "VolumeInUse")
	g.as("stranger", http.MethodPost, "/unexport", to(id, bob)).want(200)
	g.as("owner", http.MethodPost, "/update", private).want(200) // her own machine may go on
	g.as("stranger", http.MethodPost, "/unexport", to(id, bob)).want(200)
	g.as("owner", http.MethodPost, "/unexport", to(id, alice)).want(200)

	// A person may have made it so on disk.
	id = g.create("v", 0.001, "shareable", true, "pool", "pool")
	g.as("stranger", http.MethodPost, "/export", to(id, bob)).want(200)
	file := filepath.Join(g.pool, "vid."+id+".elimg", "meta.json")
	meta, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(meta, &keys); err != nil {
		t.Fatal(err)
	}
	keys["private"] = true
	if meta, err = json.Marshal(keys); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, meta, 0o600); err != nil {
		t.Fatal(err)
	}
	g.as("owner", http.MethodPost, "/update", map[string]any{"vid": id, "creatorID": alice, "name": "w"}).want(200) // it is noticed
	g.as("stranger", http.MethodPost, "/info", map[string]any{"volume_id": id}).want(404, "VolumeNotFound")
	g.as("stranger", http.MethodPost, "/unexport", to(id, bob)).want(200)
	if list := g.as("operator", http.MethodGet, "/exports?volume_id="+id, nil).want(200).list(); len(list) != 0 {
		t.Errorf("%v", list)
	}
}

// TestAnOwnerEndsStrangersExports: whoever owns a volume sees who uses it, and ends that; others don't, and are told nothing.
func TestAnOwnerEndsStrangersExports(t *testing.T) {
	g := newGuarded(t)
	id := g.create("v", 0.001, "shareable", true, "pool", "pool")
	private := g.create("w", 0.001, "private", true, "pool", "pool")
	g.as("owner", http.MethodPost, "/export", to(id, alice)).want(200)
	g.as("stranger", http.MethodPost, "/export", to(id, bob)).want(200)
	for who, want := range map[string]int{"owner": 2, "stranger": 1, "reader": 0, "orchestrator": 2} {
		list := g.as(who, http.MethodGet, "/exports?volume_id="+id, nil).want(200)
		if len(list.list()) != want || strings.Contains(string(list.body), "secret") {
			t.Errorf("%s sees %s", who, list)
		}
	}
	refused := g.as("stranger", http.MethodPost, "/unexport", to(id, alice)).want(403, "NotAllowed")
	for _, other := range []string{private, volume.NewID().String()} {
		if got := g.as("stranger", http.MethodPost, "/unexport", to(other, alice)).want(403, "NotAllowed"); string(got.body) != string(refused.body) {
			t.Errorf("a stranger is told %s of one volume and %s of another", refused, got)
		}
	}
	g.as("owner", http.MethodPost, "/unexport", to(volume.NewID().String(), bob)).want(403, "NotAllowed")
	job := g.as("owner", http.MethodPost, "/unexport", to(id, bob), header{"Prefer", "respond-async"}).want(202)
	g.wait(job)
	g.as("owner", http.MethodGet, "/jobs/"+job.object()["id"].(string), nil).want(200)
	g.as("stranger", http.MethodGet, "/jobs/"+job.object()["id"].(string), nil).want(404)
	if list := g.as("operator", http.MethodGet, "/exports?volume_id="+id, nil).want(200).list(); len(list) != 1 || list[0]["client_uid"] != alice {
		t.Errorf("%v", list)
	}
}
