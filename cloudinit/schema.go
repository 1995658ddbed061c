package cloudinit

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"elstore/volume/fault"
)

// Schema checks cloud-configs by cloud-init's own schema, with the cloud-init that is installed on this machine. A nil Schema
// finds nothing wrong. It may be used by many goroutines at once.
type Schema struct {
	program string
	running chan struct{} // bounds how many run at a time
}

// schemaPatience is how long cloud-init may take; Python needs some tenths of a second to start.
const schemaPatience = 20 * time.Second

// FindSchema returns a Schema, or nil where no cloud-init is installed.
func FindSchema() *Schema {
	program, err := exec.LookPath("cloud-init")
	if err != nil {
		return nil
	}
	return &Schema{program, make(chan struct{}, 2)}
}

// Check refuses, with CloudInitMetadataUploadFailed, user-data or vendor-data that is a #cloud-config and that the schema refuses. The error
// names what is wrong and its line, and has no value of the file in it: some are secrets. Other files, and what cloud-init can't
// judge, are good.
func (s *Schema) Check(ctx context.Context, name string, data []byte) error {
	if s == nil || name != UserData && name != VendorData || !bytes.HasPrefix(data, []byte("#cloud-config\n")) {
		return nil
	}
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, schemaPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.program, "schema", "--config-file", "/dev/stdin") //nolint:gosec // found in PATH
	cmd.Stdin = bytes.NewReader(data)
	cmd.WaitDelay = time.Second
	said, err := cmd.CombinedOutput()
	if _, refused := errors.AsType[*exec.ExitError](err); !refused {
		return nil // it is good, or cloud-init could not be run
	}
	place, says, ok := schemaError(string(said))
	if !ok {
		return nil
	}
	return fault.Errorf(fault.CloudInitMetadataUploadFailed, "%w", invalid(name, lineOf(data, place), place+" "+says+", says cloud-init's own schema"))
}

const (
	schemaErrors = "Cloud config schema errors: "
	keyOrIndex   = `[A-Za-z0-9_-]+`
)

var (
	// schemaPlace is where in the document an error is: users.0.name. One of the whole document has none.
	schemaPlace = regexp.MustCompile(`^(?:(` + keyOrIndex + `(?:\.` + keyOrIndex + `)*)?: )`)
	// schemaNext is where the second of several errors begins.
	schemaNext = regexp.MustCompile(`, ` + keyOrIndex + `(?:\.` + keyOrIndex + `)*: `)
	// schemaReason is what of an error says what is allowed, without the value that is not.
	schemaReason = regexp.MustCompile(`is not of type '\w+'(?:, '\w+')*|is not one of \[[^\]\n]*\]|does not match '[^'\n]*'|is too long|is too short|has non-unique elements|` +
		`is a required property|(?:was|were) unexpected`)
)

// schemaError finds the first error in what `cloud-init schema` says. Pure.
func schemaError(said string) (place, says string, ok bool) {
	_, first, ok := strings.Cut(said, schemaErrors)
	if !ok {
		return "", "", false
	}
	if m := schemaPlace.FindStringSubmatch(first); m != nil {
		place = m[1]
	}
	if strings.HasPrefix(place, "format-") { // no YAML, as cloud-init reads it
		return "the document", "is not valid YAML", true
	}
	if next := schemaNext.FindStringIndex(first); next != nil {
		first = first[:next[0]]
	}
	switch says = schemaReason.FindString(first); {
	case says == "":
		says = "does not fit"
	case strings.HasSuffix(says, "unexpected"):
		says = "has a key that is not known"
	case says == "is a required property":
		says = "lacks a key that is required"
	}
	if place == "" {
		place = "the document"
	}
	return place, says, true
}

// lineOf is the line of what a path such as users.0.name leads to, 0 where that is not found.
func lineOf(data []byte, place string) int {
	n, err := parse(UserData, data, 0)
	if err != nil || n == nil {
		return 0
	}
	for part := range strings.SplitSeq(place, ".") {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if i, err := strconv.Atoi(part); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
			n = n.Content[i]
			continue
		}
		if n = get(n, part); n == nil {
			return 0
		}
	}
	return n.Line
}
