// Package audit remembers who did what, on what, and how it ended: one JSON object a line, in files that are bounded.
//
// An entry is in the file when Append returns, so a killed process loses none, and a machine that loses its power the
// last seconds. JSON escapes line breaks, so no name and no header can forge a line. The newest file is
// audit.jsonl; when it would grow beyond its bound it becomes audit.1.jsonl, that audit.2.jsonl, and the oldest goes.
package audit
