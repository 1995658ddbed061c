package export

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"elstore/export/iscsi/login"
	"elstore/volume"
)

// sample is a Book with everything in it.
func sample() Book {
	b := Book{Server: "0123"}
	b.Add(Record{
		Client: alice, Kind: "iscsi", User: "u", Secret: login.NewSecret("hunter2"), PeerUser: "pu", PeerSecret: login.NewSecret("hunter3"),
		Initiator: "iqn.x", ReadOnly: true, Multipath: true, Path: true, Migration: "m", Rates: Rates{ReadMB: new(1.5), WriteIOPS: new(0.0)},
	})
	b.Add(Record{Client: bob, Kind: "iscsi"})
	b.Add(Record{Client: alice, Kind: "nbd"})
	return b
}

func TestBook(t *testing.T) {
	b := sample()
	got, err := parseBook(b.encode())
	if err != nil || !bytes.Equal(got.encode(), b.encode()) {
		t.Fatalf("%v: %s came out as %s", err, b.encode(), got.encode())
	}
	for i := range b.Attachments {
		x, y := b.Attachments[i], got.Attachments[i]
		if !x.Secret.Equal(y.Secret) || !x.PeerSecret.Equal(y.PeerSecret) {
			t.Errorf("attachment %d has other secrets", i)
		}
		if x, y = x.public(), y.public(); !reflect.DeepEqual(x, y) {
			t.Errorf("%+v came out as %+v", x, y)
		}
	}
	if ports := []uint16{b.Attachments[0].Port, b.Attachments[1].Port, b.Attachments[2].Port}; ports[0] != 1 || ports[1] != 2 || ports[2] != 1 {
		t.Errorf("ports %v: a client has one, and no two clients the same", ports)
	}
	b.Drop(func(r Record) bool { return r.Client == alice })
	if r := b.Add(Record{Client: carol, Kind: "iscsi"}); r.Port != 1 || r.Epoch != 4 || r.ID.IsZero() || time.Since(r.Since) > time.Minute {
		t.Errorf("%+v", r)
	}
	if text := fmt.Sprintf("%v %+v %#v", sample(), sample(), sample()); strings.Contains(text, "hunter") {
		t.Errorf("a printed book has its secrets: %s", text)
	}
}

func TestParseBookRefuses(t *testing.T) {
	one := `{"id":"0123456789abcdef0123456789abcdef","client":"0123456789abcdef0123456789abcdef","kind":"iscsi","port":1,"epoch":1,"secret":"hunter2"}`
	in := func(attachments string) string {
		return `{"version":1,"server":"s","epoch":1,"attachments":[` + attachments + `]}`
	}
	if _, err := parseBook([]byte(in(one))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":               "",
		"cut off":               in(one)[:60],
		"another version":       strings.Replace(in(one), `"version":1`, `"version":3`, 1),
		"a pen that nobody has": strings.Replace(in(one), `"server":"s"`, `"server":"s","pen":"p"`, 1),
		"too long":              in(one) + strings.Repeat(" ", maxBook),
		"an id that is none":    in(strings.Replace(one, "0123", "xyz!", 1)),
		"without a client":      in(strings.Replace(one, `"client"`, `"klient"`, 1)),
		"without a kind":        in(strings.Replace(one, `"kind"`, `"kin"`, 1)),
		"without a port":        in(strings.Replace(one, `"port":1`, `"port":0`, 1)),
		"one twice":             in(one + "," + one),
		"two clients, one port": in(one + "," + strings.NewReplacer(`"id":"01`, `"id":"02`, `"client":"01`, `"client":"02`).Replace(one)),
		"an epoch of 0":         in(strings.Replace(one, `"epoch":1`, `"epoch":0`, 1)),
		"an epoch to come":      in(strings.Replace(one, `"epoch":1`, `"epoch":2`, 1)),
		"a rate below 0":        in(strings.Replace(one, `"port"`, `"rates":{"read_iops":-1},"port"`, 1)),
		"too many":              in(one + strings.Repeat(","+one, maxAttachments)),
	} {
		_, err := parseBook([]byte(text))
		if err == nil {
			t.Errorf("%s: it is taken", name)
		} else if strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
}

func FuzzParseBook(f *testing.F) {
	b := sample()
	f.Add(b.encode())
	f.Add([]byte(`{"version":1,"server":"","epoch":0,"attachments":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := parseBook(data)
		if err != nil {
			return
		}
		again, err := parseBook(b.encode())
		if err != nil || !bytes.Equal(again.encode(), b.encode()) {
			t.Errorf("%v: %s came out as %s", err, b.encode(), again.encode())
		}
		r := b.Add(Record{Client: carol, Kind: "iscsi"})
		if _, err := parseBook(b.encode()); err != nil && len(b.Attachments) <= maxAttachments && r.Epoch > 0 {
			t.Errorf("with one more it can't be read: %v", err)
		}
	})
}

func FuzzParseMarker(f *testing.F) {
	f.Add([]byte(`{"server":"s","host":"h","boot_id":"b","portals":["a:1"],"kind":"iscsi","epoch":1,"since":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := mark{Marker: parseMarker(data)}
		if m.where() == "" {
			t.Error("it is nowhere")
		}
	})
}

func TestName(t *testing.T) {
	id, err := volume.ParseID("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := Name(alice, id), "iqn.2004-10.cloud.elemento:01:fedcba9876543210fedcba9876543210"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
