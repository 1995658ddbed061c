package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestMessages(t *testing.T) {
	type said struct{ id, kind, data string }
	tests := []struct {
		name string
		in   string
		want []said
		last string // the id to go on after
	}{
		{"one", "id: 7\nevent: job.changed\ndata: {}\n\n", []said{{"7", "job.changed", "{}"}}, "7"},
		{"no spaces, CRLF", "id:7\r\nevent:x\r\ndata:{}\r\n\r\n", []said{{"7", "x", "{}"}}, "7"},
		{"several lines of data", "data: a\ndata: b\n\n", []said{{"", "", "a\nb"}}, ""},
		{"the id stays", "id: 1\ndata: a\n\ndata: b\n\n", []said{{"1", "", "a"}, {"1", "", "b"}}, "1"},
		{"comments and retry", ": heartbeat\nretry: 2000\n\ndata: a\n\n", []said{{"", "", "a"}}, ""},
		{"a heartbeat moves the id", "data: a\n\n: heartbeat\nid: 9\n\n", []said{{"", "", "a"}}, "9"},
		{"the kind is of one message", "event: x\n\ndata: a\n\n", []said{{"", "", "a"}}, ""},
		{"cut off", "id: 1\ndata: a\n\nid: 2\ndata: b\n", []said{{"1", "", "a"}}, "1"},
		{"cut off within a line", "id: 1\ndata: a\n\nid: 2\nda", []said{{"1", "", "a"}}, "1"},
		{"empty data", "data\n\n", []said{{"", "", ""}}, ""},
		{"an id with NUL is none", "id: 1\x002\ndata: a\n\n", []said{{"", "", "a"}}, ""},
		{"nothing", "", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMessages(iotest.OneByteReader(strings.NewReader(tt.in)))
			var got []said
			for {
				msg, err := m.next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, said{msg.id, msg.kind, string(msg.data)})
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("message %d is %q, want %q", i, got[i], tt.want[i])
				}
			}
			if m.id != tt.last {
				t.Errorf("the id to go on after is %q, want %q", m.id, tt.last)
			}
		})
	}
}

func TestMessagesBound(t *testing.T) {
	line := "data: " + strings.Repeat("x", maxEvent/4) + "\n"
	for name, in := range map[string]string{"one line": "data: " + strings.Repeat("x", 2*maxEvent), "many": strings.Repeat(line, 8) + "\n"} {
		if _, err := newMessages(strings.NewReader(in)).next(); !errors.Is(err, errLongEvent) {
			t.Errorf("%s: error %v, want %v", name, err, errLongEvent)
		}
	}
	broken := errors.New("broken")
	if _, err := newMessages(iotest.ErrReader(broken)).next(); !errors.Is(err, broken) {
		t.Errorf("error %v, want the reader's", err)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte("id: 7\nevent: job.changed\ndata: {}\n\n: c\nid: 8\n\n"))
	f.Add([]byte("data\rdata: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m := newMessages(bytes.NewReader(in))
		for {
			msg, err := m.next()
			if err != nil {
				return
			}
			if len(msg.data) > maxEvent || strings.Contains(msg.kind, "\n") || strings.ContainsAny(msg.id, "\n\x00") {
				t.Fatalf("message %q", msg)
			}
		}
	})
}
