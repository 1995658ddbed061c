package main

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"elstore/export/scsi"
)

func TestReservationsAreKept(t *testing.T) {
	node := scsi.Registration{Initiator: "iqn.x:node,i,0x00023d000000", Port: "iqn.y,t,0x0001", PortID: 1, Key: 7}
	held := scsi.Reservations{Generation: 3, Registrations: []scsi.Registration{node}, Type: scsi.WriteExclusiveRegistrantsOnly, Holder: &node}
	lasting := held
	lasting.APTPL = true
	for _, tt := range []struct {
		name   string
		state  scsi.Reservations
		reboot bool // the machine was started again
		kept   bool
	}{
		{"after a restart of ours", held, false, true},
		{"after a restart of the machine", held, true, false},
		{"with APTPL", lasting, false, true},
		{"with APTPL, after a restart of the machine", lasting, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			image := imageOf(t, 1<<20, "")
			open := func() *reservations {
				r, err := openReservations(image)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(r.close)
				return r
			}
			first := open()
			if got, err := first.Load(t.Context()); got != nil || err != nil {
				t.Errorf("of a new image: %+v, %v", got, err)
			}
			if err := first.Save(t.Context(), &tt.state); err != nil {
				t.Fatal(err)
			}
			second := open()
			if tt.reboot {
				second.boot = "another"
			}
			got, err := second.Load(t.Context())
			if err != nil || (got != nil) != tt.kept || tt.kept && !reflect.DeepEqual(*got, tt.state) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestDamagedReservations(t *testing.T) {
	image := imageOf(t, 1<<20, "")
	if err := os.WriteFile(image+".reservations", []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	said := fails(t, exitFailure, "target", "--image", image, "--listen", "127.0.0.1:0")
	if !strings.Contains(said, "disk.img.reservations is damaged") {
		t.Errorf("said %q", said)
	}
	if err := os.Remove(image); err != nil { // what can't be saved is refused, and nothing else
		t.Fatal(err)
	}
	r, err := openReservations(image)
	if err != nil {
		t.Fatal(err)
	}
	r.close()
	if err := r.Save(t.Context(), &scsi.Reservations{}); err == nil {
		t.Error("saved in a directory that is closed")
	}
}
