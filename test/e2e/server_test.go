package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"elstore/test/need"
	"elstore/test/rig"
)

const alice = "00000000000000000000000000000001"

func TestMain(m *testing.M) { rig.Main(m) }

func post(t *testing.T, s *rig.Server, path string, body any, status int) rig.Answer {
	t.Helper()
	a, err := s.Post(t.Context(), path, body)
	if err != nil {
		t.Fatal(err)
	}
	if a.Status != status {
		t.Fatalf("%s %v: %d %s, want %d", path, body, a.Status, a.Body, status)
	}
	return a
}

func vid(t *testing.T, a rig.Answer) string {
	t.Helper()
	var made struct {
		VID string `json:"vid"`
	}
	a.Into(t, &made)
	return made.VID
}

func wish(name string, gb any) map[string]any {
	return map[string]any{"creatorID": alice, "name": name, "size": gb}
}

func volumesIn(t *testing.T, pool string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(pool, "*vid*"))
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

func TestFirstLogLineHasTheAddresses(t *testing.T) {
	s := rig.Start(t, t.TempDir())
	if err := s.Stop(); err != nil {
		t.Fatalf("%v\n%s", err, s.Log())
	}
	line, _, _ := strings.Cut(s.Log(), "\n")
	var first struct {
		API []string `json:"api"`
	}
	if err := json.Unmarshal([]byte(line), &first); err != nil || len(first.API) != 1 || "http://"+first.API[0] != s.URL {
		t.Errorf("%s: %v; the API is at %s", line, err, s.URL)
	}
	if strings.Contains(s.Log(), `"level":"ERROR"`) {
		t.Error(s.Log())
	}
}

func TestSixtyFourClientsForFiftyPlaces(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{"max-volumes": 50}`)
	s := rig.Start(t, root)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	begin := make(chan struct{})
	for i := range 64 {
		wg.Go(func() {
			<-begin
			a, err := s.Post(t.Context(), "/create", wish(fmt.Sprint("v", i), 1))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			statuses[a.Status]++
			mu.Unlock()
		})
	}
	close(begin)
	wg.Wait()
	if statuses[200] != 50 || statuses[507] != 14 || len(statuses) != 2 {
		t.Errorf("answers by status: %v", statuses)
	}
	if n := len(volumesIn(t, pool)); n != 50 {
		t.Errorf("the directory has %d volumes", n)
	}
}

func TestSecondServer(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	first := rig.Start(t, root)
	post(t, first, "/create", wish("v", 1), 200)

	refused := rig.Launch(t, root)
	if err := refused.Ready(); err == nil || !strings.Contains(err.Error(), "--state") {
		t.Errorf("a second server with the same state: %v", err)
	}
	second := rig.Start(t, root, "--state", t.TempDir(), "--rescan", "100ms")
	post(t, second, "/create", wish("v", 1), 507)
	a, err := second.Do(t.Context(), "GET", "/pools", nil, nil)
	if err != nil || !strings.Contains(string(a.Body), `"held_by"`) {
		t.Errorf("%s, %v", a.Body, err)
	}
	first.Kill()
	eventually(t, func() string {
		a, err := second.Post(t.Context(), "/create", wish("w", 1))
		if err != nil || a.Status != 200 {
			return fmt.Sprintf("the pool of a server that died is not taken over: %d %s %v", a.Status, a.Body, err)
		}
		return ""
	})
	a = post(t, second, "/accessible", map[string]any{"client_uid": alice}, 200)
	if n := strings.Count(string(a.Body), `"volumeID"`); n != 2 {
		t.Errorf("%d volumes after the take-over", n)
	}
}

// eventually asks until nothing is wrong any more.
func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		text := wrong()
		if text == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatal(text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestPoolsComeAndGo(t *testing.T) {
	root := t.TempDir()
	s := rig.Start(t, root)
	post(t, s, "/create", wish("v", 1), 507)
	pool := rig.Pool(t, root, "pool", `{"max-volumes": 1}`)
	var id string
	eventually(t, func() string {
		a, err := s.Post(t.Context(), "/create", wish("v", 1))
		if err != nil || a.Status != 200 {
			return fmt.Sprintf("a new pool is not found: %d %s %v", a.Status, a.Body, err)
		}
		id = vid(t, a)
		return ""
	})
	post(t, s, "/create", wish("w", 1), 507)
	if err := os.WriteFile(filepath.Join(pool, "settings.json"), []byte(`{"max-volumes": 2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if a, err := s.Post(t.Context(), "/create", wish("w", 1)); err != nil || a.Status != 200 {
			return fmt.Sprintf("a new limit is not seen: %d %s %v", a.Status, a.Body, err)
		}
		return ""
	})
	away := filepath.Join(t.TempDir(), "away")
	if err := os.Rename(pool, away); err != nil {
		t.Fatal(err)
	}
	available := func() string {
		return string(post(t, s, "/info", map[string]any{"volume_id": id}, 200).Body)
	}
	eventually(t, func() string {
		if body := available(); !strings.Contains(body, `"available":false`) {
			return "a volume whose pool went is said to be available: " + body
		}
		return ""
	})
	post(t, s, "/update", map[string]any{"vid": id, "creatorID": alice, "name": "x"}, 503)
	if err := os.Rename(away, pool); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if body := available(); !strings.Contains(body, `"available":true`) {
			return "a pool that came back is not found: " + body
		}
		return ""
	})
	post(t, s, "/update", map[string]any{"vid": id, "creatorID": alice, "name": "x"}, 200)
}

func TestVolumeDroppedInByHand(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	id := "155a8574f06542f1ac2fbe8790b35160"
	dir := filepath.Join(pool, "vid."+id+".elimg")
	temp := filepath.Join(root, ".coming")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"data.img":  strings.Repeat("x", 4096),
		"meta.json": `{"creatorID":"` + alice + `","name":"by hand","custom":{"kept":true}}`,
	} {
		if err := os.WriteFile(filepath.Join(temp, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(temp, dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		a, err := s.Post(t.Context(), "/info", map[string]any{"volume_id": id})
		if err != nil || a.Status != 200 || !strings.Contains(string(a.Body), `"size":4096`) {
			return fmt.Sprintf("it is not found: %d %s %v", a.Status, a.Body, err)
		}
		return ""
	})
	post(t, s, "/update", map[string]any{"vid": id, "creatorID": alice, "name": "renamed"}, 200)
	data, err := os.ReadFile(filepath.Join(dir, "meta.json"))
	if err != nil || !strings.Contains(string(data), `"custom":{"kept":true}`) || !strings.Contains(string(data), "renamed") {
		t.Errorf("%s, %v", data, err)
	}
}

func TestStrangersAreKeptOut(t *testing.T) {
	root := t.TempDir()
	pool := rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	body := `{"creatorID":"` + alice + `","name":"x","size":1}`
	for name, header := range map[string]map[string]string{
		"cross-site":     {"Sec-Fetch-Site": "cross-site"},
		"same site":      {"Sec-Fetch-Site": "same-site"},
		"foreign origin": {"Origin": "https://evil.example"},
		"foreign host":   {"Host": "evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/api/v1.0/create", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for key, value := range header {
				req.Header.Set(key, value)
				if key == "Host" {
					req.Host = value
				}
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusForbidden {
				t.Errorf("answer %s", resp.Status)
			}
		})
	}
	if n := len(volumesIn(t, pool)); n != 0 {
		t.Errorf("%d volumes were made", n)
	}
	open := rig.Launch(t, t.TempDir(), "--listen", "0.0.0.0:0")
	if err := open.Ready(); err == nil || !strings.Contains(err.Error(), "--insecure") {
		t.Errorf("listening for everybody: %v", err)
	}
}

func TestStopLetsWorkEnd(t *testing.T) {
	need.Program(t, "qemu-img")
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	s := rig.Start(t, root)
	id := vid(t, post(t, s, "/create", map[string]any{
		"creatorID": alice, "name": "v", "size": 0.3, "preallocation": "full",
	}, 200))
	answered := make(chan rig.Answer, 1)
	go func() {
		a, err := s.Post(t.Context(), "/update/convert", map[string]any{"vid": id, "creatorID": alice, "format": "qcow2"})
		if err != nil {
			t.Error(err)
		}
		answered <- a
	}()
	eventually(t, func() string {
		if a := post(t, s, "/info", map[string]any{"volume_id": id}, 200); !strings.Contains(string(a.Body), `"convert"`) && len(answered) == 0 {
			return "the conversion does not begin"
		}
		return ""
	})
	if err := s.Stop(); err != nil {
		t.Errorf("%v\n%s", err, s.Log())
	}
	if a := <-answered; a.Status != 200 {
		t.Errorf("the conversion was answered %d %s", a.Status, a.Body)
	}
}
