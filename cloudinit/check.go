package cloudinit

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"elstore/volume/fault"
)

// InvalidError is what is wrong with a file of a seed.
type InvalidError struct {
	File string
	Line int    // from 1; 0 where no line is to blame
	Says string // what is wrong, and what was expected
}

// Error names the file, the line and what was expected.
func (e *InvalidError) Error() string {
	if e.Line == 0 {
		return e.File + ": " + e.Says
	}
	return e.File + " line " + itoa(e.Line) + ": " + e.Says
}

func invalid(file string, line int, says string) error { return &InvalidError{file, line, says} }

// Check refuses a file that cloud-init would not understand, with CloudInitMetadataUploadFailed: the error's sentence names the
// file, the line and what was expected. Names other than cloud-init's own hold what they like. Pure.
func Check(name string, data []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if len(data) > MaxBytes {
		return TooLarge()
	}
	var err error
	switch name {
	case UserData, VendorData:
		err = new(inflation).checkUserData(name, data, 0, 0)
	case MetaData:
		err = checkMetaData(name, data)
	case NetworkConfig, NetworkData:
		err = checkNetwork(name, data)
	}
	if bad, ok := errors.AsType[*InvalidError](err); ok {
		return fault.Errorf(fault.CloudInitMetadataUploadFailed, "%w", bad)
	}
	return err
}

// maxNesting bounds how deep MIME messages and gzip lie in each other.
const maxNesting = 8

// inflation counts the bytes that the gzip in one file became, also in the parts of a MIME message: together they have the bound of a
// seed.
type inflation struct{ bytes int64 }

const headers = "#cloud-config, #!, #include, #cloud-boothook, #part-handler, ## template: jinja, a MIME message or gzip of these"

// checkUserData checks user-data and vendor-data in any of cloud-init's formats. The file's first line is number skipped+1.
func (z *inflation) checkUserData(name string, data []byte, skipped, depth int) error {
	if depth > maxNesting {
		return invalid(name, 0, "its parts lie over 8 deep in each other")
	}
	if isGzip(data) {
		plain, err := z.unzip(name, data)
		if err != nil {
			return err
		}
		return z.checkUserData(name+" (gzip)", plain, 0, depth+1)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	first, _, _ := strings.Cut(string(data[:min(len(data), 1024)]), "\n")
	first = strings.TrimRight(first, "\r \t")
	is := func(begin string) bool { return strings.HasPrefix(first, begin) }
	switch {
	case is("#!"):
		return checkScript(name, first, skipped)
	case first == "#cloud-config":
		return checkCloudConfig(name, data, skipped)
	case is("## template:"):
		return checkTemplate(name, data, first, skipped)
	case is("#cloud-config-archive"):
		return checkSequence(name, data, skipped)
	case is("#include"):
		return checkInclude(name, data, skipped)
	case is("#cloud-config-jsonp"), is("#cloud-boothook"), is("#part-handler"), is("#upstart-job"):
		return nil
	case isMIME(first):
		return z.checkMIME(name, data, skipped, depth)
	case is("#cloud-config"):
		return invalid(name, skipped+1, "the first line is "+quoted(first)+"; #cloud-config was expected, alone on its line")
	case is("\ufeff"):
		return invalid(name, skipped+1, "it begins with a byte order mark; it must begin with one of "+headers)
	}
	return invalid(name, skipped+1, "the first line is "+begins(first)+"; expected is one of "+headers)
}

func isGzip(data []byte) bool { return bytes.HasPrefix(data, []byte("\x1f\x8b")) }

// unzip inflates within what is left of the bound.
func (z *inflation) unzip(name string, data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, invalid(name, 0, "gzip was expected: "+err.Error())
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxBytes-z.bytes+1))
	z.bytes += int64(len(plain))
	switch {
	case err != nil:
		return nil, invalid(name, 0, "its gzip is broken: "+err.Error())
	case z.bytes > MaxBytes:
		return nil, fault.Errorf(fault.BodyTooLarge, "%s: the gzip in it becomes over %d bytes (16 MiB) together, which is the most for a seed", name, MaxBytes)
	}
	return plain, nil
}

func checkScript(name, first string, skipped int) error {
	program := strings.TrimSpace(strings.TrimPrefix(first, "#!"))
	if !strings.HasPrefix(program, "/") {
		return invalid(name, skipped+1, "the first line is "+quoted(first)+"; the absolute path of an interpreter was expected after #!")
	}
	return nil
}

// checkTemplate looks past a template's first line only for what it becomes, which nobody knows before it is rendered.
func checkTemplate(name string, data []byte, first string, skipped int) error {
	engine := strings.TrimSpace(strings.TrimPrefix(first, "## template:"))
	if engine != "jinja" {
		return invalid(name, skipped+1, "the template's engine is "+quoted(engine)+"; jinja was expected")
	}
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	second, _, _ := strings.Cut(string(rest[:min(len(rest), 1024)]), "\n")
	second = strings.TrimRight(second, "\r \t")
	if second != "#cloud-config" && !strings.HasPrefix(second, "#!") && !strings.HasPrefix(second, "#cloud-") {
		return invalid(name, skipped+2, "the line after ## template: jinja is "+begins(second)+"; #cloud-config or a script was expected")
	}
	return nil
}

// checkInclude expects a URL on each line.
func checkInclude(name string, data []byte, skipped int) error {
	s := bufio.NewScanner(bytes.NewReader(data))
	for line := 1; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		scheme, rest, ok := strings.Cut(text, "://")
		if !ok || rest == "" || strings.ContainsAny(scheme, " /") {
			return invalid(name, skipped+line, begins(text)+" is no URL; #include expects one on each line")
		}
	}
	if s.Err() != nil {
		return invalid(name, 0, "it has a line that is too long")
	}
	return nil
}

// begins tells a line that is not what it should be by its beginning: what follows may be a secret in the wrong place, and what is said
// of it lands in the log.
func begins(line string) string {
	const short = 16
	if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "<") {
		return quoted(line)
	}
	cut := strings.IndexAny(line, " \t:=")
	if cut < 0 || cut >= short {
		cut = short - 1
	}
	if r := []rune(strings.ToValidUTF8(line, "?")); len(r) > cut+1 {
		line = string(r[:cut+1]) + "…"
	}
	return quote(line)
}

// quoted shortens and quotes what a file says, for a sentence.
func quoted(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if r := []rune(s); len(r) > 48 {
		s = string(r[:48]) + "…"
	}
	return quote(s)
}

func text(name string, data []byte) error {
	if utf8.Valid(data) {
		return nil
	}
	line := 1
	for l := range bytes.Lines(data) {
		if !utf8.Valid(l) {
			break
		}
		line++
	}
	return invalid(name, line, "it is not UTF-8")
}
