package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/rig"
)

// program runs our binary with variables of the environment, and returns what it printed and whether it succeeded.
func program(t *testing.T, env []string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), rig.Binary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err == nil
}

func mustRun(t *testing.T, env []string, args ...string) string {
	t.Helper()
	out, ok := program(t, env, args...)
	if !ok {
		t.Fatalf("elstore %s:\n%s", strings.Join(args, " "), out)
	}
	return strings.TrimSpace(out)
}

// TestAccessControl is an operator's way: a certificate, the first token, a server with TLS, tokens for
// others from there, and what each of them can do; then a new certificate while it runs, and a restart.
func TestAccessControl(t *testing.T) {
	root := t.TempDir()
	rig.Pool(t, root, "pool", `{}`)
	certs, state := t.TempDir(), filepath.Join(root, ".elstore")
	mustRun(t, nil, "cert", "127.0.0.1", "localhost", "--dir", certs)
	cert, key := filepath.Join(certs, "elstore-cert.pem"), filepath.Join(certs, "elstore-key.pem")
	operator := mustRun(t, nil, "token", "create", "admin", "--role", "operator", "--state", state, "-q")

	args := []string{"--access-control", "--tls-cert", cert, "--tls-key", key, "--log-level", "debug"}
	s := rig.Start(t, root, args...)
	port := s.URL[strings.LastIndexByte(s.URL, ':')+1:]
	at := "ELSTORE_SERVER=https://127.0.0.1:" + port
	as := func(token string) []string { return []string{at, "ELSTORE_CA=" + cert, "ELSTORE_TOKEN=" + token} }

	if out, ok := program(t, []string{at, "ELSTORE_TOKEN=" + operator}, "token", "list"); ok || !strings.Contains(out, "certificate") {
		t.Errorf("a server that nobody vouches for is believed:\n%s", out)
	}
	if out, ok := program(t, []string{at, "ELSTORE_CA=" + cert}, "pool", "list"); ok || !strings.Contains(out, "asks who you are") {
		t.Errorf("without a token:\n%s", out)
	}
	alice := mustRun(t, as(operator), "token", "create", "alice", "-q")
	bob := mustRun(t, as(operator), "token", "create", "bob", "-q", "--expires", "1d")
	reader := mustRun(t, as(operator), "token", "create", "watch", "--role", "reader", "-q")

	vid := mustRun(t, as(alice), "volume", "create", "secret", "--size", "1M", "--private", "-q")
	if out := mustRun(t, as(alice), "volume", "list"); !strings.Contains(out, "secret") {
		t.Errorf("alice doesn't see hers:\n%s", out)
	}
	for who, token := range map[string]string{"bob": bob, "the reader": reader} {
		if out := mustRun(t, as(token), "volume", "list"); strings.Contains(out, "secret") {
			t.Errorf("%s sees alice's:\n%s", who, out)
		}
		if out, ok := program(t, as(token), "volume", "destroy", "--yes", vid); ok && !strings.Contains(out, vid) {
			t.Errorf("%s: %s", who, out)
		}
		if out, ok := program(t, as(token), "token", "create", "more", "--role", "operator"); ok || !strings.Contains(out, "may not do this") {
			t.Errorf("%s: %s", who, out)
		}
	}
	if out := mustRun(t, as(alice), "volume", "list"); !strings.Contains(out, "secret") {
		t.Errorf("somebody destroyed alice's:\n%s", out)
	}

	// A new certificate counts for the next connection that is a second younger.
	mustRun(t, nil, "cert", "127.0.0.1", "--dir", certs, "--replace")
	want, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if block, _ := pem.Decode(want); !bytes.Equal(conn.ConnectionState().PeerCertificates[0].Raw, block.Bytes) {
			return "the old certificate is served"
		}
		return ""
	})

	id := alice[5:21]
	mustRun(t, as(operator), "token", "revoke", id)
	if out, ok := program(t, as(alice), "volume", "list"); ok || !strings.Contains(out, "revoked") {
		t.Errorf("alice's token is revoked:\n%s", out)
	}
	log := mustRun(t, as(operator), "audit", "--json")
	var entries []struct {
		Who, Method, Route string
		Status             int
	}
	if err := json.Unmarshal([]byte(log), &entries); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, e := range entries {
		fmt.Fprintln(&said, e.Who, e.Method, e.Route, e.Status)
	}
	for _, want := range []string{"admin POST /tokens 200", "alice POST /create 202", "bob POST /tokens 403", "watch POST /destroy 403", "admin DELETE /tokens/{id} 200"} {
		if !strings.Contains(said.String(), want+"\n") {
			t.Errorf("%q is not in the audit log:\n%s", want, said.String())
		}
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
	everything := s.Log() + log
	for who, token := range map[string]string{"admin": operator, "alice": alice, "bob": bob} {
		if strings.Contains(everything, token[22:]) {
			t.Errorf("the token of %s is in a log", who)
		}
	}
	again := rig.Start(t, root, "--access-control")
	for token, want := range map[string]int{bob: 200, alice: 401, "": 401} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, again.URL+"/api/v1.0/whoami", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", token)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("after a restart: %s, want %d", resp.Status, want)
		}
	}
}
