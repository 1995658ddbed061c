package pool

import (
	"cmp"
	"fmt"
	"slices"

	"elstore/volume"
)

// offer is what a pool could take, for planning. Numbers below zero are those of a pool that is over its limits.
type offer struct {
	pool     *Pool
	name     string
	limits   Limits
	keepsBin bool
	bin      tally // what may be purged from the bin

	volumes int64 // how many more it may hold
	bytes   int64 // how many virtual bytes more
	disk    *disk // nil if writing takes nothing from a file system
	cluster bool  // images in format rbd take their room from a cluster, not from the disk
	free    int64 // of the file system when it was asked
	reserve int64 // of that to be left
	used    tally // for choosing among equals
	keeps   func(volume.Format) bool

	empties bool // what was placed here fits only when its bin was emptied
}

// disk is what pools on one device share.
type disk struct {
	inFlight int64 // bytes that are going to be written by reservations
}

// shortfall is why an offer doesn't fit, in numbers, so that trying costs no text.
type shortfall uint8

const (
	fits shortfall = iota
	wrongFormat
	unnamed
	tooLarge
	tooMany
	tooMuch
	noSpace
)

// writable returns how much may be written now.
func (o *offer) writable() int64 {
	if o.disk == nil {
		return Unlimited
	}
	return o.free - o.reserve - o.disk.inFlight
}

// room is what pools are compared by.
func (o *offer) room() int64 {
	if o.cluster {
		return o.bytes
	}
	return min(o.bytes, o.writable())
}

// elsewhere reports whether what is written for a want takes its room from a pool's cluster. A want that says no format is for what
// such pools are for.
func elsewhere(cluster bool, w *volume.Want) bool {
	return cluster && (w.Format == volume.RBD || w.Format == "")
}

// lacks tells why a want doesn't fit. With bin the pool's bin counts as free, as far as it may be emptied.
func (o *offer) lacks(w *volume.Want, bin bool) shortfall {
	var more tally
	if bin && !o.keepsBin {
		more = o.bin
	}
	adds := w.Volumes > 0 || w.Bytes > 0
	switch {
	case !o.keeps(w.Format):
		return wrongFormat
	case o.cluster && !elsewhere(o.cluster, w) && w.Pool == "":
		return unnamed
	case adds && w.Size > o.limits.VolumeSize:
		return tooLarge
	case w.Volumes > 0 && int64(w.Volumes)-more.Volumes > o.volumes:
		return tooMany
	case w.Bytes > 0 && w.Bytes-more.Bytes > o.bytes:
		return tooMuch
	case w.Write > 0 && !elsewhere(o.cluster, w) && w.Write-more.Bytes > o.writable():
		return noSpace
	}
	return fits
}

// take counts a want as placed here.
func (o *offer) take(w *volume.Want) {
	if o.limits.Volumes != Unlimited {
		o.volumes -= int64(w.Volumes)
	}
	if o.limits.TotalSize != Unlimited {
		o.bytes -= w.Bytes
	}
	if o.disk != nil && !elsewhere(o.cluster, w) {
		o.disk.inFlight += w.Write
	}
	o.used = o.used.plus(tally{Volumes: int64(w.Volumes), Bytes: w.Bytes})
}

// untake is take undone.
func (o *offer) untake(w *volume.Want) {
	o.take(&volume.Want{Volumes: -w.Volumes, Bytes: -w.Bytes, Write: -w.Write, Format: w.Format})
}

// explain says why a want doesn't fit.
func (o *offer) explain(w *volume.Want, why shortfall) string {
	bin := ""
	if o.keepsBin && o.bin.Volumes > 0 && (why == tooMany || why == tooMuch || why == noSpace) {
		bin = ", and bin-keep forbids to empty its bin"
	}
	switch why {
	case fits:
		return "it can take some of them"
	case wrongFormat:
		return fmt.Sprintf("it can't keep volumes of format %s", w.Format)
	case unnamed:
		return fmt.Sprintf("it is on Ceph, and takes volumes of format %s, as files in its directory, only where it is named", w.Format)
	case tooLarge:
		return fmt.Sprintf("max-volume-size is %s, and %s are asked for", formatSize(o.limits.VolumeSize), formatSize(w.Size))
	case tooMany:
		return fmt.Sprintf("max-volumes is %d, and room is left for %d%s", o.limits.Volumes, max(o.volumes, 0), bin)
	case tooMuch:
		return fmt.Sprintf("of max-total-size %s there are %s left, and %s are needed%s",
			formatSize(o.limits.TotalSize), formatSize(max(o.bytes, 0)), formatSize(w.Bytes), bin)
	case noSpace:
		return fmt.Sprintf("its file system has room for %s, and %s are to be written now%s",
			formatSize(max(o.writable(), 0)), formatSize(w.Write), bin)
	}
	return ""
}

// roomier orders the offer with most room first. Equals, as pools on one device are, share the load.
func roomier(a, b *offer) int {
	return cmp.Or(
		cmp.Compare(b.room(), a.room()),
		cmp.Compare(a.used.Bytes, b.used.Bytes),
		cmp.Compare(a.used.Volumes, b.used.Volumes),
		cmp.Compare(a.name, b.name),
	)
}

// tighter orders the offer with least room first, which leaves room in one piece.
func tighter(a, b *offer) int { return roomier(b, a) }

// maxSteps bounds how many placements are tried in one search. Whoever asks for more at once than can be placed
// without much thought may be refused what could have been had.
const maxSteps = 5000

// place finds an offer for every want, the largest first, and takes them. The only offer for a want that names a
// pool is that pool's. If it finds none for one of them it takes nothing, and returns which; otherwise failed is -1.
func place(offers []*offer, wants []volume.Want, bin bool) (chosen []*offer, failed int) {
	s := search{offers: offers, wants: wants, bin: bin, order: make([]int, len(wants)), chosen: make([]*offer, len(wants))}
	for i := range wants {
		if len(s.candidates(&wants[i])) == 0 {
			return nil, i
		}
		s.order[i] = i
	}
	// Those that can't choose go first.
	slices.SortStableFunc(s.order, func(i, j int) int {
		a, b := &wants[i], &wants[j]
		return cmp.Or(-compareBool(a.Pool != "", b.Pool != ""), cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Write, a.Write))
	})
	for _, s.prefer = range []func(a, b *offer) int{roomier, tighter} {
		s.steps = maxSteps
		if s.from(0) {
			return s.chosen, -1
		}
	}
	return nil, s.order[0]
}

// search is one look for a placement.
type search struct {
	offers []*offer
	wants  []volume.Want
	order  []int // in which the wants are placed
	bin    bool
	prefer func(a, b *offer) int
	steps  int // how many more may be tried
	chosen []*offer
}

// candidates returns the offers that a want fits.
func (s *search) candidates(w *volume.Want) []candidateOffer {
	var list []candidateOffer
	for _, o := range s.offers {
		if w.Takes(o.name) && o.lacks(w, s.bin) == fits {
			list = append(list, candidateOffer{o, s.bin && o.lacks(w, false) != fits})
		}
	}
	return list
}

// candidateOffer is an offer that a want fits, perhaps only when the pool's bin was emptied.
type candidateOffer struct {
	*offer
	empties bool
}

// from places the wants from the nth of the order on, or takes back what it placed.
func (s *search) from(n int) bool {
	if n == len(s.order) {
		return true
	}
	i := s.order[n]
	w := &s.wants[i]
	list := s.candidates(w)
	slices.SortFunc(list, func(a, b candidateOffer) int {
		return cmp.Or(compareBool(a.empties, b.empties), s.prefer(a.offer, b.offer))
	})
	for _, c := range list {
		if s.steps == 0 {
			return false
		}
		s.steps--
		before := c.offer.empties
		c.take(w)
		c.offer.empties, s.chosen[i] = before || c.empties, c.offer
		if s.from(n + 1) {
			return true
		}
		c.untake(w)
		c.offer.empties = before
	}
	return false
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
