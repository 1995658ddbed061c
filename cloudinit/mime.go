package cloudinit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
)

// isMIME reports whether a first line is a MIME message's (RFC 2045).
func isMIME(first string) bool {
	lower := strings.ToLower(first)
	return strings.HasPrefix(lower, "content-type:") || strings.HasPrefix(lower, "mime-version:") || strings.HasPrefix(lower, "from ")
}

// maxParts bounds the parts of one message.
const maxParts = 256

// checkMIME checks a message and each of its parts. Lines in errors about a part are counted from the part's own first line.
func (z *inflation) checkMIME(name string, data []byte, skipped, depth int) error {
	if bytes.HasPrefix(data, []byte("From ")) { // an mbox's envelope
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	m, err := mail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		return invalid(name, skipped+1, "a MIME message was expected: "+err.Error())
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return invalid(name, headerLine(data, skipped), "the Content-Type can't be read: "+err.Error())
	}
	if !strings.HasPrefix(kind, "multipart/") {
		return z.checkPart(name, kind, m.Header.Get("Content-Transfer-Encoding"), m.Body, depth)
	}
	if params["boundary"] == "" {
		return invalid(name, headerLine(data, skipped), "the Content-Type "+quoted(kind)+" has no boundary, which was expected")
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for n := 1; ; n++ {
		part, err := parts.NextRawPart()
		switch {
		case errors.Is(err, io.EOF) && n > 1:
			return nil
		case errors.Is(err, io.EOF):
			return invalid(name, 0, "it has no part between its boundaries "+quoted(params["boundary"]))
		case err != nil:
			return invalid(name, 0, "its part "+itoa(n)+" can't be read: "+err.Error())
		case n > maxParts:
			return invalid(name, 0, "it has over "+itoa(maxParts)+" parts")
		}
		of := name + " part " + itoa(n)
		inner, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			inner = "text/plain"
		}
		if err := z.checkPart(of, inner, part.Header.Get("Content-Transfer-Encoding"), part, depth+1); err != nil {
			return err
		}
	}
}

func headerLine(data []byte, skipped int) int {
	line := skipped
	for l := range bytes.Lines(data) {
		line++
		if strings.HasPrefix(strings.ToLower(string(l)), "content-type:") {
			break
		}
	}
	return line
}

// checkPart checks a part by its type as cloud-init does; text/plain by what it begins with.
func (z *inflation) checkPart(name, kind, encoding string, body io.Reader, depth int) error {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	}
	data, err := io.ReadAll(io.LimitReader(body, MaxBytes+1))
	if err != nil {
		return invalid(name, 0, "it can't be read: "+err.Error())
	}
	if len(data) > MaxBytes {
		return TooLarge()
	}
	switch kind {
	case "text/cloud-config":
		return checkCloudConfig(name, data, 0)
	case "text/cloud-config-archive":
		return checkSequence(name, data, 0)
	case "text/x-shellscript", "text/x-shellscript-per-boot", "text/x-shellscript-per-instance", "text/x-shellscript-per-once":
		first, _, _ := strings.Cut(string(data[:min(len(data), 1024)]), "\n")
		if !strings.HasPrefix(first, "#!") {
			return invalid(name, 1, "the first line is "+begins(first)+"; #! and an interpreter was expected")
		}
		return checkScript(name, first, 0)
	case "text/x-include-url", "text/x-include-once-url":
		return checkInclude(name, data, 0)
	case "application/gzip", "application/x-gzip", "application/gzip-compressed", "application/gzipped", "application/x-gzip-compressed",
		"application/x-compress", "application/x-compressed", "application/x-gunzip":
		plain, err := z.unzip(name, data)
		if err != nil {
			return err
		}
		return z.plainPart(name+" (gzip)", plain, depth)
	case "text/plain":
		return z.plainPart(name, data, depth)
	}
	return nil
}

// plainPart checks a part whose type tells nothing.
func (z *inflation) plainPart(name string, data []byte, depth int) error {
	if !beginsLikeUserData.Match(data) && !isGzip(data) {
		return nil // cloud-init takes it for a script or passes over it
	}
	return z.checkUserData(name, data, 0, depth+1)
}

var beginsLikeUserData = regexp.MustCompile(`^(#|Content-Type:|MIME-Version:)`)
