package iso

import (
	"encoding/json"
	"strings"

	"elstore/volume"
	"elstore/volume/fault"
)

// Type says what an image is for.
type Type string

// The types.
const (
	Tool      Type = "tool"       // drivers and the like
	OSGeneric Type = "os_generic" // an installer or a live system, which machines boot from
)

// Allowed lists the types for an error message.
func (Type) Allowed() string { return "tool or os_generic" }

// UnmarshalText accepts the types.
func (t *Type) UnmarshalText(b []byte) error {
	if v := Type(b); v == Tool || v == OSGeneric {
		*t = v
		return nil
	}
	return fault.Errorf(fault.BadRequest, "isotype %.64q is not allowed: use %s", b, t.Allowed())
}

// Info is isoinfo.json, with the source document's keys. nil is what nobody said.
type Info struct {
	Type      Type    `json:"isotype"`
	OSFamily  *string `json:"os_family,omitempty"`
	OSFlavour *string `json:"os_flavour,omitempty"`
	OSVersion *string `json:"os_version,omitempty"`
	Scope     *string `json:"scope,omitempty"`   // of a tool
	Version   *string `json:"version,omitempty"` // of a tool
}

// maxWord is the longest free text in an Info, in bytes.
const maxWord = 255

// Check refuses texts that are too long or don't print.
func (i *Info) Check() error {
	for key, word := range map[string]*string{
		"os_family": i.OSFamily, "os_flavour": i.OSFlavour, "os_version": i.OSVersion, "tool_scope": i.Scope, "tool_version": i.Version,
	} {
		if word != nil && (len(*word) > maxWord || strings.Map(printable, *word) != *word) {
			return fault.Errorf(fault.BadRequest, "%s %.64q is not allowed: use up to %d bytes without control characters", key, *word, maxWord)
		}
	}
	return nil
}

// Encode writes the file.
func (i *Info) Encode() []byte {
	data, err := json.Marshal(i)
	if err != nil {
		panic("iso: an Info can't be encoded: " + err.Error()) // no field of it can fail
	}
	return append(data, '\n')
}

// ParseInfo reads the file. Keys may be missing.
func ParseInfo(data []byte) (Info, error) {
	var i Info
	if err := json.Unmarshal(data, &i); err != nil {
		return Info{}, fault.New(fault.VolumeDamaged, volume.ISOInfoFile+" can't be understood", err)
	}
	return i, nil
}

// Complete fills in what nobody said and the image tells. What was said stays.
func (i *Info) Complete(g Guess) {
	fill := func(to **string, value string) {
		if *to == nil && value != "" {
			*to = &value
		}
	}
	if i.Type != OSGeneric {
		return
	}
	other := func(said *string, guess string) bool { return said != nil && !strings.EqualFold(*said, guess) }
	if other(i.OSFamily, g.Family) || other(i.OSFlavour, g.Flavour) {
		return // the guess is of another system, and so is its version
	}
	fill(&i.OSFamily, g.Family)
	fill(&i.OSFlavour, g.Flavour)
	fill(&i.OSVersion, g.Version)
}
