package v1

import (
	"encoding/json"
	"strconv"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// asker is who asks, where the call does without knowing.
type asker struct {
	Who volume.Who `json:"creatorID" alias:"client_uid" caller:"fill"`
}

// checksum is what an image must sum up to.
type checksum struct{ digest rest.Digest }

// UnmarshalText reads every form that rest.ParseChecksum does.
func (c *checksum) UnmarshalText(text []byte) (err error) {
	c.digest, err = rest.ParseChecksum(string(text))
	return err
}

// MarshalText writes "sha256:" and the sum in hexadecimal.
func (c checksum) MarshalText() ([]byte, error) { return []byte(c.digest.String()), nil }

// sum is what the domain takes; nil where nothing is asked for.
func (c *checksum) sum() *volume.Checksum {
	if c == nil || c.digest.IsZero() {
		return nil
	}
	return &volume.Checksum{Algorithm: c.digest.Algorithm(), Sum: c.digest.Sum()}
}

// imageFormat is the format of an image from outside, by QEMU's name; "" is what the image itself tells.
type imageFormat string

// Allowed lists the formats for an error message.
func (imageFormat) Allowed() string { return "raw, qcow2, vmdk, vdi, vpc (vhd) or vhdx" }

// UnmarshalText accepts QEMU's names, and vhd for what QEMU calls vpc.
func (f *imageFormat) UnmarshalText(text []byte) error {
	switch v := imageFormat(text); v {
	case "raw", "qcow2", "vmdk", "vdi", "vpc", "vhdx":
		*f = v
		return nil
	case "vhd":
		*f = "vpc"
		return nil
	}
	return fault.Errorf(fault.UnsupportedFormat, "image format %.64q is not allowed: use %s", text, f.Allowed())
}

// rate is a limit on throughput, kept as it was written.
type rate json.RawMessage

// Allowed says in an error message what a rate is.
func (rate) Allowed() string { return "a number of 0 or more; 0 is no limit" }

// UnmarshalJSON accepts numbers from 0 on that a float64 can hold.
func (r *rate) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseFloat(string(data), 64)
	if err != nil || n < 0 || data[0] == '-' {
		return fault.Errorf(fault.BadRequest, "a rate is %s", r.Allowed())
	}
	*r = append((*r)[:0], data...)
	return nil
}

// missing is the error for a key that is required here and not everywhere; its text is the one of rest.Decode.
func missing(key string) error {
	return fault.Errorf(fault.BadRequest, "request was badly formatted. '%s'", key)
}
