package scsi

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
)

// eraserRAM is a ram that can be erased.
type eraserRAM struct{ *ram }

func (r eraserRAM) Erase(context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin("erase", 0, 0); err != nil {
		return err
	}
	clear(r.data)
	clear(r.mapped)
	return nil
}

func TestBlockErase(t *testing.T) {
	disk := eraserRAM{newRAM(1 << 20)}
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	send(t, n, "2a 00 00000000 00 0800 00", pattern(1, 2048)).want(t, "good")
	for _, cdb := range []string{"48 02 ff", "48 02 00 00 00 00 01", "48 02 0000000000 0008", "48 42"} {
		send(t, n, cdb).want(t, "5/24/00")
	}
	if bytes.Equal(disk.data, make([]byte, 1<<20)) {
		t.Fatal("erased by a command that was refused")
	}
	send(t, n, "48 02").want(t, "good")
	if !bytes.Equal(disk.data, make([]byte, 1<<20)) {
		t.Error("not erased")
	}
	send(t, n, "00").want(t, "good")
	send(t, n, "48 01").want(t, "5/24/00") // OVERWRITE promises more than a file can keep
	send(t, n, "48 03").want(t, "5/24/00") // CRYPTO ERASE
}

func TestNoEraseOfReadOnlyUnits(t *testing.T) {
	n := attach(t, newUnit(t, Config{Device: eraserRAM{newRAM(1 << 20)}, ReadOnly: true}), 1)
	send(t, n, "48 02").want(t, "5/20/00")
}

func TestBlockEraseInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newRAM(1 << 20)
		lu := newUnit(t, Config{Device: eraserRAM{disk}})
		n := attach(t, lu, 1)
		proceed := make(chan struct{})
		blocking := blockingEraser{eraserRAM{disk}, proceed}
		lu.device = blocking
		send(t, n, "48 82").want(t, "good")
		synctest.Wait()
		for _, cdb := range []string{"00", "28 00 00000000 00 0001 00", "2a 00 00000000 00 0001 00", "1b 00 00 00 01 00", "48 02", "48 1f"} {
			send(t, n, cdb).want(t, "2/04/1b")
		}
		send(t, n, "12 00 00 00ff 00").want(t, "good")
		if sense := send(t, n, "03 00 00 00 ff 00").want(t, "good").data; sense[2] != 2 || sense[12] != 4 || sense[13] != 0x1b {
			t.Errorf("REQUEST SENSE says %x", sense)
		}
		lu.Reset(nil)
		n.pending.Store(0)
		send(t, n, "00").want(t, "2/04/1b") // a reset doesn't end it
		close(proceed)
		lu.Close()
		send(t, n, "00").want(t, "good")
	})
}

type blockingEraser struct {
	eraserRAM
	proceed chan struct{}
}

func (b blockingEraser) Erase(ctx context.Context) error {
	<-b.proceed
	return b.eraserRAM.Erase(ctx)
}

func TestBlockEraseThatFails(t *testing.T) {
	disk := eraserRAM{newRAM(1 << 20)}
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	disk.fail = failOn("erase", errTest)
	send(t, n, "48 02").want(t, "3/31/03")
	send(t, n, "28 00 00000000 00 0001 00").want(t, "3/31/03")
	send(t, n, "48 1f").want(t, "good") // EXIT FAILURE MODE
	send(t, n, "28 00 00000000 00 0001 00").want(t, "good")
}

// TestBlockEraseAfterFailure: the command itself runs in the failure mode, where others don't.
func TestBlockEraseAfterFailure(t *testing.T) {
	disk := eraserRAM{newRAM(1 << 20)}
	n := attach(t, newUnit(t, Config{Device: disk}), 1)
	disk.fail = failOn("erase", errTest)
	send(t, n, "48 02").want(t, "3/31/03")
	disk.fail = nil
	send(t, n, "48 02").want(t, "good")
	send(t, n, "00").want(t, "good")
}
