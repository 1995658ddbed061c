package qemu

import (
	"bytes"
	"strconv"
)

// Progress is told how far a call came, in bytes of the image's virtual size. done never falls, and is total only
// once, when everything is on stable storage. It is called by one goroutine at a time, never after the call it was
// given to returned, and must not block.
type Progress func(done, total int64)

// progressWriter reads what qemu-img -p prints, "    (12.34/100%)\r" again and again, cut anywhere.
type progressWriter struct {
	report func(percent float64) // called with 0 to 100, each larger than the one before
	line   []byte                // of the report that is not yet complete
	last   float64               // what was reported last; nothing was while reported is false
	any    bool
}

// maxReport is the number of bytes that a report has at most. A longer line is none.
const maxReport = 64

// Write never fails. What is no report is passed over.
func (w *progressWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\r' || b == '\n' {
			w.complete()
			continue
		}
		if len(w.line) <= maxReport {
			w.line = append(w.line, b)
		}
	}
	return len(p), nil
}

// complete reads the line and forgets it.
func (w *progressWriter) complete() {
	percent, ok := parseReport(w.line)
	w.line = w.line[:0]
	if !ok || w.any && percent <= w.last {
		return
	}
	w.last, w.any = percent, true
	w.report(percent)
}

// parseReport reads "(12.34/100%)" with blanks around it.
func parseReport(line []byte) (percent float64, ok bool) {
	line = bytes.TrimSpace(line)
	if len(line) > maxReport {
		return 0, false
	}
	line, ok = bytes.CutPrefix(line, []byte("("))
	if !ok {
		return 0, false
	}
	line, ok = bytes.CutSuffix(line, []byte("/100%)"))
	if !ok {
		return 0, false
	}
	percent, err := strconv.ParseFloat(string(line), 64)
	if err != nil || !(percent >= 0 && percent <= 100) { // not a number is neither
		return 0, false
	}
	return percent, true
}

// share returns percent of total, and less than total: nothing is done before it is on stable storage.
func share(percent float64, total int64) int64 {
	hundredths := int64(percent * 100) // as exact as it is printed
	done := total/10000*hundredths + total%10000*hundredths/10000
	return max(0, min(done, total-1))
}
