package volume

import (
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidwall/btree"
)

// entry is a volume in the index. Its fields are guarded by Service.mu; id and pool never change.
type entry struct {
	id     ID
	pool   *attached
	found  Found // replaced whole
	op     string
	opened *opened

	state atomic.Pointer[stated] // what the storage last said for a list; not guarded
}

// stated is what the storage said of a volume's image at some time.
type stated struct {
	Stat
	at time.Time
}

// owned reports whether it is known whose the volume is: a damaged meta.json doesn't say.
func (e *entry) owned() bool { return e.found.Problem == nil || !e.found.Meta.Creator.IsZero() }

// index finds volumes by id, and what a client may see in the order of ids. Guarded by Service.mu.
type index struct {
	all     map[ID]*entry
	public  *btree.BTreeG[*entry]            // not private, not in a bin
	private map[Client]*btree.BTreeG[*entry] // private ones by owner, not in a bin
	bin     map[ID]*entry                    // those of all that lie in a bin
}

func newIndex() index {
	return index{
		all:     map[ID]*entry{},
		public:  newTree(),
		private: map[Client]*btree.BTreeG[*entry]{},
		bin:     map[ID]*entry{},
	}
}

func newTree() *btree.BTreeG[*entry] {
	return btree.NewBTreeGOptions(func(a, b *entry) bool { return a.id.Less(b.id) },
		btree.Options{NoLocks: true, Degree: 64})
}

// put adds e, or puts it where it belongs after its found changed from what shelf returned before.
func (x *index) put(e *entry, found Found) {
	x.drop(e)
	e.found = found
	e.state.Store(nil)
	x.all[e.id] = e
	if found.Trashed.IsZero() {
		e.pool.standing++
	}
	switch {
	case !found.Trashed.IsZero():
		x.bin[e.id] = e
	case found.Problem != nil: // its owner is not known: nobody's list shows it
	case found.Meta.Private:
		tree := x.private[found.Meta.Creator]
		if tree == nil {
			tree = newTree()
			x.private[found.Meta.Creator] = tree
		}
		tree.Set(e)
	default:
		x.public.Set(e)
	}
}

// drop removes e from every list. An entry that is not there is left alone.
func (x *index) drop(e *entry) {
	if x.all[e.id] != e {
		return
	}
	delete(x.all, e.id)
	if e.found.Trashed.IsZero() {
		e.pool.standing--
	}
	delete(x.bin, e.id)
	x.public.Delete(e)
	if tree := x.private[e.found.Meta.Creator]; tree != nil {
		tree.Delete(e)
		if tree.Len() == 0 {
			delete(x.private, e.found.Meta.Creator)
		}
	}
}

// visible calls visit with the entries that client may see, from after (exclusive; nil is the start) in the order of
// ids, no more than n. more tells where to go on, nil at the end.
func (x *index) visible(client Client, after *entry, n int, visit func(*entry)) (more *entry) {
	iters := []btree.IterG[*entry]{x.public.Iter()}
	if own := x.private[client]; own != nil {
		iters = append(iters, own.Iter())
	}
	defer func() {
		for i := range iters {
			iters[i].Release()
		}
	}()
	heads := make([]*entry, len(iters)) // the next of each list, nil at its end
	for i := range iters {
		ok := false
		if after == nil {
			ok = iters[i].First()
		} else if ok = iters[i].Seek(after); ok && iters[i].Item().id == after.id {
			ok = iters[i].Next()
		}
		if ok {
			heads[i] = iters[i].Item()
		}
	}
	for range n {
		least := -1
		for i, e := range heads {
			if e != nil && (least < 0 || e.id.Less(heads[least].id)) {
				least = i
			}
		}
		if least < 0 {
			return nil
		}
		e := heads[least]
		visit(e)
		heads[least] = nil
		if iters[least].Next() {
			heads[least] = iters[least].Item()
		}
		more = e
	}
	return more
}

// trashed returns what lies in the bins, the oldest first.
func (x *index) trashed() []*entry {
	list := slices.Collect(maps.Values(x.bin))
	slices.SortFunc(list, func(a, b *entry) int { return a.found.Trashed.Compare(b.found.Trashed) })
	return list
}
