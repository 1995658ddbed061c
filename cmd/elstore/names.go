package main

import (
	"context"
	"fmt"
	"strings"

	"elstore/api/client"
)

const (
	idDigits  = 32
	minPrefix = 4 // digits of an id that name a volume, at the least

	maxCandidates = 10 // listed where a name is ambiguous
)

// volume returns the id of the volume that arg names: an id, the beginning of one, or a name. The beginning and
// the name are looked for among the volumes that one may see.
func (s *session) volume(ctx context.Context, arg string) (string, error) {
	if id, ok := fullID(arg); ok {
		return id, nil
	}
	found, err := s.named(ctx, arg)
	if err != nil {
		return "", err
	}
	return pick("volume", arg, found)
}

// trashed is volume for what lies in the bins.
func (s *session) trashed(ctx context.Context, arg string) (string, error) {
	if id, ok := fullID(arg); ok {
		return id, nil
	}
	all, err := s.Trash(ctx, s.me)
	if err != nil {
		return "", err
	}
	var found []client.Volume
	for _, v := range all {
		if v.Name == arg || isPrefix(arg) && strings.HasPrefix(v.ID, strings.ToLower(arg)) {
			found = append(found, v)
		}
	}
	return pick("volume in the bin", arg, found)
}

// named lists the volumes that arg may mean: one more than are shown where they are many.
func (s *session) named(ctx context.Context, arg string) ([]client.Volume, error) {
	found, err := s.Accessible(ctx, client.AccessibleRequest{
		Client: s.me, Limit: maxCandidates + 1, Filter: map[string]any{"name": arg},
	})
	if err != nil || !isPrefix(arg) {
		return found, err
	}
	prefix := strings.ToLower(arg)
	for v, err := range s.All(ctx, client.AccessibleRequest{Client: s.me, Limit: maxCandidates + 1, After: before(prefix)}) {
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(v.ID, prefix) {
			break
		}
		if v.Name != arg { // else it is in the list already
			found = append(found, v)
		}
	}
	return found, nil
}

// pick returns the only candidate's id.
func pick(what, arg string, found []client.Volume) (string, error) {
	switch len(found) {
	case 0:
		return "", &notFoundError{what, arg}
	case 1:
		return found[0].ID, nil
	}
	var list strings.Builder
	for i, v := range found {
		if i == maxCandidates {
			list.WriteString("\n  and more")
			break
		}
		fmt.Fprintf(&list, "\n  %s  %s", v.ID, printable(v.Name))
	}
	return "", usagef("%q may mean several volumes; name one by its id:%s", arg, list.String())
}

// isPrefix reports whether s may be the beginning of an id.
func isPrefix(s string) bool {
	return len(s) >= minPrefix && len(s) < idDigits && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// before returns the greatest id that comes before all that begin with prefix, "" where there is none.
func before(prefix string) string {
	digits := []byte(prefix + strings.Repeat("0", idDigits-len(prefix)))
	for i := len(digits) - 1; i >= 0; i-- {
		switch digits[i] {
		case '0':
			digits[i] = 'f'
			continue
		case 'a':
			digits[i] = '9'
		default:
			digits[i]--
		}
		return string(digits)
	}
	return ""
}
