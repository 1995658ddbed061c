package volume

import (
	"encoding/json"
	"errors"
	"os"
	"sync"
	"testing"

	"elstore/volume/fault"
)

func newKeys(t *testing.T) (*Keys, *os.Root) {
	t.Helper()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	k, err := NewKeys(root)
	if err != nil {
		t.Fatal(err)
	}
	return k, root
}

func answer(s string) Answer { return Answer{Status: 200, Body: json.RawMessage(`"` + s + `"`)} }

func TestKeyAnswersOnce(t *testing.T) {
	k, root := newKeys(t)
	calls := 0
	do := func(k *Keys, key, request string) (Answer, error) {
		return k.Do(t.Context(), "", key, []byte(request), func(func(int) ID) (Answer, error) { calls++; return answer("made"), nil })
	}
	for range 2 {
		if a, err := do(k, "a", "body"); err != nil || string(a.Body) != `"made"` || calls != 1 {
			t.Fatalf("%s, %v, %d calls", a.Body, err, calls)
		}
	}
	if _, err := do(k, "a", "another body"); !fault.Is(err, fault.IdempotencyKeyReused) {
		t.Errorf("reused: %v", err)
	}
	again, err := NewKeys(root)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := do(again, "a", "body"); err != nil || string(a.Body) != `"made"` || calls != 1 {
		t.Errorf("after a restart: %s, %v, %d calls", a.Body, err, calls)
	}
	if _, err := do(k, "../../b", "body"); err != nil || calls != 2 {
		t.Errorf("another key: %v, %d calls", err, calls)
	}
}

func TestKeyGivesTheSameIDsAgain(t *testing.T) {
	k, root := newKeys(t)
	var first, second []ID
	crash := errors.New("crash")
	_, err := k.Do(t.Context(), "", "a", nil, func(id func(int) ID) (Answer, error) {
		first = []ID{id(0), id(1)}
		return Answer{}, crash
	})
	if !errors.Is(err, crash) {
		t.Fatal(err)
	}
	if k, err = NewKeys(root); err != nil {
		t.Fatal(err)
	}
	_, err = k.Do(t.Context(), "", "a", nil, func(id func(int) ID) (Answer, error) {
		second = []ID{id(0), id(1)}
		return answer("x"), nil
	})
	if err != nil || first[0] != second[0] || first[1] != second[1] || first[0] == first[1] {
		t.Errorf("%v then %v, %v", first, second, err)
	}
}

func TestKeyOneAtATime(t *testing.T) {
	k, _ := newKeys(t)
	var wg sync.WaitGroup
	calls := 0 // the race detector sees to it that calls are apart
	for range 16 {
		wg.Go(func() {
			_, _ = k.Do(t.Context(), "", "a", nil, func(func(int) ID) (Answer, error) { calls++; return answer("x"), nil })
		})
	}
	wg.Wait()
	if calls != 1 {
		t.Errorf("%d calls", calls)
	}
}

func TestKeysAreSwept(t *testing.T) {
	k, root := newKeys(t)
	for _, key := range []string{"old", "new"} {
		if _, err := k.Do(t.Context(), "", key, nil, func(func(int) ID) (Answer, error) { return answer(key), nil }); err != nil {
			t.Fatal(err)
		}
	}
	// The old one is a day old, as its file says.
	names, _ := os.ReadDir(root.Name() + "/" + keyDir)
	aged := keyDir + "/" + names[0].Name()
	r, err := k.read(aged)
	if err != nil {
		t.Fatal(err)
	}
	r.Created = r.Created.Add(-keyLife)
	if err := k.write(aged, r); err != nil {
		t.Fatal(err)
	}
	if n, err := k.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d, %v", n, err)
	}
	if left, _ := os.ReadDir(root.Name() + "/" + keyDir); len(left) != 1 || left[0].Name() != names[1].Name() {
		t.Errorf("left: %v", left)
	}
}
