package login

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write what the target answers into testdata")

// TestTranscripts plays the initiators of testdata: what they send, in their order and with their values, is
// made by hand by their source code or, for those without, by what they are known to send; what the target
// answers was read over once, and stays so.
//
// A line with > is a request, flags and stages; one with < the response; those between are its pairs. @chap(x)
// is the answer to the challenge with the secret x. A line with = says how things are, or what came of it.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d transcripts: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(want) {
				t.Errorf("it went\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// play plays the requests of a transcript, and returns it with what was answered.
func play(t *testing.T, transcript string) string {
	k := newKnown(CHAPRequired)
	var c Config
	var i *initiator
	var out strings.Builder
	lines := strings.Split(strings.TrimSuffix(transcript, "\n"), "\n")
	for n := 0; n < len(lines); n++ {
		line := lines[n]
		switch {
		case strings.HasPrefix(line, "#"):
			out.WriteString(line + "\n")
		case strings.HasPrefix(line, "= ") && i == nil:
			out.WriteString(line + "\n")
			setting(t, k, &c, strings.TrimPrefix(line, "= "))
		case strings.HasPrefix(line, "> "):
			if i == nil {
				c.Authority = k
				i = newInitiator(t, c)
			}
			out.WriteString(line + "\n")
			var pairs []string
			for ; n+1 < len(lines) && !strings.ContainsAny(lines[n+1][:1], "><=#"); n++ {
				pairs = append(pairs, lines[n+1])
				out.WriteString(lines[n+1] + "\n")
			}
			reply, answers := i.send(strings.TrimPrefix(line, "> "), pairs...)
			fmt.Fprintf(&out, "< %s\n", describe(reply))
			for _, answer := range answers {
				out.WriteString(answer + "\n")
			}
			if _, asked := i.sent["CHAP_C"]; asked && reply.Outcome != Failed && i.got["CHAP_N"] != "" {
				i.checkProof()
			}
			if reply.Outcome == Done {
				r := i.login.Result()
				fmt.Fprintf(&out, "= %+v\n= %v %q\n", r.Params, r.Attachment, r.CHAPName)
			}
			for n+1 < len(lines) && !strings.ContainsAny(lines[n+1][:1], ">#") { // what was answered before
				n++
			}
		default:
			t.Fatalf("line %d: %q", n+1, line)
		}
	}
	return out.String()
}

// setting changes how the target is.
func setting(t *testing.T, k *known, c *Config, what string) {
	switch what {
	case "CHAP is required":
		k.security = CHAPRequired
	case "CHAP is optional":
		k.security = CHAPOptional
	case "CHAP is off":
		k.security = NoSecurity
	case "MD5 is off":
		c.NoMD5 = true
	case "digests are off":
		c.NoDigests = true
	case "no unsolicited data":
		c.InitialR2T = true
	case "the target has an alias":
		k.alias = "the first disk"
	case "the target has moved":
		k.status, k.address = 0x0101, "192.0.2.7:3260,1"
	case "the target has moved for good":
		k.status, k.address = 0x0102, "[2001:db8::7]:3260"
	default:
		t.Fatalf("nobody knows what %q means", what)
	}
}
