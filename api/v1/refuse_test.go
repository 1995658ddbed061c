package v1_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
	"elstore/volume"
)

// refusal is a bad request and what it must be answered.
type refusal struct {
	name   string
	path   string
	body   string
	status int
	code   string
	says   string // part of the sentence
}

// newVolume is create's request with one key's JSON replaced or added.
func newVolume(key, value string) string {
	keys := []string{"creatorID", "name", "size"}
	values := map[string]string{"creatorID": `"` + alice + `"`, "name": `"n"`, "size": "1", key: value}
	if _, known := map[string]bool{"creatorID": true, "name": true, "size": true}[key]; !known {
		keys = append(keys, key)
	}
	var members []string
	for _, k := range keys {
		members = append(members, fmt.Sprintf("%q: %s", k, values[k]))
	}
	return "{" + strings.Join(members, ", ") + "}"
}

func refusals(id string) []refusal {
	size := func(name, value, says string) refusal {
		return refusal{"size " + name, "/create", newVolume("size", value), 400, "BadRequest", says}
	}
	owned := func(more string) string {
		return fmt.Sprintf(`{"vid": %q, "creatorID": %q%s}`, id, alice, more)
	}
	list := []refusal{
		size("of a word", `"one"`, `'size' is "one"; allowed is a number of GB`),
		size("true", `true`, "'size' is true"),
		size("an object", `{}`, "'size' is {}"),
		size("negative", `-1`, "'size' is -1"),
		size("zero", `0`, "'size' is 0"),
		size("minus zero", `-0.0`, "'size' is -0.0"),
		size("huge", `1e30`, "'size' is 1e30"),
		size("of a huge exponent", `1e999999999`, "'size' is 1e999999999"),
		size("NaN", `NaN`, "is not JSON"),
		size("NaN in quotes", `"NaN"`, `'size' is "NaN"`),
		size("infinite", `"Infinity"`, `'size' is "Infinity"`),
		size("hexadecimal", `"0x10"`, `'size' is "0x10"`),
		size("of a fraction bar", `"1/2"`, `'size' is "1/2"`),
		size("empty", `""`, `'size' is ""`),
		size("over a PiB", `1125900`, "'size' is 1125900"),

		{"format unknown", "/create", newVolume("format", `"vmdk"`), 400, "VolumeFormatNotAllowed", "'format' is \"vmdk\"; allowed is raw, qcow2"},
		{"format in capitals", "/create", newVolume("format", `"RAW"`), 400, "VolumeFormatNotAllowed", "'format' is \"RAW\""},
		{"format iso", "/create", newVolume("format", `"iso"`), 400, "VolumeFormatNotAllowed", "iso"},
		{"format a number", "/create", newVolume("format", `1`), 400, "BadRequest", "'format' is 1"},
		{"bus unknown", "/create", newVolume("bus", `"usb"`), 400, "VolumeBusNotAllowed", "'bus' is \"usb\"; allowed is virtio"},
		{"alg unknown", "/create", newVolume("alg", `"dd"`), 400, "VolumeCloningAlgNotAllowed", "'alg' is \"dd\"; allowed is cp"},
		{"preallocation unknown", "/create", newVolume("preallocation", `"some"`), 400, "BadRequest", "allowed is off"},
		{"bool as text", "/create", newVolume("private", `"true"`), 400, "BadRequest", "'private' is \"true\"; allowed is true or false"},
		{"bool as number", "/create", newVolume("bootable", `1`), 400, "BadRequest", "'bootable' is 1"},
		{"bootable and shareable", "/create", newVolume("bootable", `true, "shareable": true`), 400, "BadRequest", "exclude each other"},
		{"pool unknown", "/create", newVolume("pool", `"nowhere"`), 404, "PoolNotFound", "nowhere"},
		{"pool of a path", "/create", newVolume("pool", `"../pool"`), 404, "PoolNotFound", "../pool"},
		{"rate negative", "/create", newVolume("read_iops", `-1`), 400, "BadRequest", "'read_iops' is -1"},
		{"rate of a word", "/create", newVolume("write_MB_bw", `"fast"`), 400, "BadRequest", "'write_MB_bw' is \"fast\""},
		{"rate too large for any number", "/create", newVolume("write_iops", `1e400`), 400, "BadRequest", "'write_iops' is 1e400"},
		{"unknown key too long", "/create", newVolume("note", `"`+strings.Repeat("x", 70_000)+`"`), 400, "BadRequest", "unknown keys"},
		{"checksum without an image", "/create", newVolume("checksum", `"`+strings.Repeat("0", 64)+`"`), 400, "BadRequest", "image"},

		{"id with dots", "/info", `{"volume_id": "../../../../../../etc/passwd"}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id with a slash", "/destroy", `{"volume_id": "ffffffffffffffff/fffffffffffffff"}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id with NUL", "/destroy", `{"volume_id": "ffffffffffffffffffffffffffffff\u0000f"}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id too short", "/info", `{"volume_id": "fff"}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id too long", "/has", `{"volume_id": "` + alice + `0"}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id a number", "/info", `{"volume_id": 7}`, 400, "BadRequest", "32 hexadecimal digits"},
		{"id null", "/info", `{"volume_id": null}`, 400, "BadRequest", "request was badly formatted. 'volume_id'"},
		{"two names of the id", "/destroy", `{"volume_id": "` + id + `", "vid": "` + bob + `"}`, 400, "BadRequest", "two names of one key"},
		{"creator malformed", "/create", newVolume("creatorID", `"me"`), 400, "BadRequest", "'creatorID' is \"me\""},

		{"name empty", "/create", newVolume("name", `""`), 400, "BadRequest", "name is empty"},
		{"name with a line break", "/create", newVolume("name", `"a\nb"`), 400, "BadRequest", "control character"},
		{"name with NUL", "/create", newVolume("name", `"a\u0000"`), 400, "BadRequest", "control character"},
		{"name with an escape", "/create", newVolume("name", `"\u001b[31m"`), 400, "BadRequest", "control character"},
		{"name that turns the direction", "/create", newVolume("name", `"a\u202eb"`), 400, "BadRequest", "control character"},
		{"name of 10,000 letters", "/create", newVolume("name", `"`+strings.Repeat("n", 10_000)+`"`), 400, "BadRequest", "10000 bytes"},
		{"name a number", "/create", newVolume("name", `5`), 400, "BadRequest", "'name' is 5"},
		{"renamed to nothing", "/update", owned(`, "name": ""`), 400, "BadRequest", "name is empty"},

		{"2 MiB", "/create", `{"name": "` + strings.Repeat("n", 2<<20) + `"}`, 413, "BodyTooLarge", "1048576"},
		{"truncated", "/create", `{"creatorID": "` + alice, 400, "BadRequest", "JSON"},
		{"10,000 deep", "/create", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), 400, "BadRequest", "deeper"},
		{"trailing garbage", "/create", newVolume("size", "1") + "x", 400, "BadRequest", "more text"},
		{"two values", "/create", newVolume("size", "1") + newVolume("size", "1"), 400, "BadRequest", "more text"},
		{"duplicate key", "/create", newVolume("private", `false, "private": true`), 400, "BadRequest", "twice"},
		{"not UTF-8", "/create", newVolume("name", "\"\xff\""), 400, "BadRequest", "UTF-8"},
		{"an array", "/create", `[]`, 400, "BadRequest", "object"},
		{"nothing", "/create", ``, 400, "BadRequest", "request was badly formatted. 'creatorID'"},
		{"no array", "/create/multiple", `{}`, 400, "BadRequest", "array"},
		{"one of several", "/create/multiple", "[" + newVolume("size", "1") + "," + newVolume("size", "0") + "]", 400, "BadRequest", "'[1].size'"},
		{"one of several without a size", "/create/multiple", "[" + newVolume("size", "1") + "," + newVolume("size", "null") + "]", 400, "BadRequest", "request was badly formatted. 'size'"},
		{"one of several with a URL", "/create/multiple", "[" + newVolume("url", `"http://example.org/"`) + "]", 400, "BadRequest", "made empty"},
		{"too many together", "/create/multiple", "[" + strings.TrimSuffix(strings.Repeat(newVolume("size", "1")+",", 6), ",") + "]", 507, "VolumeNotAllocable", ""},
		{"together too large", "/create/multiple", "[" + newVolume("size", "1") + "," + newVolume("size", "20") + "]", 507, "VolumeNotAllocable", ""},

		{"url missing", "/create/url", newVolume("size", "1"), 400, "BadRequest", "request was badly formatted. 'url'"},
		{"url to a file", "/create/url", newVolume("url", `"file:///etc/passwd"`), 403, "FetchForbidden", ""},
		{"checksum malformed", "/create/url", newVolume("url", `"http://x/", "checksum": "md5:00"`), 400, "BadRequest", "'checksum'"},
		{"preallocated image", "/create/url", newVolume("url", `"http://x/", "preallocation": "full"`), 400, "BadRequest", "preallocation"},
		{"source format unknown", "/import", newVolume("path", `"/x", "source_format": "doc"`), 400, "UnsupportedFormat", "'source_format' is \"doc\"; allowed is raw, qcow2"},
		{"import of nothing", "/import", newVolume("size", "1"), 400, "BadRequest", "request was badly formatted. 'path'"},
		{"import of two", "/import", newVolume("path", `"/x", "url": "http://x/"`), 400, "BadRequest", "exclude each other"},
		{"import from elsewhere", "/import", newVolume("path", `"/etc/passwd"`), 403, "FetchForbidden", ""},
		{"raw overlay", "/import", newVolume("path", `"/x", "overlay": true, "format": "raw"`), 400, "VolumeFormatNotAllowed", "overlay"},

		{"resize to nothing", "/update/resize", owned(`, "size": 0`), 400, "BadRequest", "'size' is 0"},
		{"shrink by accident", "/update/resize", owned(`, "size": 0.5`), 400, "VolumeDimensionNotShrinkable", "shrink"},
		{"resize over the limit", "/update/resize", owned(`, "size": 11`), 507, "VolumeNotAllocable", ""},
		{"resize what is not there", "/update/resize", `{"vid": "` + bob + `", "creatorID": "` + alice + `", "size": 2}`, 404, "VolumeNotFound", bob},
		{"resize by somebody else", "/update/resize", `{"vid": "` + id + `", "creatorID": "` + bob + `", "size": 2}`, 403, "NotAllowed", "belongs to somebody else"},
		{"convert to iso", "/update/convert", owned(`, "format": "iso"`), 400, "VolumeFormatNotAllowed", "iso"},
		{"convert to nothing known", "/update/convert", owned(`, "format": "doc"`), 400, "VolumeFormatNotAllowed", "'format' is \"doc\""},
		{"convert to rbd", "/update/convert", owned(`, "format": "rdb"`), 400, "UnsupportedFormat", "rbd"},
		{"convert by somebody else", "/update/convert", `{"vid": "` + id + `", "creatorID": "` + bob + `", "format": "qcow2"}`, 403, "NotAllowed", ""},
		{"transfer by somebody else", "/transfer", `{"vid": "` + id + `", "creatorID": "` + bob + `", "newCreatorID": "00000000000000000000000000000c0c"}`, 403, "NotAllowed", ""},
		{"transfer to nobody", "/update/transfer", owned(``), 400, "BadRequest", "request was badly formatted. 'newCreatorID'"},
		{"destroy by somebody else", "/destroy", `{"volume_id": "` + id + `", "creatorID": "` + bob + `"}`, 403, "NotAllowed", ""},
		{"compact by somebody else", "/overlay/compact", `{"vid": "` + id + `", "creatorID": "` + bob + `"}`, 403, "NotAllowed", ""},
		{"restore what never was", "/trash/restore", `{"volume_id": "` + bob + `"}`, 404, "VolumeNotFound", ""},
		{"clone what is not there", "/clone", `{"volume_id": "` + bob + `", "creatorID": "` + alice + `", "name": "c"}`, 404, "VolumeNotFound", ""},
		{"clone with a bad name", "/clone", `{"volume_id": "` + id + `", "creatorID": "` + alice + `", "name": "\t"}`, 400, "BadRequest", "control character"},
		{"clone into an unknown pool", "/clone", `{"volume_id": "` + id + `", "creatorID": "` + alice + `", "name": "c", "pool": "x"}`, 404, "PoolNotFound", ""},

		{"update of format", "/update", owned(`, "format": "qcow2"`), 400, "VolumeImpossibleFormatMetaUpdate", "raw"},
		{"update by somebody else", "/update", `{"vid": "` + id + `", "creatorID": "` + bob + `", "name": "x"}`, 400, "VolumeImpossibleCreatorIDMetaUpdate", "owner"},
		{"update of cloudinit", "/update", owned(`, "cloudinit": true`), 400, "VolumeImpossibleCloudinitMetaUpdate", "cloudinit"},
		{"update of size", "/update", owned(`, "size": 7`), 400, "VolumeMetadataNotUpdatable", "'size'"},
		{"update of pool", "/update", owned(`, "pool": "other"`), 400, "VolumeMetadataNotUpdatable", "'pool'"},
		{"update to both", "/update", owned(`, "bootable": true, "shareable": true`), 400, "VolumeMetadataNotUpdatable", "exclude"},
		{"update of a rate", "/update", owned(`, "read_MB_bw": -0.5`), 400, "BadRequest", "'read_MB_bw'"},

		{"accessible without anybody", "/accessible", `{}`, 400, "BadRequest", "request was badly formatted. 'client_uid'"},
		{"accessible limit", "/accessible", `{"client_uid": "` + alice + `", "limit": -1}`, 400, "BadRequest", "'limit' is -1"},
		{"accessible filter", "/accessible", `{"client_uid": "` + alice + `", "bus": "usb"}`, 400, "VolumeBusNotAllowed", "'bus'"},
		{"cancreate without a size", "/cancreate", `{}`, 400, "BadRequest", "request was badly formatted. 'size'"},
		{"cancreate in an unknown pool", "/cancreate", `{"size": 1, "pool": "x"}`, 404, "PoolNotFound", ""},
		{"cancreate of one of several", "/cancreate/multiple", `[{"size": 1}, {"size": -1}]`, 400, "BadRequest", "'[1].size'"},
		{"cancreate of iso", "/cancreate/multiple", `[{"size": 1}, {"size": 1, "format": "iso"}]`, 400, "VolumeFormatNotAllowed", "iso"},
		{"refresh of an unknown pool", "/pools/refresh", `{"name": "x"}`, 404, "PoolNotFound", "x"},
	}
	return list
}

func TestBadInputIsRefusedAndChangesNothing(t *testing.T) {
	s := newServer(t, `{"max-volumes": 6, "max-volume-size": "10G", "max-total-size": "12G"}`)
	id := s.create("mine", 1)
	before := s.state()
	for _, tt := range refusals(id) {
		t.Run(tt.name, func(t *testing.T) {
			got := s.post(tt.path, tt.body).want(tt.status, tt.code)
			if sentence := got.object()["error"].(string); !strings.Contains(sentence, tt.says) || len(sentence) > 1000 {
				t.Errorf("it says %q, want %q", sentence, tt.says)
			}
			if after := s.state(); after != before {
				t.Errorf("changed:\n%s\nfrom\n%s", after, before)
			}
		})
	}
}

// The same requests are refused before anything is promised.
func TestBadInputWithRespondAsync(t *testing.T) {
	s := newServer(t, `{"max-volumes": 6, "max-volume-size": "10G", "max-total-size": "12G"}`)
	id := s.create("mine", 1)
	before := s.state()
	for _, tt := range refusals(id) {
		if strings.HasPrefix(tt.path, "/cancreate") || tt.path == "/accessible" || tt.path == "/info" || tt.path == "/has" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			got := s.post(tt.path, tt.body, header{"Prefer", "respond-async"})
			if got.status != http.StatusAccepted {
				got.want(tt.status, tt.code)
			} else if job := s.wait(got); job["state"] != "failed" || job["code"] != tt.code {
				t.Errorf("%v", job)
			}
			if after := s.state(); after != before {
				t.Errorf("changed:\n%s\nfrom\n%s", after, before)
			}
		})
	}
}

// Images that are no good, from a directory that is allowed.
func TestBadImages(t *testing.T) {
	need.Program(t, "qemu-img")
	dir := t.TempDir()
	image := func(name string, args ...string) string {
		path := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), "qemu-img", append(append([]string{"create", "-q"}, args...), path, "1M")...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return path
	}
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := image("good", "-f", "qcow2")
	data, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, more, code string }{
		{"a backing file", image("backed", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw"), "", "ImageRefused"},
		{"an external data file", image("external", "-f", "qcow2", "-o", "data_file="+filepath.Join(dir, "data"), "-o", "data_file_raw=on"), "", "ImageRefused"},
		{"cut off", file("cut", string(data[:100])), `, "source_format": "qcow2"`, "ImageRefused"},
		{"a qcow2 called raw", good, `, "source_format": "raw"`, "ImageRefused"},
		{"raw called qcow2", file("raw", strings.Repeat("x", 4096)), `, "source_format": "qcow2"`, "ImageRefused"},
		{"not of its checksum", good, `, "checksum": "` + strings.Repeat("0", 64) + `"`, "ChecksumMismatch"},
		{"larger than asked for", good, `, "size": 0.0005`, "VolumeDimensionNotUpdatable"},
	}
	s := newServer(t, `{}`, func(c *volume.Config) { c.ImportDirs = []string{dir} })
	before := s.state()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"creatorID": %q, "name": "n", "path": %q%s}`, alice, tt.path, tt.more)
			s.post("/import", body).want(400, tt.code)
			if after := s.state(); after != before {
				t.Errorf("changed:\n%s\nfrom\n%s", after, before)
			}
		})
	}
	for _, path := range []string{"/etc/passwd", dir + "/../../etc/passwd", "good", dir, dir + "/none", dir + `\u0000`} {
		s.post("/import", fmt.Sprintf(`{"creatorID": %q, "name": "n", "path": "%s"}`, alice, path)).want(403, "FetchForbidden")
	}
	s.post("/import", fmt.Sprintf(`{"creatorID": %q, "name": "n", "path": %q}`, alice, good)).want(200)
}

// Volumes whose files are no good are told of, and nothing else suffers.
func TestDamagedVolumes(t *testing.T) {
	s := newServer(t, `{}`)
	truncated, missing, fine := "00000000000000000000000000000001", "00000000000000000000000000000002", s.create("fine", 1)
	for id, meta := range map[string]string{truncated: `{"creatorID": "`, missing: `{"creatorID": "` + alice + `", "name": "x", "format": "raw"}`} {
		dir := filepath.Join(s.pool, "vid."+id+".elimg")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "meta.json"), []byte(meta), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s.post("/pools/refresh", nil).want(200)
	for _, id := range []string{truncated, missing} {
		s.post("/info", map[string]string{"volume_id": id}).want(503, "VolumeDamaged")
		s.post("/update/resize", map[string]any{"vid": id, "creatorID": alice, "size": 2}).want(503, "VolumeDamaged")
		if got := s.post("/has", map[string]string{"volume_id": id}).want(200).object(); got["has"] != true {
			t.Errorf("%v", got)
		}
	}
	if list := s.post("/accessible", map[string]string{"client_uid": alice}).want(200).list(); len(list) != 1 || list[0]["volumeID"] != fine {
		t.Errorf("%v", list)
	}
	s.post("/destroy", map[string]any{"volume_id": truncated, "purge": true}).want(200)
	if got := s.post("/has", map[string]string{"volume_id": truncated}).want(200).object(); got["has"] != false {
		t.Errorf("%v", got)
	}
}
