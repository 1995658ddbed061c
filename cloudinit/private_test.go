package cloudinit_test

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"elstore/cloudinit"
	"elstore/volume"
	"elstore/volume/fault"
)

// waitsForTurn waits until a goroutine that is in a function waits for a volume's turn.
func waitsForTurn(t *testing.T, function string) {
	t.Helper()
	deadline := time.After(time.Minute)
	stacks := make([]byte, 1<<20)
	for {
		for stack := range bytes.SplitSeq(stacks[:runtime.Stack(stacks, true)], []byte("\n\n")) {
			if bytes.Contains(stack, []byte(function+"(")) && bytes.Contains(stack, []byte("keylock.")) {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatalf("nobody waits in %s", function)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestPrivateMeanwhile: who asks for a seed that becomes private before his turn comes is told, as ever after, that there is none.
func TestPrivateMeanwhile(t *testing.T) {
	s := start(t, t.TempDir())
	st, err := s.Make(t.Context(), wish(), cloudinit.Files{"user-data": user, "meta-data": meta})
	id := ok(t, st, err).Volume.ID
	stranger := volume.Client(volume.NewID())
	var calls sync.WaitGroup
	var changed, asked error
	var shown cloudinit.State
	err = s.Volumes.Turn(t.Context(), id, "long", func(context.Context, *volume.Turn) error {
		calls.Go(func() { changed = s.Volumes.Update(t.Context(), id, &owner, volume.Change{Private: new(true)}) })
		waitsForTurn(t, "volume.(*Service).Update")
		calls.Go(func() { shown, asked = s.Show(t.Context(), id, &stranger) })
		waitsForTurn(t, "cloudinit.(*Service).Show")
		return nil
	})
	calls.Wait()
	if err != nil || changed != nil {
		t.Fatal(err, changed)
	}
	if !fault.Is(asked, fault.VolumeNotFound) || len(shown.Files) > 0 {
		t.Errorf("a stranger is shown %+v, %v", shown, asked)
	}
	st, err = s.Show(t.Context(), id, &owner)
	if st = ok(t, st, err); len(st.Files) != 2 {
		t.Errorf("its owner is shown %+v", st)
	}
}
