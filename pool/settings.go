package pool

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"time"

	"elstore/volume"
	"elstore/volume/fault"
)

// SettingsFile is the file that makes a directory a pool.
const SettingsFile = "settings.json"

// MaxSettings is the largest settings.json that is read, in bytes.
const MaxSettings = 1 << 20

// Unlimited is a limit that was not set.
const Unlimited = math.MaxInt64

// DefaultRetention is how long deleted volumes are kept where settings.json doesn't say.
const DefaultRetention = 24 * time.Hour

// Settings is what a settings.json says. A value; nobody changes what Ceph points to.
type Settings struct {
	Name         string        // the pool's name, or "" for its path below the root
	Limits       Limits        // what may lie in the pool
	Unique       bool          // file-system is unique: every volume is a subvolume or dataset of its own
	Reserve      int64         // bytes of the file system's free space to leave alone
	BinRetention time.Duration // how long deleted volumes are kept; 0 is not at all
	BinKeep      bool          // they are kept even when their room is needed
	Shared       bool          // other servers use the pool at the same time
	Ceph         *Ceph         // images lie in a Ceph pool, or nil
}

// Limits of a pool, each Unlimited if it was not set.
type Limits struct {
	Volumes    int64 // volumes
	VolumeSize int64 // virtual bytes of each
	TotalSize  int64 // virtual bytes of all, and bytes of base images
}

// Ceph says where a pool's images lie on a cluster.
type Ceph struct {
	Pool    string // the RADOS pool
	Conf    string // ceph.conf, or "" for the cluster's default path
	User    string // such as admin, without "client.", or "" for the default
	Keyring string // a file, or "" for what ceph.conf says
}

// DefaultSettings are those of the empty object.
func DefaultSettings() Settings {
	return Settings{
		Limits:       Limits{Volumes: Unlimited, VolumeSize: Unlimited, TotalSize: Unlimited},
		BinRetention: DefaultRetention,
	}
}

// ParseSettings reads a settings.json: one JSON object, whose unknown keys are ignored. null is the same as an
// absent key. Its errors name the key, its value and what is allowed. Pure.
func ParseSettings(data []byte) (Settings, error) {
	s := DefaultSettings()
	if len(data) > MaxSettings {
		return s, fault.Errorf(fault.PoolUnavailable, "%s is over %d bytes long", SettingsFile, MaxSettings)
	}
	err := eachMember(data, SettingsFile, s.set)
	if err != nil {
		return DefaultSettings(), err
	}
	return s, nil
}

// eachMember calls set for every key of the JSON object in data that is not null. what names it in errors.
func eachMember(data []byte, what string, set func(key string, value json.RawMessage) error) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return fault.Errorf(fault.PoolUnavailable, "%s is empty; the least that is allowed is {}", what)
	}
	malformed := func(err error) error {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fault.Errorf(fault.PoolUnavailable, "%s is not a JSON object: %w", what, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber() // a number too large for a float is of no concern in a key that nobody knows
	if open, err := dec.Token(); err != nil {
		return malformed(err)
	} else if open != json.Delim('{') {
		return fault.Errorf(fault.PoolUnavailable, "%s is not a JSON object", what)
	}
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return malformed(err)
		}
		key, _ := token.(string) // the decoder lets nothing else stand there
		if seen[key] {
			return fault.Errorf(fault.PoolUnavailable, "%s has the key %.64q twice", what, key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return malformed(err)
		}
		if string(value) == "null" {
			continue
		}
		if err := set(key, value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return malformed(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fault.Errorf(fault.PoolUnavailable, "%s has something behind its last brace", what)
	}
	return nil
}

// set takes one key.
func (s *Settings) set(key string, value json.RawMessage) error {
	const size = "a size from 0 to 4 EiB such as 50G (50·10^9 bytes), 50Gi (50·2^30) or 50000000000"
	switch key {
	case "max-volumes":
		n, ok := wholeNumber(value)
		s.Limits.Volumes = n
		return allowed(ok, key, value, "a whole number from 0 to "+strconv.Itoa(maxVolumes))
	case "max-volume-size":
		return allowed(sizeOf(value, &s.Limits.VolumeSize), key, value, size)
	case "max-total-size":
		return allowed(sizeOf(value, &s.Limits.TotalSize), key, value, size)
	case "reserve":
		return allowed(sizeOf(value, &s.Reserve), key, value, size)
	case "file-system":
		text, ok := textOf(value)
		s.Unique = text == "unique"
		return allowed(ok && (s.Unique || text == "default"), key, value, `"default" or "unique"`)
	case "name":
		text, ok := textOf(value)
		s.Name = text
		return allowed(ok && volume.CheckName(text) == nil, key, value,
			"a text of 1 to "+strconv.Itoa(volume.MaxName)+" bytes without control characters")
	case "bin-retention":
		text, ok := textOf(value)
		if ok {
			s.BinRetention, ok = parseRetention(text)
		}
		return allowed(ok, key, value, "a duration from 0s to 36500d such as 24h, 7d or 1d12h")
	case "bin-keep":
		return allowed(json.Unmarshal(value, &s.BinKeep) == nil, key, value, "true or false")
	case "shared":
		return allowed(json.Unmarshal(value, &s.Shared) == nil, key, value, "true or false")
	case "ceph":
		s.Ceph = &Ceph{}
		if err := eachMember(value, SettingsFile+`: the value of "ceph"`, s.Ceph.set); err != nil {
			return err
		}
		return allowed(s.Ceph.Pool != "", key, value, `an object with "pool" and, if need be, "conf", "user" and "keyring"`)
	}
	return nil
}

// set takes one key of the object ceph.
func (c *Ceph) set(key string, value json.RawMessage) error {
	fields := map[string]*string{"pool": &c.Pool, "conf": &c.Conf, "user": &c.User, "keyring": &c.Keyring}
	field := fields[key]
	if field == nil {
		return nil
	}
	text, ok := textOf(value)
	*field = text
	return allowed(ok && volume.CheckName(text) == nil, "ceph."+key, value,
		"a text of 1 to "+strconv.Itoa(volume.MaxName)+" bytes without control characters")
}

// allowed returns nil if ok, or the error that names the key, its value and what is allowed instead.
func allowed(ok bool, key string, value json.RawMessage, what string) error {
	if ok {
		return nil
	}
	const most = 64
	text := string(bytes.ToValidUTF8(value[:min(len(value), most)], nil))
	if len(value) > most {
		text += "..."
	}
	return fault.Errorf(fault.PoolUnavailable, "%s: %s %s is not allowed: use %s", SettingsFile, key, text, what)
}

// textOf returns a JSON string.
func textOf(value json.RawMessage) (text string, ok bool) {
	return text, value[0] == '"' && json.Unmarshal(value, &text) == nil
}

// numeral returns the digits of a JSON number, or of a string that holds one.
func numeral(value json.RawMessage) string {
	if text, ok := textOf(value); ok {
		return text
	}
	return string(value)
}

// sizeOf reads a size into n.
func sizeOf(value json.RawMessage, n *int64) (ok bool) {
	*n, ok = parseSize(numeral(value))
	return ok
}

// wholeNumber reads a number of volumes.
func wholeNumber(value json.RawMessage) (int64, bool) {
	n, err := strconv.ParseInt(numeral(value), 10, 64)
	return n, err == nil && n >= 0 && n <= maxVolumes
}
