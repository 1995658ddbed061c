package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"elstore/export/scsi"
	"elstore/volume/durable"
)

// bootID names the time since this machine was started.
const bootID = "/proc/sys/kernel/random/boot_id"

// reservations keeps the persistent reservations of an image in a file beside it.
type reservations struct {
	dir  *os.Root
	name string
	boot string
}

var _ scsi.ReservationStore = (*reservations)(nil)

// savedReservations is the file's content.
type savedReservations struct {
	Boot string `json:"boot_id"` // the machine's when it was saved
	scsi.Reservations
}

// openReservations returns the store of an image. Nothing is written before somebody registers.
func openReservations(path string) (*reservations, error) {
	boot, err := os.ReadFile(bootID)
	if err != nil {
		return nil, fmt.Errorf("reservations: %w", err)
	}
	dir, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("reservations: %w", err)
	}
	return &reservations{dir, filepath.Base(path) + ".reservations", string(bytes.TrimSpace(boot))}, nil
}

// Load implements scsi.ReservationStore. What was saved without APTPL ends when the machine is started again.
func (r *reservations) Load(context.Context) (*scsi.Reservations, error) {
	data, err := r.dir.ReadFile(r.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // that is how a store says that there is nothing
	}
	if err != nil {
		return nil, err
	}
	var saved savedReservations
	if err := json.Unmarshal(data, &saved); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; without it nobody is fenced off the disk any more: "+
			"remove it only if that is right", r.name, err)
	}
	if saved.Boot != r.boot && !saved.APTPL {
		return nil, nil //nolint:nilnil // the same
	}
	return &saved.Reservations, nil
}

// Save implements scsi.ReservationStore.
func (r *reservations) Save(_ context.Context, state *scsi.Reservations) error {
	data, err := json.MarshalIndent(savedReservations{r.boot, *state}, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFile(r.dir, r.name, append(data, '\n'), 0o600)
}

func (r *reservations) close() { _ = r.dir.Close() }
