package client_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"elstore/api/client"
	"elstore/iso"
	"elstore/volume/fault"
)

func TestISO(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	image, err := iso.Build(iso.Config{Label: "D", Files: map[string][]byte{"a dir/ä#%": []byte("content"), ".disk/info": []byte("Debian GNU/Linux 12.9.0\n")}})
	if err != nil {
		t.Fatal(err)
	}
	op, err := c.CreateISO(t.Context(), client.ISORequest{Creator: me, Name: "debian", Type: "os_generic"})
	if err != nil {
		t.Fatal(err)
	}
	v, err := op.Wait(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Upload(t.Context(), client.UploadRequest{ID: v.ID, By: me, Source: bytes.NewReader(image), Size: int64(len(image)), Piece: 10000}); err != nil {
		t.Fatal(err)
	}
	all, err := c.ISOFiles(t.Context(), v.ID, me, "", true)
	if err != nil || all.Label != "D" || len(all.Files) != 4 {
		t.Errorf("%+v %v", all, err)
	}
	if dir, err := c.ISOFiles(t.Context(), v.ID, me, "/a dir", false); err != nil || len(dir.Files) != 1 || dir.Files[0].Size != 7 {
		t.Errorf("%+v %v", dir, err)
	}
	var b bytes.Buffer
	if n, err := c.ISOFileTo(t.Context(), v.ID, me, "a dir/ä#%", &b); err != nil || n != 7 || b.String() != "content" {
		t.Errorf("%d %q %v", n, b.String(), err)
	}
	if _, err := c.ISOFiles(t.Context(), v.ID, me, "a dir/ä#%", false); err == nil {
		t.Error("a file was listed")
	}
	if _, err := c.ISOFileTo(t.Context(), v.ID, me, "a dir", &b); err == nil {
		t.Error("a directory was read")
	}
	if _, err := c.ISOFileTo(t.Context(), v.ID, "", "nothing", &b); !fault.Is(err, fault.NoSuchPath) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestSeeds(t *testing.T) {
	s := realServer(t)
	c := s.client(t)
	user, meta := []byte("#cloud-config\nhostname: a\n"), []byte("instance-id: a\n")
	st, err := c.BeginSeed(t.Context(), client.SeedRequest{Creator: me, Name: "seed", Expected: 2}, "user-data", user)
	if err != nil || st.Complete || st.Missing != 1 {
		t.Fatalf("%+v %v", st, err)
	}
	if st, err = c.AddSeedFile(t.Context(), st.ID, me, "meta-data", meta); err != nil || !st.Complete {
		t.Fatalf("%+v %v", st, err)
	}
	if _, err := c.AddSeedFile(t.Context(), st.ID, "", "more", nil); !fault.Is(err, fault.CloudInitMetafilesNumberExceeded) {
		t.Errorf("one too many: %v", err)
	}
	if st, err = c.PutSeedFile(t.Context(), st.ID, me, "script ä", nil); err != nil || len(st.Files) != 3 {
		t.Errorf("%+v %v", st, err)
	}
	if st, err = c.DeleteSeedFile(t.Context(), st.ID, me, "script ä"); err != nil || len(st.Files) != 2 || !strings.HasPrefix(st.Instance, "a-edit-") {
		t.Errorf("%+v %v", st, err)
	}
	if data, err := c.SeedFile(t.Context(), st.ID, me, "user-data"); err != nil || !bytes.Equal(data, user) {
		t.Errorf("%q %v", data, err)
	}
	if again, err := c.Seed(t.Context(), st.ID, me); err != nil || again.Instance != st.Instance {
		t.Errorf("%+v %v", again, err)
	}
	form := json.RawMessage(`{"hostname": "web1"}`)
	r, err := c.Render(t.Context(), client.RenderRequest{Seed: form})
	if err != nil || r.ID != "" || !strings.Contains(r.Files["user-data"], "hostname: web1") {
		t.Errorf("%+v %v", r, err)
	}
	if r, err = c.Render(t.Context(), client.RenderRequest{Seed: form, Creator: me, Name: "made"}); err != nil || r.ID == "" {
		t.Errorf("%+v %v", r, err)
	}
	op, err := c.CreateMachine(t.Context(), client.MachineRequest{Creator: me, Name: "machine", Size: 1 << 20, Seed: form})
	if err != nil {
		t.Fatal(err)
	}
	v, err := op.Wait(t.Context(), nil)
	if err != nil || v.Format != "raw" {
		t.Errorf("%+v %v", v, err)
	}
}
