package rest

import (
	"fmt"
	"strconv"
	"strings"

	"elstore/volume/fault"
)

// ContentRange is the header of that name (RFC 9110 section 14.4): which bytes of the whole a body holds.
type ContentRange struct {
	First, Last int64 // the first and the last byte, both included; -1 both in "bytes */total"
	Total       int64 // bytes of the whole; -1 where it is not known ("bytes a-b/*")
}

// Len returns how many bytes the range holds, 0 where it names none.
func (c ContentRange) Len() int64 {
	if c.First < 0 {
		return 0
	}
	return c.Last - c.First + 1
}

// String returns the header's text.
func (c ContentRange) String() string {
	span, total := "*", "*"
	if c.First >= 0 {
		span = fmt.Sprintf("%d-%d", c.First, c.Last)
	}
	if c.Total >= 0 {
		total = strconv.FormatInt(c.Total, 10)
	}
	return "bytes " + span + "/" + total
}

// ParseContentRange reads "bytes a-b/total", "bytes a-b/*" or "bytes */total". Its error is a fault of code
// UploadInvalidRange.
func ParseContentRange(s string) (ContentRange, error) {
	refused := fault.Errorf(fault.UploadInvalidRange,
		`Content-Range is %s; allowed is "bytes first-last/total", "bytes first-last/*" or "bytes */total", with first <= last < total`,
		shorten(quote(s)))
	unit, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ContentRange{}, refused
	}
	span, whole, ok := strings.Cut(rest, "/")
	if !ok {
		return ContentRange{}, refused
	}
	c := ContentRange{First: -1, Last: -1, Total: -1}
	if whole != "*" {
		if c.Total, ok = decimal(whole); !ok {
			return ContentRange{}, refused
		}
	}
	if span == "*" {
		if c.Total < 0 {
			return ContentRange{}, refused
		}
		return c, nil
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return ContentRange{}, refused
	}
	var okFirst, okLast bool
	c.First, okFirst = decimal(first)
	c.Last, okLast = decimal(last)
	// The last byte is below the greatest number, so that Len and Last+1 can't overflow.
	if !okFirst || !okLast || c.First > c.Last || c.Last == 1<<63-1 || c.Total >= 0 && c.Last >= c.Total {
		return ContentRange{}, refused
	}
	return c, nil
}

// decimal reads digits and nothing else, as far as an int64 goes.
func decimal(s string) (int64, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
