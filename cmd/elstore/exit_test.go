package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestExitCodes: what a server answers, and the code that a command ends with.
func TestExitCodes(t *testing.T) {
	tests := []struct {
		status int
		code   string
		want   int
	}{
		{400, "BadRequest", exitUsage},
		{400, "VolumeFormatNotAllowed", exitUsage},
		{400, "VolumeBusNotAllowed", exitUsage},
		{400, "VolumeCloningAlgNotAllowed", exitUsage},
		{400, "UnsupportedFormat", exitUsage},
		{400, "ImageRefused", exitFailure},
		{400, "ChecksumMismatch", exitFailure},
		{400, "FetchFailed", exitFailure},
		{400, "VolumeImpossibleCreatorIDMetaUpdate", exitNotAllowed},
		{401, "Unauthorized", exitNotAllowed},
		{403, "NotAllowed", exitNotAllowed},
		{403, "VolumeNotClonable", exitNotAllowed},
		{404, "VolumeNotFound", exitNotFound},
		{404, "PoolNotFound", exitNotFound},
		{404, "NoSuchVersion", exitNotFound},
		{409, "VolumeAlredyLocked", exitConflict},
		{409, "VolumeInUse", exitConflict},
		{409, "IdempotencyKeyReused", exitConflict},
		{412, "ConditionFailed", exitConflict},
		{413, "BodyTooLarge", exitFailure},
		{429, "RateLimited", exitUnavailable},
		{500, "InternalError", exitFailure},
		{503, "PoolUnavailable", exitUnavailable},
		{503, "ShuttingDown", exitUnavailable},
		{507, "VolumeNotAllocable", exitNoSpace},
		{507, "PoolFull", exitNoSpace},
		// Codes of a newer server, and a proxy without one.
		{404, "Tomorrow", exitNotFound},
		{409, "Tomorrow", exitConflict},
		{403, "Tomorrow", exitNotAllowed},
		{503, "Tomorrow", exitUnavailable},
		{507, "Tomorrow", exitNoSpace},
		{400, "Tomorrow", exitFailure},
		{502, "", exitUnavailable},
		{401, "", exitNotAllowed},
		{500, "", exitFailure},
	}
	for _, tt := range tests {
		t.Run(http.StatusText(tt.status)+" "+tt.code, func(t *testing.T) {
			answer := refuses(tt.status, tt.code, "it is so")
			if tt.code == "" {
				answer.body = "<html>it is so"
			}
			newScript(t, map[string][]reply{"GET /pools": {answer}})
			if said := fails(t, tt.want, "pool", "list"); !strings.HasPrefix(said, "elstore: ") || !strings.Contains(said, "it is so") {
				t.Errorf("said %q", said)
			}
		})
	}
}

func TestExitCodesAreDocumented(t *testing.T) {
	help := succeeds(t, "help", "exit-codes")
	for _, code := range []string{"0 ", "1 ", "2 ", "3 ", "4 ", "5 ", "6 ", "7 ", "130 "} {
		if !strings.Contains(help, "\n  "+code) {
			t.Errorf("the help does not list code %s", code)
		}
	}
}

func TestUsage(t *testing.T) {
	newScript(t, nil) // whoever asks the server fails the test
	tests := []struct {
		args, says string
	}{
		{"nonsense", "no command \"nonsense\""},
		{"volum list", "did you mean volume?"},
		{"volume creat", "did you mean create?"},
		{"volume rename web db", "did you mean set?"},
		{"pool create fast", "put a settings.json"},
		{"list", "did you mean `elstore volume list`?"},
		{"create web --size 1G", "did you mean `elstore"},
		{"trash restore web", "did you mean `elstore volume restore`?"},
		{"volume remove web", "did you mean destroy?"},
		{"attach web", "did you mean export?"},
		{"volume nonsense", "`elstore volume` has no command"},
		{"volume create", "NAME is missing"},
		{"volume create web", "--size is missing"},
		{"volume create web --sise 4", "did you mean --size?"},
		{"volume create web --nonsense", "unknown flag: --nonsense"},
		{"volume create web --size", "needs an argument"},
		{"volume create web --size 0", "over 0 and under 1Pi"},
		{"volume create web --size -4", "is not understood"},
		{"volume create web --size 1e9", "is not understood"},
		{"volume create web --size 2Pi", "over 0 and under 1Pi"},
		{"volume create web --size 10G --private=perhaps", "invalid argument \"perhaps\""},
		{"volume create web --size 10G --checksum x", "--url"},
		{"volume create web db --url http://x", "one image makes one volume"},
		{"volume create web --size 10G --creator me", "32 hexadecimal digits"},
		{"volume create web --size 10G --client me", "--client is \"me\""},
		{"volume list extra", "one argument too many"},
		{"volume list --limit -1", "--limit is -1"},
		{"volume list --filter x", "not of the form key=value"},
		{"volume list --filter x=1 --filter x=2", "names x twice"},
		{"volume info", "VOLUME is missing"},
		{"volume set web", "KEY=VALUE is missing"},
		{"volume set web x", "not of the form key=value"},
		{"volume set web =x", "not of the form key=value"},
		{"volume resize web", "SIZE is missing"},
		{"volume resize web 5X", "is not understood"},
		{"volume convert web", "FORMAT is missing"},
		{"volume clone web", "NAME is missing"},
		{"volume transfer web", "OWNER is missing"},
		{"volume transfer web bob", "OWNER is \"bob\""},
		{"volume import web", "either --path or --url"},
		{"volume import web --path x --url y", "either --path or --url"},
		{"volume upload web", "FILE is missing"},
		{"volume upload web /does/not/exist", "no such file"},
		{"volume download", "VOLUME is missing"},
		{"volume restore", "VOLUME is missing"},
		{"job show", "JOB is missing"},
		{"job wait", "JOB is missing"},
		{"pool list --server ftp://x", "neither http nor https"},
		{"volume list --server http://storage.example.org", "say who you are with --client"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			said := fails(t, exitUsage, strings.Fields(tt.args)...)
			if !strings.Contains(said, tt.says) {
				t.Errorf("said %q, want %q in it", said, tt.says)
			}
			if !strings.Contains(said, "--help`.") || strings.Count(said, "\n") != 2 {
				t.Errorf("said %q, want one sentence and where to look", said)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	said := fails(t, exitUnavailable, "pool", "list", "--server", l.Addr().String())
	if !strings.Contains(said, "http://"+l.Addr().String()) || !strings.Contains(said, "elstore serve") {
		t.Errorf("said %q, want where it looked and what to do", said)
	}
}

// TestInterrupted: Ctrl-C while a job runs says that the job goes on.
func TestInterrupted(t *testing.T) {
	for _, args := range []string{"volume create web --size 1", "job wait " + jobID} {
		t.Run(args, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					w.Header().Set("Location", "/api/v1.0/jobs/"+jobID)
					w.WriteHeader(http.StatusAccepted)
					return
				}
				_, _ = w.Write([]byte(runningJob))
				cancel()
			}))
			defer web.Close()
			o := elstoreIn(ctx, "", append(strings.Fields(args), "--server", web.URL)...)
			if o.code != exitInterrupted || o.stdout != "" {
				t.Errorf("code %d, printed %q", o.code, o.stdout)
			}
			for _, want := range []string{"interrupted", "goes on", "elstore job wait " + jobID, "elstore job cancel " + jobID} {
				if !strings.Contains(o.stderr, want) {
					t.Errorf("said %q, want %q in it", o.stderr, want)
				}
			}
		})
	}
}

func TestInterruptedBeforeTheJob(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	newScript(t, nil)
	o := elstoreIn(ctx, "", "volume", "list")
	if o.code != exitInterrupted || o.stderr != "elstore: interrupted\n" {
		t.Errorf("code %d, said %q", o.code, o.stderr)
	}
}

// TestServerCannotGarbleTheTerminal: its sentences come printable.
func TestServerCannotGarbleTheTerminal(t *testing.T) {
	newScript(t, map[string][]reply{"GET /pools": {{status: 409, body: `{"error":"a\u001b[2Jb\u0007","code":"VolumeInUse"}`}}})
	if said := fails(t, exitConflict, "pool", "list"); strings.ContainsAny(said, "\x1b\a") {
		t.Errorf("said %q", said)
	}
}
