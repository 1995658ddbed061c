package file

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"elstore/volume"
)

// Severity is how bad a Finding is.
type Severity string

// The severities, from the mildest.
const (
	Note    Severity = "note"    // worth knowing; nothing is to be done
	Warning Severity = "warning" // left behind: the next start of the server puts it in order
	Problem Severity = "problem" // somebody has to do something
)

// Finding is something in a pool that is not as it should be, or that work is going on at.
type Finding struct {
	Severity Severity `json:"severity"`
	Path     string   `json:"path"` // in the pool
	What     string   `json:"what"` // a sentence
	Cure     string   `json:"cure,omitempty"`
}

// Report is what Examine saw.
type Report struct {
	Volumes  int      // in their places and in the bin
	Bytes    int64    // virtual, of those that can be understood
	Base     int64    // bytes of base images
	QCOW2    []string // paths, in the pool, of the qcow2 images that nobody is at work on
	Findings []Finding
}

// zfsMagic is what statfs says of a ZFS dataset.
const zfsMagic = 0x2fc12fc1

// examiner looks at a pool without changing it.
type examiner struct {
	pool   *dir
	bases  map[string]int64
	needed map[string]bool
	blind  bool // some volume's base is not known
	stays  bool // deleted volumes stay in their place, as they do on ZFS
	report Report
}

// Examine looks at a pool's directory read-only, whether a server holds it or not, and reports what is not in order: what crashes left,
// sizes that disagree, volumes that can't be used, files that nobody needs.
func Examine(poolDir string) (Report, error) {
	pool, err := openDir(poolDir, nil)
	if err != nil {
		return Report{}, err
	}
	defer pool.close()
	x := &examiner{pool: pool, bases: map[string]int64{}, needed: map[string]bool{}}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(pool.fd.Fd()), &st); err == nil {
		x.stays = st.Type == zfsMagic
	}
	if err := x.listBases(); err != nil {
		return x.report, err
	}
	for _, in := range []string{".", binName} {
		if err := x.directory(in); err != nil {
			return x.report, err
		}
	}
	for name := range x.bases {
		if !x.needed[name] && !x.blind {
			x.find(Warning, path.Join(baseName, name), "no volume needs this base image", "the next start of the server removes it")
		}
	}
	return x.report, nil
}

func (x *examiner) find(s Severity, name, what, cure string) {
	x.report.Findings = append(x.report.Findings, Finding{Severity: s, Path: name, What: what, Cure: cure})
}

func (x *examiner) listBases() error {
	d, err := x.pool.sub(baseName)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.close()
	names, err := d.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		info, err := d.root.Lstat(name)
		switch _, ours := parseBaseName(name); {
		case err != nil:
		case ours && info.Mode().IsRegular():
			x.bases[name] = info.Size()
			x.report.Base += info.Size()
		case strings.HasPrefix(name, tempPrefix):
			x.temp(d, baseName, name)
		default:
			x.find(Note, path.Join(baseName, name), "this is not a base image", "")
		}
	}
	return nil
}

// directory looks at the pool's directory, or at its bin.
func (x *examiner) directory(in string) error {
	d := x.pool
	if in != "." {
		var err error
		if d, err = x.pool.sub(in); missing(err) {
			return nil
		} else if err != nil {
			return err
		}
		defer d.close()
	}
	names, err := d.names()
	if err != nil {
		return err
	}
	for _, name := range names {
		_, isVolume := parseVolumeName(name)
		_, isStage := parseStageName(name)
		switch {
		case isVolume:
			x.volume(in, name)
		case isStage:
			x.stage(name)
		case strings.HasPrefix(name, purgePrefix):
			x.find(Warning, path.Join(in, name), "this volume is being removed for good, or a crash left it half removed", "the next start of the server finishes it")
		case strings.HasPrefix(name, tempPrefix):
			x.temp(d, in, name)
		case strings.HasPrefix(name, volumePrefix):
			x.find(Note, path.Join(in, name), "this is not a volume: its name is not vid.<32 lower-case hexadecimal digits>.elimg", "")
		}
	}
	return nil
}

// stage looks at a volume in the making.
func (x *examiner) stage(name string) {
	d, err := x.pool.sub(name)
	if err != nil {
		return
	}
	defer d.close()
	if x.held(d, lockName) {
		x.find(Note, name, "a volume is being made here", "")
		return
	}
	x.find(Warning, name, "a crash left this volume half made", "the next start of the server removes it")
}

// temp looks at a temporary file.
func (x *examiner) temp(d *dir, in, name string) {
	if strings.HasSuffix(name, claimSuffix) || x.held(d, name+claimSuffix) {
		return
	}
	x.find(Warning, path.Join(in, name), "a temporary file was left behind", "the next start of the server removes it")
}

// held reports whether somebody holds the lock of that name. It takes the lock for a moment, shared, if it is free.
func (x *examiner) held(d *dir, name string) bool {
	f, err := d.open(name, false)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return errors.Is(flockNow(f, unix.LOCK_SH), errHeld)
}

// volume looks at one volume.
func (x *examiner) volume(in, name string) {
	where := path.Join(in, name)
	d, err := x.pool.sub(where)
	if err != nil {
		x.find(Problem, where, "it can't be opened: "+reason(err), "see to its rights, or move it away")
		return
	}
	defer d.close()
	c, err := d.contents()
	if err != nil {
		x.find(Problem, where, "it can't be listed: "+reason(err), "")
		return
	}
	if !c.meta {
		x.find(Note, where, "this is not a volume: it has no meta.json", "move it away, or give it one")
		return
	}
	busy := x.held(d, lockName)
	for _, mark := range c.marks {
		purpose, _ := parseMarkName(mark)
		if busy {
			x.find(Note, where, fmt.Sprintf("locked by %s (%s)", purpose, d.holder()), "")
		} else {
			x.find(Warning, path.Join(where, mark), "stale lock: "+purpose+" was cut off here", "the next start of the server undoes or finishes it")
		}
	}
	for _, temp := range c.temps {
		x.temp(d, where, temp)
	}
	id, _ := parseVolumeName(name)
	f, err := look(int(d.fd.Fd()), id, func(base string) bool { _, ok := x.bases[base]; return ok })
	if err != nil {
		return // it went while we looked
	}
	x.found(where, in, d, c, f, busy)
}

// found holds a volume's attributes against its files.
func (x *examiner) found(where, in string, d *dir, c contents, f volume.Found, busy bool) {
	x.report.Volumes++
	if f.Problem != nil {
		x.blind = true
		x.find(Problem, where, f.Problem.Error(), "restore it from a backup, or destroy it with purge")
		return
	}
	x.report.Bytes += f.Meta.Size
	if f.Meta.Base != "" {
		x.needed[f.Meta.Base] = true
	}
	if data, err := d.root.ReadFile(metaName); err == nil {
		// look sets the size that the image has; the file may say another.
		if m, err := volume.ParseMeta(data); err == nil && m.Size != 0 && m.Size != f.Meta.Size && !busy {
			x.find(Warning, where, fmt.Sprintf("meta.json says %d bytes and the image has %d", m.Size, f.Meta.Size), "the image's size counts; any update of the volume's attributes mends meta.json")
		}
	}
	image := dataName(f.Meta.Format)
	for _, data := range c.data {
		if data != image && !busy && len(c.marks) == 0 {
			x.find(Note, path.Join(where, data), "meta.json names "+image+"; nobody reads this file", "remove it if it is yours")
		}
	}
	if c.deleted != (in == binName) && !x.stays {
		x.find(Warning, where, "a crash cut off its way into or out of the bin", "the next start of the server finishes it")
	}
	if info, err := d.root.Lstat(uploadName); err == nil {
		x.find(Note, path.Join(where, uploadName), fmt.Sprintf("%d bytes of an upload have come", info.Size()), "")
	} else if !errors.Is(err, fs.ErrNotExist) {
		x.find(Problem, path.Join(where, uploadName), reason(err), "")
	}
	if f.Meta.Format == volume.QCOW2 && !busy {
		x.report.QCOW2 = append(x.report.QCOW2, path.Join(where, image))
	}
}
