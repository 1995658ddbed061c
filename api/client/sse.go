package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent is the longest event that is read, in bytes.
const maxEvent = 1 << 20

var errLongEvent = errors.New("an event of the server has over 1 MiB")

// message is one event of an event stream, as the HTML standard (section 9.2.6) has it.
type message struct {
	id   string
	kind string
	data []byte
}

// messages reads an event stream, whose lines end in \n or \r\n.
type messages struct {
	in *bufio.Scanner
	id string // to go on after, if the stream breaks: of the last message that came whole, data or not
}

func newMessages(r io.Reader) *messages {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 4096), maxEvent)
	return &messages{in: in}
}

// next returns the next message that bears data. io.EOF is the end of the stream; a message that it cuts off is
// dropped, as the standard asks.
func (m *messages) next() (message, error) {
	id, kind := m.id, ""
	var data []byte
	some := false
	for m.in.Scan() {
		line := m.in.Bytes()
		if len(line) == 0 {
			m.id = id
			if some {
				return message{id: id, kind: kind, data: data}, nil
			}
			kind = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			kind = string(value)
		case "id":
			if !bytes.Contains(value, []byte{0}) {
				id = string(value)
			}
		case "data":
			if some {
				data = append(data, '\n')
			}
			if some = true; len(data)+len(value) > maxEvent {
				return message{}, errLongEvent
			}
			data = append(data, value...)
		}
	}
	switch err := m.in.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return message{}, errLongEvent
	case err != nil:
		return message{}, err
	}
	return message{}, io.EOF
}
