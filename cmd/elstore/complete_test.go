package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"elstore/test/need"
)

// TestCompletion: what shells are offered, each line a word and what it is, the last one a directive of cobra's.
func TestCompletion(t *testing.T) {
	const dir4, dirFiles, dirNoSpace = ":4", ":0", ":6"
	volumes := ok(list(record(webID, "web", ""), record(dbID, "twin", ""), record(otherID, "twin", "")))
	tests := []struct {
		args    string // the last one is what was begun, "" for nothing
		answers map[string][]reply
		want    []string
	}{
		{
			"volume info ",
			map[string][]reply{"POST /accessible": {volumes}},
			[]string{"web\traw, 10 GB", dbID + "\ttwin, raw, 10 GB", otherID + "\ttwin, raw, 10 GB", dir4},
		},
		{"volume info w", map[string][]reply{"POST /accessible": {volumes}}, []string{"web\traw, 10 GB", dir4}},
		{"volume info 2BEF", map[string][]reply{"POST /accessible": {volumes}}, []string{webID + "\tweb, raw, 10 GB", dbID + "\ttwin, raw, 10 GB", dir4}},
		{"volume info web ", map[string][]reply{"POST /accessible": {volumes}}, []string{dbID + "\ttwin, raw, 10 GB", otherID + "\ttwin, raw, 10 GB", dir4}},
		{"volume convert web ", nil, []string{"raw", "qcow2", "rbd", dir4}},
		{"volume convert web raw ", nil, []string{dir4}},
		{"volume upload web ", nil, []string{dirFiles}},
		{"volume create ", nil, []string{dir4}},
		{"volume create web --bus ", nil, []string{"virtio", "scsi", "sata", "ide", dir4}},
		{"volume create web --pool ", map[string][]reply{"GET /pools": {ok(poolList)}}, []string{"fast\t/mnt/fast", "old\t/mnt/old", dir4}},
		{"volume set web p", nil, []string{"private=", dirNoSpace}},
		{"volume set web bus=s", nil, []string{"bus=scsi", "bus=sata", dir4}},
		{"volume restore ", map[string][]reply{"POST /trash": {ok(list(record(webID, "web", "")))}}, []string{"web\traw, 10 GB", dir4}},
		{"pool show f", map[string][]reply{"GET /pools": {ok(poolList)}}, []string{"fast\t/mnt/fast", dir4}},
		{"job show ", map[string][]reply{"GET /jobs": {ok(list(runningJob))}}, []string{jobID + "\tclone, running", dir4}},
		{"job wait ", map[string][]reply{"GET /jobs?state=queued&state=running": {ok(`[]`)}}, []string{dir4}},
		{"job wait x", map[string][]reply{"GET /jobs?state=queued&state=running": {refuses(500, "InternalError", "no")}}, []string{dir4}},
		{"volume info --server ftp://x ", nil, []string{dir4}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			newScript(t, tt.answers)
			args := append([]string{"__complete"}, strings.Split(tt.args, " ")...)
			o := elstore(t, args...)
			got := strings.Split(strings.TrimSpace(o.stdout), "\n")
			if o.code != exitOK || strings.Join(got, "|") != strings.Join(tt.want, "|") {
				t.Errorf("offered %q (code %d), want %q", got, o.code, tt.want)
			}
		})
	}
}

// TestCompletionScripts: the shells take them.
func TestCompletionScripts(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script := succeeds(t, "completion", shell)
		if !strings.Contains(script, "__complete") {
			t.Errorf("%s: the script does not ask the program:\n%.300s", shell, script)
		}
	}
	need.Program(t, "bash")
	path := filepath.Join(t.TempDir(), "elstore.bash")
	if err := os.WriteFile(path, []byte(succeeds(t, "completion", "bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "bash", "-n", path).CombinedOutput(); err != nil {
		t.Errorf("bash: %v\n%s", err, out)
	}
}
