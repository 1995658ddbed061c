package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestWithoutSecrets(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"JSON":              {`{"secret":"a\"b", "name": "web"}`, `{"secret":"[redacted]", "name": "web"}`},
		"JSON, other case":  {`{"peer_Secret" : "x"}`, `{"peer_Secret" : "[redacted]"}`},
		"JSON, a number":    {`{"password": 12, "b": 1}`, `{"password": [redacted], "b": 1}`},
		"YAML":              {"tls-key: /etc/k.pem\nadmin-password: two words\nlisten: x\n", "tls-key: /etc/k.pem\nadmin-password: [redacted]\nlisten: x\n"},
		"a variable":        {"ELSTORE_TOKEN=abc\nX=1", "ELSTORE_TOKEN=[redacted]\nX=1"},
		"a URL":             {`fetch "https://user:pw@example.com/a"`, `fetch "https://[redacted]@example.com/a"`},
		"iSCSI":             {"iscsi://u%A1IBAt@127.0.0.1:3260/iqn/0", "iscsi://[redacted]@127.0.0.1:3260/iqn/0"},
		"a URL without one": {"https://example.com/a@b", "https://example.com/a@b"},
		"a header":          {"sent: Bearer eyJ.a-b_c=", "sent: Bearer [redacted]"},
		"Authorization":     {"Authorization: abc", "Authorization: [redacted]"},
		"a key":             {"-----BEGIN EC PRIVATE KEY-----\nMIG\n-----END EC PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----[redacted]-----END EC PRIVATE KEY-----"},
		"iscsiadm":          {"iscsiadm -o update -n node.session.auth.password -v S3cret", "iscsiadm -o update -n node.session.auth.password -v [redacted]"},
		"QEMU's object":     {"-object secret,id=s,data=S3cret", "-object secret,id=s,data=[redacted]"},
		"nothing":           {`{"name": "token", "volume_id": "1"}`, `{"name": "token", "volume_id": "1"}`},
		"two":               {`{"secret": "a", "peer_secret": "b"}`, `{"secret": "[redacted]", "peer_secret": "[redacted]"}`},
		"in a sentence":     {"there is no token here", "there is no token here"},
		"a tracer's header": {"Environment=OTEL_EXPORTER_OTLP_HEADERS=api-key=S3cret\n", "Environment=OTEL_EXPORTER_OTLP_HEADERS=api-key=[redacted]\n"},
		"a signed URL":      {"http://h/x?X-Amz-Signature=S3cret", "http://h/x?X-Amz-Signature=[redacted]"},
		"a keyring":         {"[client.vm]\n\tkey = AQB+w==\n", "[client.vm]\n\tkey = [redacted]\n"},
		"no keyring":        {`the key "x" = y; keys = 3`, `the key "x" = y; keys = 3`},
		"a pasted token": {
			"elst_0123456789abcdef_" + strings.Repeat("0123456789abcdef", 4) + " was refused", "elst_0123456789abcdef_[redacted] was refused",
		},
		"a metric is no text": {"elstore_jobs 1\n", "elstore_jobs 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(withoutSecrets([]byte(c.text))); got != c.want {
				t.Errorf("got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestWithoutYAMLSecrets(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a block":               {"a: 1\nmy-token: |\n  S3\n  cret\n\n  S3\nb: 2\n", "a: 1\nmy-token: [redacted]\nb: 2\n"},
		"folded, with a mark":   {"password: >2-  # why\n    S3\n  cret\nb: 2\n", "password: [redacted]\nb: 2\n"},
		"plain, of two lines":   {"secret: S3\n  cret, S3\nb: 2\n", "secret: [redacted]\nb: 2\n"},
		"with a comma":          {"secret: S3, cret] }\nb: 2\n", "secret: [redacted]\nb: 2\n"},
		"in single quotes":      {"secret: 'S3, \n  cret'\nb: 2\n", "secret: [redacted]\nb: 2\n"},
		"a list":                {"tokens:\n- S3\n- cret\nb: 2\n", "tokens: [redacted]\nb: 2\n"},
		"a list further in":     {"x:\n  tokens:\n    - S3\n  b: 2\n", "x:\n  tokens: [redacted]\n  b: 2\n"},
		"an object":             {"token:\n  id: S3\n  b:\n    c: S3\nb: 2\n", "token: [redacted]\nb: 2\n"},
		"within a list":         {"x:\n  - name: n\n    secret: |\n      S3\n    b: 2\n  - secret: |\n      S3\n    b: 2\n", "x:\n  - name: n\n    secret: [redacted]\n    b: 2\n  - secret: [redacted]\n    b: 2\n"},
		"the last, without \\n": {"secret: |\n  S3", "secret: [redacted]\n"},
		"CRLF":                  {"secret: |\r\n  S3\r\nb: 2\r\n", "secret: [redacted]\nb: 2\r\n"},
		"quoted":                {"\"my secret\": 1\n'a-token' : |\n S3\n", "\"my secret\": 1\n'a-token' : [redacted]\n"},
		"none":                  {"listen:\n  - x\n\ntls-key: |\n  /k.pem\n", "listen:\n  - x\n\ntls-key: |\n  /k.pem\n"},
		"nothing":               {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(withoutYAMLSecrets([]byte(c.text))); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

// unpack returns the files of a bundle.
func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for archive := tar.NewReader(zip); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "elstore-support/")] = string(data)
	}
}

func TestSupportBundle(t *testing.T) {
	root := liveServer(t)
	for _, name := range []string{"web", "db"} {
		succeeds(t, "volume", "create", name, "--size", "1M")
	}
	var secrets []string
	for _, args := range [][]string{
		{"export", "web", "--json"},
		{"export", "db", "--json"},
		{"migration", "prepare", "db", "--to", bob, "--json"},
	} {
		var said any
		if err := json.Unmarshal([]byte(succeeds(t, args...)), &said); err != nil {
			t.Fatal(err)
		}
		secrets = append(secrets, secretsOf(said)...)
	}
	if len(secrets) < 3 {
		t.Fatalf("the server told of the secrets %q", secrets)
	}
	config := filepath.Join(t.TempDir(), "elstore.yaml")
	if err := os.WriteFile(config, []byte("root: /mnt\nsome-token: S3cret\nother-password: |\n  S3cret\n  S3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "bundle.tar.gz")
	if said := succeeds(t, "support-bundle", "-o", out, "--root", root, "--config", config); !strings.Contains(said, out) {
		t.Errorf("printed %s", said)
	}
	files := unpack(t, out)
	for name, says := range map[string]string{
		"server/version.json": "api_versions", "server/pools.json": `"fast"`, "server/exports.json": `"iscsi"`, "server/metrics.txt": "elstore_build_info",
		"server/migrations.json": "PREPARED", "server/jobs.json": `"create"`, "doctor.json": `"volumes": 2`, "elstore.yaml": "root: /mnt", "machine/proc-meminfo.txt": "MemTotal",
	} {
		if !strings.Contains(files[name], says) {
			t.Errorf("%s is %.300q", name, files[name])
		}
	}
	for name, text := range files {
		for _, secret := range append(secrets, "S3cret") {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the secret %s", name, secret)
			}
		}
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	fails(t, exitFailure, "support-bundle", "-o", out) // it is there already
}

// secretsOf returns what stands under keys that are secrets.
func secretsOf(v any) (list []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, below := range v {
			if text, ok := below.(string); ok && (key == "secret" || key == "peer_secret") && !strings.HasPrefix(text, "<") {
				list = append(list, text)
			}
			list = append(list, secretsOf(below)...)
		}
	case []any:
		for _, below := range v {
			list = append(list, secretsOf(below)...)
		}
	}
	return list
}

// TestBundleSaysWhatIsMissing: what can't be had is no failure, and a part that hangs ends.
func TestBundleSaysWhatIsMissing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "b")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := []part{
		{"there.txt", func(context.Context) ([]byte, error) { return []byte("there"), nil }},
		{"gone.txt", reading("/nothing/of/this")},
		{"partly.txt", outputOf([]string{"sh", "-c", "echo half; exit 3"})},
	}
	if err := errors.Join(bundle(t.Context(), f, parts, time.Now()), f.Close()); err != nil {
		t.Fatal(err)
	}
	files := unpack(t, path)
	missing := files["missing.txt"]
	if len(files) != 3 || files["there.txt"] != "there" || files["partly.txt"] != "half\n" || !strings.Contains(missing, "gone.txt: ") || !strings.Contains(missing, "partly.txt: ") || strings.Contains(missing, "there.txt") {
		t.Errorf("%q", files)
	}
}
