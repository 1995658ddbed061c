//go:build ceph

package rbd

import (
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"syscall"

	"github.com/ceph/go-ceph/rados"
	"github.com/ceph/go-ceph/rbd"
)

func (d *librbd) FSID() string { return d.fsid }

func (d *librbd) Ping() error {
	// Whatever the pool holds: that an OSD answered is all.
	_, err := d.work.pool.Stat("rbd_directory")
	if err = translateRados(err); errno(err) == syscall.ENOENT {
		return nil
	}
	return err
}

// translateRados is translate for the errors of librados that have no code.
func translateRados(err error) error {
	if errors.Is(err, rados.ErrNotFound) {
		return syscall.ENOENT
	}
	return translate(err)
}

func (d *librbd) Create(name string, size int64) error {
	o, err := newImage(false)
	if err != nil {
		return err
	}
	defer o.Destroy()
	return translate(rbd.CreateImage(d.work.pool, name, uint64(size), o))
}

func (d *librbd) Clone(parent, snap, name string) error {
	o, err := newImage(true)
	if err != nil {
		return err
	}
	defer o.Destroy()
	err = translate(rbd.CloneImage(d.work.pool, parent, snap, d.work.pool, name, o))
	if errno(err) != syscall.ENOENT {
		return err
	}
	// librbd 16.2 says so on a full cluster too, where to make an empty image tells the reason.
	if cerr := d.Create(name, 0); cerr != nil {
		return cerr
	}
	return errors.Join(err, d.Remove(name))
}

func (d *librbd) Open(name, snap string, readonly bool) (Handle, error) {
	return openImage(d.queue, d.work.pool, opening{name: name, snap: snap, readonly: readonly})
}

// OpenData opens an image without a cache, also where its settings on the cluster, or its pool's, ask every client for one: librbd goes by
// those rather than by what it is told. What it holds back dies with this process and not with the machine that wrote it, which would go on
// and never know.
func (d *librbd) OpenData(name string, readonly bool) (Handle, error) {
	o := opening{name: name, readonly: readonly}
	h, err := openImage(d.queue, d.data.pool, o)
	if err != nil {
		return nil, err
	}
	cached, err := d.asksForCache(h)
	if err == nil && !cached {
		return h, nil
	}
	if err = errors.Join(err, h.Close()); err != nil {
		return nil, err
	}
	if err := d.refuseCache(name); err != nil {
		return nil, err
	}
	d.cfg.Log.Warn("cache of an image switched off, which the cluster's settings had asked for", slog.String("image", name))
	return openImage(d.queue, d.data.pool, o)
}

// cacheKey is where an image, or a pool for all of its images, says what the setting rbd_cache is; rbd config image set.
const cacheKey = "conf_rbd_cache"

func (d *librbd) asksForCache(h Handle) (bool, error) {
	is, err := h.Note(cacheKey)
	if err == nil && is == "" {
		if is, err = rbd.GetPoolMetadata(d.work.pool, cacheKey); errors.Is(err, rbd.ErrNotFound) {
			return false, nil
		}
		err = translate(err)
	}
	return is != "" && is != "false" && is != "0", err
}

// refuseCache switches the cache off for the image, whatever its pool says.
func (d *librbd) refuseCache(name string) error {
	h, err := d.Open(name, "", false)
	if err != nil {
		return err
	}
	return errors.Join(h.SetNote(cacheKey, "false"), h.Close())
}

func (d *librbd) OpenTrashed(id string) (Handle, error) {
	return openImage(d.queue, d.work.pool, opening{id: id})
}

func (d *librbd) Rename(name, to string) error {
	return translate(rbd.GetImage(d.work.pool, name).Rename(to))
}

func (d *librbd) Remove(name string) error { return translate(rbd.RemoveImage(d.work.pool, name)) }

func (d *librbd) Names() ([]string, error) {
	names, err := rbd.GetImageNames(d.work.pool)
	return names, translate(err)
}

func (d *librbd) TrashMove(name string) error {
	return translate(rbd.GetImage(d.work.pool, name).Trash(0))
}

func (d *librbd) TrashRestore(id, name string) error {
	return translate(rbd.TrashRestore(d.work.pool, id, name))
}

func (d *librbd) TrashRemove(id string) error {
	return translate(rbd.TrashRemove(d.work.pool, id, true))
}

func (d *librbd) Trashed() ([]Trashed, error) {
	list, err := rbd.GetTrashList(d.work.pool)
	if err != nil {
		return nil, translate(err)
	}
	all := make([]Trashed, len(list))
	for i, t := range list {
		all[i] = Trashed{ID: t.Id, Name: t.Name}
	}
	return all, nil
}

// command asks the monitors for something.
func (d *librbd) command(out any, words map[string]any) error {
	words["format"] = "json"
	data, err := json.Marshal(words)
	if err != nil {
		return err
	}
	answer, _, err := d.work.conn.MonCommand(data)
	if err != nil || out == nil {
		return translate(err)
	}
	return json.Unmarshal(answer, out)
}

func (d *librbd) Grant(name, osdCaps string) (string, error) {
	var made []struct {
		Key string `json:"key"`
	}
	err := d.command(&made, map[string]any{
		"prefix": "auth get-or-create", "entity": "client." + name,
		"caps": []string{"mon", "profile rbd", "osd", osdCaps},
	})
	if err == nil && (len(made) != 1 || made[0].Key == "") {
		err = syscall.EPROTO
	}
	if err != nil {
		return "", err
	}
	return made[0].Key, nil
}

func (d *librbd) Revoke(name string) error {
	err := d.command(nil, map[string]any{"prefix": "auth del", "entity": "client." + name})
	if errno(err) == syscall.ENOENT {
		return nil
	}
	return err
}

func (d *librbd) Monitors() (string, error) {
	hosts, err := d.work.conn.GetConfigOption("mon_host")
	return strings.TrimSpace(hosts), translate(err)
}

func (d *librbd) Close() error {
	d.data.close()
	d.work.close()
	if d.queue != nil {
		d.queue.close()
	}
	return nil
}
