package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
)

// qmpMessage is a line from QEMU: a greeting, the reply to a command, or an event.
type qmpMessage struct {
	greeting bool
	id       uint64 // of the command that it replies to, or 0
	result   json.RawMessage
	err      *qmpError
	event    string
	data     json.RawMessage // of the event
}

// qmpError is QEMU's refusal of a command, or its failure.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

// Error returns QEMU's own words.
func (e *qmpError) Error() string { return e.Desc }

// parseQMP parses a line.
func parseQMP(line []byte) (m qmpMessage, err error) {
	var raw struct {
		QMP    json.RawMessage `json:"QMP"`
		ID     *uint64         `json:"id"`
		Return json.RawMessage `json:"return"`
		Error  *qmpError       `json:"error"`
		Event  string          `json:"event"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return m, fmt.Errorf("QMP: %w", err)
	}
	if raw.ID != nil {
		m.id = *raw.ID
	}
	switch {
	case raw.QMP != nil:
		m.greeting = true
	case raw.Event != "":
		m.event, m.data = raw.Event, raw.Data
	case raw.Error != nil:
		m.err = raw.Error
	case raw.Return != nil:
		m.result = raw.Return
	default:
		return m, errors.New("QMP: a line that is no greeting, reply or event")
	}
	return m, nil
}
