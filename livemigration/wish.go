package livemigration

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"elstore/export"
	"elstore/volume"
	"elstore/volume/fault"
)

// message is what the destination's server writes beside the first volume of a migration, for the source's.
type message struct {
	Version     int       `json:"version"`
	Migration   volume.ID `json:"migration_id"`
	Server      string    `json:"server"`         // the destination's
	Host        string    `json:"host,omitempty"` // that it runs on, for people
	Wish        wish      `json:"wish"`
	Source      Party     `json:"source"`
	Destination Party     `json:"destination"`
	Parts       []Part    `json:"volumes"`
	Deadline    time.Time `json:"deadline"` // of being prepared
}

// messageVersion is what this program writes, and the only one that it reads.
const messageVersion = 1

// parseMessage reads a message. Pure.
func parseMessage(data []byte) (message, error) {
	var w message
	if err := json.Unmarshal(data, &w); err != nil {
		return w, fmt.Errorf("it is not the JSON of a wish to migrate: %w", err)
	}
	switch {
	case w.Version != messageVersion:
		return w, fmt.Errorf("its version is %d, and this server reads %d", w.Version, messageVersion)
	case w.Migration.IsZero() || w.Server == "":
		return w, fmt.Errorf("it has no migration_id, or no server")
	case !slices.Contains([]wish{wishPrepare, wishPen, wishRevert}, w.Wish):
		return w, fmt.Errorf("its wish is %.40q, which is none", w.Wish)
	case w.Source.Client.IsZero() || w.Destination.Client.IsZero():
		return w, fmt.Errorf("it lacks a client")
	}
	return w, checkParts(w.Parts)
}

// wishNote and answerNote are the names of the notes about a migration.
func wishNote(id volume.ID) string   { return export.WishNote + id.String() }
func answerNote(id volume.ID) string { return export.AnswerNote + id.String() }

// wishOf reads what the destination's server wishes about a migration.
func (s *Service) wishOf(ctx context.Context, rec *Record) wish {
	data, err := s.cfg.Exports.Note(ctx, rec.first(), wishNote(rec.ID))
	switch {
	case err != nil:
		return ""
	case data == nil:
		return wishNone
	}
	w, err := parseMessage(data)
	if err != nil || w.Migration != rec.ID {
		return ""
	}
	return w.Wish
}

// wish writes what this server, which is the destination's, wishes.
func (s *Service) wish(ctx context.Context, rec *Record, w wish) error {
	data, err := json.Marshal(message{
		Version: messageVersion, Migration: rec.ID, Server: s.cfg.Exports.ServerID(), Host: s.cfg.Exports.Host(), Wish: w,
		Source: rec.Source, Destination: rec.Destination, Parts: rec.Parts, Deadline: rec.Deadline,
	})
	if err != nil {
		return err
	}
	return s.cfg.Exports.SetNote(ctx, rec.first(), wishNote(rec.ID), append(data, '\n'))
}

// unwish removes what the two servers said about a migration that has ended, the wish first: without its answer it would be taken up again.
func (s *Service) unwish(ctx context.Context, first, id volume.ID) error {
	if err := s.cfg.Exports.SetNote(ctx, first, wishNote(id), nil); err != nil {
		return err
	}
	return s.cfg.Exports.SetNote(ctx, first, answerNote(id), nil)
}

// refusal is why the source's server does not let the destination in.
type refusal struct {
	Migration volume.ID  `json:"migration_id"`
	Code      fault.Code `json:"code"`
	Error     string     `json:"error"`
}

// refuse says so.
func (s *Service) refuse(ctx context.Context, w *message, why error) error {
	data, err := json.Marshal(refusal{w.Migration, fault.CodeOf(why), why.Error()})
	if err != nil {
		return err
	}
	return s.cfg.Exports.SetNote(ctx, w.Parts[0].Volume, answerNote(w.Migration), append(data, '\n'))
}

// refused returns why the source's server refused a migration, or nil where that is not known.
func (s *Service) refused(ctx context.Context, id, first volume.ID) error {
	var r refusal
	data, err := s.cfg.Exports.Note(ctx, first, answerNote(id))
	if err == nil && data != nil && json.Unmarshal(data, &r) == nil && r.Migration == id {
		return fault.Errorf(r.Code, "the server that exports it says: %s", r.Error)
	}
	return nil
}
