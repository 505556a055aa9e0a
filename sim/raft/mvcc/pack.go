package mvcc

import (
	"encoding/binary"
	"math/bits"
)

// packer packs chunks. Versions of an object, and objects of a kind, are alike but for a few bytes, so each is written
// as what it takes from bytes before it. compress/flate would take ten times as long for little less memory.
type packer struct {
	raw    []byte
	out    []byte
	places [packerPlaces]int32
	newest map[string]int // of each key, in the chunk
}

const (
	packerPlaces = 1 << 14
	shortest     = 8 // bytes that are worth a reference
)

// pack replaces the changes of a chunk.
func (p *packer) pack(c *chunk) {
	if c.rows != nil {
		return
	}
	if p.newest == nil {
		p.newest = map[string]int{}
	}
	p.raw = p.raw[:0]
	rows := make([]row, len(c.changes))
	for i := range c.changes {
		x := &c.changes[i]
		rows[i] = row{x.revision(), x.frees()}
		key := view(x.kv.Key)
		before, known := p.newest[key]
		switch {
		case known && c.changes[before].kv == x.prev:
			p.uint(uint64(i-before) + 1)
		case x.prev == nil:
			p.uint(0)
		default:
			p.uint(1)
			p.version(x.prev)
		}
		p.version(x.kv)
		p.newest[key] = i
	}
	clear(p.newest)
	p.squeeze()
	c.packed = append(make([]byte, 0, len(p.out)), p.out...)
	c.rows, c.changes = rows, nil
}

func (p *packer) uint(n uint64) { p.raw = binary.AppendUvarint(p.raw, n) }

func (p *packer) version(kv *KeyValue) {
	for _, n := range [...]int64{kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease} {
		p.uint(uint64(n))
	}
	for _, b := range [...][]byte{kv.Key, kv.Value} {
		p.uint(uint64(len(b)))
		p.raw = append(p.raw, b...)
	}
}

// squeeze writes raw to out as pairs: bytes as they are, then bytes that stand further in front (LZ77).
func (p *packer) squeeze() {
	clear(p.places[:])
	raw, out := p.raw, binary.AppendUvarint(p.out[:0], uint64(len(p.raw)))
	done := 0
	for i := 0; i+shortest <= len(raw); {
		word := binary.LittleEndian.Uint64(raw[i:])
		place := &p.places[word*0x9e3779b97f4a7c15>>(64-14)]
		from := int(*place) - 1
		*place = int32(i + 1)
		if from < 0 || binary.LittleEndian.Uint64(raw[from:]) != word {
			i += 1 + (i-done)>>6 // faster where nothing is alike
			continue
		}
		n := shortest + alike(raw[from+shortest:], raw[i+shortest:])
		for i > done && from > 0 && raw[i-1] == raw[from-1] {
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

// unpack returns the changes of a packed chunk. They are equal to what was packed, but no longer the same objects.
func unpack(c *chunk) []change {
	r := unpacker{stretch(c.packed)}
	changes := make([]change, len(c.rows))
	versions := make([]KeyValue, 0, 2*len(c.rows))
	version := func() *KeyValue {
		versions = append(versions, r.version())
		return &versions[len(versions)-1]
	}
	for i := range changes {
		switch before := r.uint(); before {
		case 0:
		case 1:
			changes[i].prev = version()
		default:
			changes[i].prev = changes[i+1-int(before)].kv
		}
		changes[i].kv = version()
	}
	return changes
}

// stretch is the inverse of squeeze.
func stretch(packed []byte) []byte {
	r := unpacker{packed}
	raw := make([]byte, 0, r.uint())
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
	kv.Key, kv.Value = r.bytes(), r.bytes()
	if kv.Version == 0 {
		kv.Value = nil
	}
	return kv
}
