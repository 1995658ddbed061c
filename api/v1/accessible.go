package v1

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"strconv"

	"elstore/api/rest"
	"elstore/volume"
	"elstore/volume/fault"
)

// accessibleRequest says who asks, where in the list to begin, and which volumes are wanted.
type accessibleRequest struct {
	Client volume.Client `json:"client_uid" required:"true" caller:"match"`
	Limit  int           `json:"limit"` // 0 is all
	After  *volume.ID    `json:"after"` // greater ids only
	filter
}

func (a *API) accessible(w http.ResponseWriter, r *http.Request) error {
	req, err := rest.DecodeAny[accessibleRequest](r)
	if err != nil {
		return err
	}
	// Asked before the list is read: a change between the two makes the tag too old, never too new.
	if rest.NotModified(w, r, strconv.FormatInt(a.cfg.Events.Revision(), 10)) {
		return nil
	}
	if req.Limit < 0 {
		return fault.Errorf(fault.BadRequest, "'limit' is %d; allowed is 0 (all) or more", req.Limit)
	}
	return rest.ReplyEach(w, a.wanted(r.Context(), req), func(b []byte, r *record) []byte { return r.appendJSON(b) })
}

// wanted is the records that are asked for, each valid until the next.
func (a *API) wanted(ctx context.Context, req accessibleRequest) iter.Seq2[*record, error] {
	q := volume.Query{After: req.After, Limit: req.Limit, Keep: req.keep()}
	late := req.late()
	if late != nil {
		q.Limit = 0
	}
	return func(yield func(*record, error) bool) {
		var r record
		passed := 0
		for v, err := range a.cfg.Volumes.Accessible(ctx, req.Client, q) {
			if err != nil {
				yield(nil, err)
				return
			}
			r = recordOf(v)
			if late != nil && !late(&r) {
				continue
			}
			if passed++; !yield(&r, nil) || passed == req.Limit {
				return
			}
		}
	}
}

// filter are attributes that the wanted volumes have, by their keys in a record.
type filter struct {
	ID         *volume.ID                 `json:"volumeID" alias:"volume_id,vid"`
	Creator    *volume.Client             `json:"creatorID"`
	Size       *int64                     `json:"size"` // bytes
	Name       *string                    `json:"name"`
	Format     *volume.Format             `json:"format"`
	ISOType    *string                    `json:"iso_type"`
	Private    *bool                      `json:"private"`
	Bootable   *bool                      `json:"bootable"`
	ReadOnly   *bool                      `json:"readonly"`
	Shareable  *bool                      `json:"shareable"`
	Clonable   *bool                      `json:"clonable"`
	Alg        *volume.Alg                `json:"alg"`
	Bus        *volume.Bus                `json:"bus"`
	CloudInit  *bool                      `json:"cloudinit"`
	Ceph       *bool                      `json:"ceph"`
	Exported   *bool                      `json:"exported"`
	Pool       *string                    `json:"pool"`
	Locked     *bool                      `json:"locked"`
	Operation  *string                    `json:"operation"`
	Available  *bool                      `json:"available"`
	Overlay    *bool                      `json:"overlay"`
	SizeOnDisk *int64                     `json:"sizeOnDisk"`
	Updated    *string                    `json:"lastUpdated"`
	Own        map[string]json.RawMessage `rest:"extra"` // attributes that clients gave the volume
}

// keep is the filter for what the index knows.
func (f *filter) keep() func(*volume.Volume) bool {
	own := decodeAll(f.Own)
	return func(v *volume.Volume) bool {
		m := &v.Meta
		return is(f.ID, v.ID) && is(f.Creator, m.Creator) && is(f.Size, m.Size) && is(f.Name, m.Name) &&
			is(f.Format, m.Format) && is(f.ISOType, v.ISOType) && is(f.Private, m.Private) && is(f.Bootable, m.Bootable) &&
			is(f.ReadOnly, m.ReadOnly) && is(f.Shareable, m.Shareable) && is(f.Clonable, m.Clonable) && is(f.Alg, m.Alg) &&
			is(f.Bus, m.Bus) && is(f.CloudInit, m.CloudInit) && is(f.Ceph, m.OnCeph()) && is(f.Exported, len(v.Exports) > 0) &&
			is(f.Pool, v.Pool) && is(f.Locked, v.Locked != "") && is(f.Operation, v.Locked) && is(f.Available, v.Available) &&
			is(f.Overlay, m.Base != "") && haveAll(m.Extra, own)
	}
}

// late is the filter for what only the storage knows, nil where nothing of that is asked for.
func (f *filter) late() func(*record) bool {
	if f.SizeOnDisk == nil && f.Updated == nil {
		return nil
	}
	return func(r *record) bool { return is(f.SizeOnDisk, r.SizeOnDisk) && is(f.Updated, r.LastUpdated) }
}

// is reports whether value is the wanted one, or none in particular is wanted.
func is[T comparable](want *T, value T) bool { return want == nil || *want == value }
