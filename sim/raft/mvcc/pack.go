package mvcc

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
)

// packer packs chunks and pages. Versions of an object, and objects of a kind, are alike but for a few bytes, so each
// is written as what it takes from bytes before it. compress/flate would take ten times as long for little less memory.
type packer struct {
	raw    []byte
	out    []byte
	places [packerPlaces]int32
	shelf  *page // the chunk, as that of the values in it
}

const (
	packerPlaces = 1 << 14
	shortest     = 8 // bytes that are worth a reference
)

// How a packed change says what was there before; whether its own version is kept is added.
const (
	prevNone   = iota << 1
	prevPacked // it follows
	prevKept   // it is the next of those that are kept
	prevNear   // and above: it is the version of that many changes before
	keptItself = 1
)

func (p *packer) begin() {
	p.raw = p.raw[:0]
	clear(p.places[:])
}

// pack replaces the changes of a chunk. Versions that nobody has replaced live on as they are, and wait for the attic;
// what somebody still knows of the others has its value in the chunk.
func (p *packer) pack(c *chunk, a *attic) {
	if c.rows != nil {
		return
	}
	p.begin()
	p.shelf = &page{attic: a}
	rows := make([]row, len(c.changes))
	for i := range c.changes {
		x := &c.changes[i]
		rows[i] = row{uint32(x.revision() - c.changes[0].revision()), uint32(x.frees())}
		own := uint64(0)
		if !x.deletes() && !x.kv.is(superseded) {
			own = keptItself
		}
		switch near := c.near(i); {
		case x.prev == nil:
			p.uint(prevNone | own)
		case near > 0:
			p.uint(uint64(prevNear+(near-1)<<1) | own)
		case x.prev.page != nil || x.prev.is(kept):
			p.uint(prevKept | own)
			c.kept = append(c.kept, x.prev)
		default:
			p.uint(prevPacked | own)
			p.version(x.prev)
		}
		if own != 0 {
			c.kept = append(c.kept, x.kv)
			a.keep(x.kv)
		} else {
			p.version(x.kv)
		}
	}
	p.squeeze(0)
	c.packed = bytes.Clone(p.out)
	p.shelf.packed = c.packed
	c.kept = slices.Clip(c.kept)
	c.rows, c.begin, c.changes = rows, c.changes[0].revision(), nil
}

// near returns how many changes before the i-th its previous version was made, 0 if it was not in this chunk.
func (c *chunk) near(i int) int {
	x := &c.changes[i]
	if x.prev == nil {
		return 0
	}
	// As many as revisions lie between them, if each has one change.
	n := x.revision() - x.prev.ModRevision
	if n > 0 && n <= int64(i) && c.changes[i-int(n)].kv == x.prev {
		return int(n)
	}
	first := sort.Search(i, func(j int) bool { return c.changes[j].revision() >= x.prev.ModRevision })
	for j := first; j < i && c.changes[j].revision() == x.prev.ModRevision; j++ {
		if c.changes[j].kv == x.prev {
			return i - j
		}
	}
	return 0
}

func (p *packer) uint(n uint64) { p.raw = binary.AppendUvarint(p.raw, n) }

func (p *packer) version(kv *KeyValue) {
	for _, n := range [...]int64{kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease} {
		p.uint(uint64(n))
	}
	for _, b := range [...][]byte{kv.Key, kv.Value()} {
		p.uint(uint64(len(b)))
		p.raw = append(p.raw, b...)
	}
	if kv.page == nil && kv.size > 0 {
		kv.pack(p.shelf, int32(len(p.raw))-kv.size)
	}
}

// squeeze writes raw, from a place on, to out as pairs: bytes as they are, then bytes that stand further in front
// (LZ77).
func (p *packer) squeeze(begin int) {
	raw, out := p.raw, binary.AppendUvarint(p.out[:0], uint64(len(p.raw)-begin))
	done := begin
	for i := begin; i+shortest <= len(raw); {
		word := binary.LittleEndian.Uint64(raw[i:])
		place := &p.places[word*0x9e3779b97f4a7c15>>(64-14)]
		from := int(*place) - 1
		*place = int32(i + 1)
		if from < begin || binary.LittleEndian.Uint64(raw[from:]) != word {
			i += 1 + (i-done)>>6 // faster where nothing is alike
			continue
		}
		n := shortest + alike(raw[from+shortest:], raw[i+shortest:])
		for i > done && from > begin && raw[i-1] == raw[from-1] {
			i, from, n = i-1, from-1, n+1
		}
		out = append(binary.AppendUvarint(out, uint64(i-done)), raw[done:i]...)
		out = binary.AppendUvarint(binary.AppendUvarint(out, uint64(n)), uint64(i-from))
		i += n
		done = i
	}
	p.out = append(binary.AppendUvarint(out, uint64(len(raw)-done)), raw[done:]...)
}

// alike returns how many bytes two texts have in common, the second being the shorter.
func alike(a, b []byte) (n int) {
	for n+8 <= len(b) {
		if differ := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); differ != 0 {
			return n + bits.TrailingZeros64(differ)/8
		}
		n += 8
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// unpack returns the changes of a packed chunk. They are equal to what was packed, but those that were not kept are no
// longer the same objects.
func unpack(c *chunk) []change {
	r := unpacker{stretch(nil, c.packed)}
	changes := make([]change, len(c.rows))
	versions := make([]KeyValue, 0, 2*len(c.rows))
	keep := c.kept
	version := func(isKept bool) (kv *KeyValue) {
		if isKept {
			kv, keep = keep[0], keep[1:]
			return kv
		}
		versions = append(versions, r.version())
		return &versions[len(versions)-1]
	}
	for i := range changes {
		how := r.uint()
		switch before := how &^ keptItself; before {
		case prevNone:
		case prevPacked, prevKept:
			changes[i].prev = version(before == prevKept)
		default:
			changes[i].prev = changes[i-1-int(before-prevNear)>>1].kv
		}
		changes[i].kv = version(how&keptItself != 0)
	}
	return changes
}

// stretch is the inverse of squeeze. It uses the memory of raw.
func stretch(raw, packed []byte) []byte {
	r := unpacker{packed}
	raw = slices.Grow(raw[:0], int(r.uint()))
	for {
		raw = append(raw, r.bytes()...)
		if len(r.b) == 0 {
			return raw
		}
		n := int(r.uint())
		for from := len(raw) - int(r.uint()); n > 0; { // what is taken may reach into what it makes
			part := raw[from:min(from+n, len(raw))]
			raw = append(raw, part...)
			n -= len(part)
			from += len(part)
		}
	}
}

type unpacker struct{ b []byte }

func (r *unpacker) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.b = r.b[size:]
	return n
}

func (r *unpacker) bytes() []byte {
	n := r.uint()
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *unpacker) version() KeyValue {
	kv := KeyValue{CreateRevision: int64(r.uint()), ModRevision: int64(r.uint()), Version: int64(r.uint()),
		Lease: int64(r.uint())}
	kv.Key = r.bytes()
	if value := r.bytes(); kv.Version != 0 {
		kv.setValue(value)
	}
	kv.supersede()
	return kv
}
