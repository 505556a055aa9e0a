package mvcc

import (
	"bytes"
	"slices"
)

// attic packs values that nobody has replaced for a while: of what a cluster writes, most that is not replaced soon,
// Events above all, is never read again. Values of neighbouring keys are alike, so those that have waited are sorted by
// key and packed by pages; a page is small, because who reads one value unpacks it up to there.
type attic struct {
	packer  packer
	waiting []*KeyValue
	bytes   int // of what waits
	recent  [recentPages]openPage
	turn    int
	batch   int
}

// page is a piece of the attic: values, one after the other, squeezed; or a packed chunk of the history. It lives as
// long as one of the values does.
type page struct {
	attic  *attic
	packed []byte
}

// openPage is a page that was read a moment ago.
type openPage struct {
	page *page
	raw  []byte
}

// chosen: a page packs nearly as well as a much larger one; lists go through neighbouring pages.
const (
	pageSize    = 16 << 10
	atticBatch  = 1 << 20
	recentPages = 8
)

// keep notes that a packed chunk refers to a version, and has its value packed some time, if nobody replaces it before.
func (a *attic) keep(kv *KeyValue) {
	if kv.page != nil || kv.is(kept) {
		return
	}
	kv.at |= kept
	a.waiting = append(a.waiting, kv)
	a.bytes += int(kv.size)
}

// look packs all that waits if it is enough.
func (a *attic) look() {
	if a.bytes < a.batch {
		return
	}
	living := slices.DeleteFunc(a.waiting, func(kv *KeyValue) bool { return kv.page != nil || kv.is(superseded) })
	slices.SortFunc(living, func(x, y *KeyValue) int { return bytes.Compare(x.Key, y.Key) })
	p := &a.packer
	p.begin()
	first, from := 0, 0
	for i, kv := range living {
		p.raw = append(p.raw, kv.Value()...)
		if len(p.raw)-from < pageSize && i < len(living)-1 {
			continue
		}
		p.squeeze(from)
		to := &page{a, bytes.Clone(p.out)}
		for at := int32(0); first <= i; first++ {
			living[first].pack(to, at)
			at += living[first].size
		}
		from = len(p.raw)
	}
	clear(a.waiting)
	a.waiting, a.bytes = a.waiting[:0], 0
}

// value returns the bytes at a place of the page.
func (p *page) value(at, size int32) []byte {
	for i := range p.attic.recent {
		if open := &p.attic.recent[i]; open.page == p {
			return bytes.Clone(open.raw[at : at+size])
		}
	}
	open := &p.attic.recent[p.attic.turn]
	p.attic.turn = (p.attic.turn + 1) % recentPages
	open.page, open.raw = p, stretch(open.raw[:0], p.packed)
	return bytes.Clone(open.raw[at : at+size])
}
