package export

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"elstore/volume"
	"elstore/volume/durable"
	"elstore/volume/fault"
)

// namePrefix begins the name that a client's exports of a volume bear, for iSCSI too.
const namePrefix = "iqn.2004-10.cloud.elemento:01:"

// markerSuffix ends the name of a marker.
const markerSuffix = ".exported"

// Name is what a client's exports of a volume are called: an iSCSI qualified name with the exclusive or of both ids. Two pairs may
// have the same.
func Name(client volume.Client, id volume.ID) string {
	a, b := []byte(client.String()), []byte(id.String())
	var x, y [16]byte
	_, _ = hex.Decode(x[:], a) // both are hexadecimal digits
	_, _ = hex.Decode(y[:], b)
	for i := range x {
		x[i] ^= y[i]
	}
	return namePrefix + hex.EncodeToString(x[:])
}

// Marker is the content of the file by which everybody sees that a volume is exported.
type Marker struct {
	Server  string    `json:"server"` // id
	Host    string    `json:"host"`
	BootID  string    `json:"boot_id"`
	Portals []string  `json:"portals"`
	Kind    string    `json:"kind"`
	Epoch   int64     `json:"epoch"`
	Since   time.Time `json:"since"`
}

// mark is a marker as it lies in a directory.
type mark struct {
	Marker
	name    string
	touched time.Time
}

// fresh reports whether whoever made it touches it still.
func (m *mark) fresh(now time.Time) bool {
	age := now.Sub(m.touched)
	return age < freshFor && age > -freshFor
}

// freshFor is how long after its last touch a marker still says that its export lives: three heartbeats.
const freshFor = 3 * heartbeat

// where says for a person who exports the volume.
func (m *mark) where() string {
	if m.Server == "" {
		return "another system, which keeps the file " + m.name + " fresh,"
	}
	text := "the server " + m.Server
	if m.Host != "" {
		text += " on " + m.Host
	}
	if len(m.Portals) > 0 {
		text += " at " + strings.Join(m.Portals, ", ")
	}
	return text
}

// maxMarker is how much of a marker is read, in bytes.
const maxMarker = 64 << 10

// parseMarker reads a marker. One of another system may be empty, or anything: then it says nothing.
func parseMarker(data []byte) Marker {
	var m Marker
	if len(data) > maxMarker || json.Unmarshal(data, &m) != nil {
		return Marker{}
	}
	return m
}

// marks lists the markers in a volume's directory.
func marks(dir *os.Root) ([]mark, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, fault.FromOS("look for export markers", err)
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fault.FromOS("look for export markers", err)
	}
	var list []mark
	for _, name := range names {
		if !strings.HasPrefix(name, namePrefix) || !strings.HasSuffix(name, markerSuffix) {
			continue
		}
		info, err := dir.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fault.FromOS("look at an export marker", err)
		}
		m := mark{name: name, touched: info.ModTime()}
		if info.Mode().IsRegular() && info.Size() <= maxMarker {
			data, err := dir.ReadFile(name)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fault.FromOS("read an export marker", err)
			}
			m.Marker = parseMarker(data)
		}
		list = append(list, m)
	}
	return list, nil
}

// foreign returns a marker that another server, or another system, keeps fresh.
func foreign(list []mark, server string, now time.Time) (mark, bool) {
	for _, m := range list {
		if m.Server != server && m.fresh(now) {
			return m, true
		}
	}
	return mark{}, false
}

// writeMarker writes a marker in one moment. It is for others to see, and need not survive a crash.
func writeMarker(dir *os.Root, name string, m Marker) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	temp := volume.RecordsDir + "/" + durable.TempPrefix + "marker" // the volume's changes come one at a time
	if err := dir.WriteFile(temp, append(data, '\n'), 0o644); err != nil {
		_ = dir.Remove(temp)
		return fault.FromOS("write the export marker", err)
	}
	if err := dir.Rename(temp, name); err != nil {
		_ = dir.Remove(temp)
		return fault.FromOS("write the export marker", err)
	}
	return nil
}

// removeMarker removes a marker, which may be absent.
func removeMarker(dir *os.Root, name string) error {
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.FromOS("remove the export marker", err)
	}
	return nil
}
