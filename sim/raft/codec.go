package raft

import (
	"bytes"
	"encoding/binary"

	"ksim/sim"
)

// What is proposed to raft is encoded by hand: values that come out of an entry are parts of its bytes, so that all
// members, which share the entry, share the values too.

// proposalKind says what an entry holds.
type proposalKind byte

const (
	proposePut proposalKind = iota + 1
	proposeDeleteRange
	proposeTxn
	proposeCompact
	proposeLeaseGrant
	proposeLeaseRevoke
	proposeAlarm
	proposeMemberAttributes // what a member publishes of itself
	proposeClusterVersion
)

// memberAttributes is what a member publishes of itself.
type memberAttributes struct {
	MemberID   uint64
	Name       string
	ClientURLs []string
}

// clusterVersionSet is what the leader publishes of the cluster.
type clusterVersionSet struct{ Version string }

type encoder struct {
	b     []byte
	last  []byte // the key that was written last
	saved int    // bytes that were not written because a key is the last one
}

func (e *encoder) uint(n uint64)  { e.b = binary.AppendUvarint(e.b, n) }
func (e *encoder) int(n int64)    { e.b = binary.AppendVarint(e.b, n) }
func (e *encoder) byte(n byte)    { e.b = append(e.b, n) }
func (e *encoder) bytes(b []byte) { e.b = append(binary.AppendUvarint(e.b, uint64(len(b))), b...) }

// key writes a key. Kubernetes' transactions compare, put and read the same one, and it lives as long as the value
// does. A key is never empty.
func (e *encoder) key(k []byte) {
	if len(k) > 0 && bytes.Equal(k, e.last) {
		e.byte(0)
		e.saved += len(k)
		return
	}
	e.bytes(k)
	e.last = k
}

func (e *encoder) bool(v bool) {
	if v {
		e.byte(1)
	} else {
		e.byte(0)
	}
}

// encodeProposal appends the bytes of an entry to b: kind, request ID, request; and says how long etcd takes the
// request to be.
func encodeProposal(b []byte, id uint64, request any) (data []byte, size int) {
	e := encoder{b: b}
	switch r := request.(type) {
	case *PutRequest:
		e.head(proposePut, id)
		e.put(r)
	case *DeleteRangeRequest:
		e.head(proposeDeleteRange, id)
		e.deleteRange(r)
	case *TxnRequest:
		e.head(proposeTxn, id)
		e.txn(r)
	case *CompactionRequest:
		e.head(proposeCompact, id)
		e.int(r.Revision)
	case *LeaseGrantRequest:
		e.head(proposeLeaseGrant, id)
		e.int(r.ID)
		e.int(r.TTL)
	case *LeaseRevokeRequest:
		e.head(proposeLeaseRevoke, id)
		e.int(r.ID)
	case *AlarmRequest:
		e.head(proposeAlarm, id)
		e.byte(byte(r.Action))
		e.uint(r.MemberID)
		e.byte(byte(r.Alarm))
	case *memberAttributes:
		e.head(proposeMemberAttributes, id)
		e.uint(r.MemberID)
		e.bytes([]byte(r.Name))
		e.uint(uint64(len(r.ClientURLs)))
		for _, u := range r.ClientURLs {
			e.bytes([]byte(u))
		}
	case *clusterVersionSet:
		e.head(proposeClusterVersion, id)
		e.bytes([]byte(r.Version))
	}
	return e.b, len(e.b) + e.saved
}

func (e *encoder) head(kind proposalKind, id uint64) {
	e.byte(byte(kind))
	e.uint(id)
}

func (e *encoder) put(r *PutRequest) {
	e.key(r.Key)
	e.bytes(r.Value)
	e.int(r.Lease)
	e.bool(r.PrevKv)
	e.bool(r.IgnoreValue)
	e.bool(r.IgnoreLease)
}

func (e *encoder) deleteRange(r *DeleteRangeRequest) {
	e.key(r.Key)
	e.bytes(r.RangeEnd)
	e.bool(r.PrevKv)
}

func (e *encoder) rangeRequest(r *RangeRequest) {
	e.key(r.Key)
	e.bytes(r.RangeEnd)
	for _, n := range [...]int64{r.Limit, r.Revision, r.MinModRevision, r.MaxModRevision, r.MinCreateRevision,
		r.MaxCreateRevision} {
		e.int(n)
	}
	e.byte(byte(r.SortOrder))
	e.byte(byte(r.SortTarget))
	e.bool(r.KeysOnly)
	e.bool(r.CountOnly)
}

func (e *encoder) txn(r *TxnRequest) {
	e.uint(uint64(len(r.Compare)))
	for i := range r.Compare {
		c := &r.Compare[i]
		e.byte(byte(c.Result))
		e.byte(byte(c.Target))
		e.key(c.Key)
		e.bytes(c.RangeEnd)
		e.int(c.Number)
		e.bytes(c.Value)
	}
	e.ops(r.Success)
	e.ops(r.Failure)
}

func (e *encoder) ops(ops []RequestOp) {
	e.uint(uint64(len(ops)))
	for i := range ops {
		switch o := &ops[i]; {
		case o.Range != nil:
			e.byte(1)
			e.rangeRequest(o.Range)
		case o.Put != nil:
			e.byte(2)
			e.put(o.Put)
		case o.DeleteRange != nil:
			e.byte(3)
			e.deleteRange(o.DeleteRange)
		case o.Txn != nil:
			e.byte(4)
			e.txn(o.Txn)
		default:
			e.byte(0)
		}
	}
}

type decoder struct {
	b    []byte
	last []byte // the key that was read last
}

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.b)
	d.b = d.b[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.b)
	d.b = d.b[size:]
	return n
}

func (d *decoder) byte() byte {
	n := d.b[0]
	d.b = d.b[1:]
	return n
}

func (d *decoder) bool() bool { return d.byte() != 0 }

// bytes returns a part of the entry, which never changes; its capacity is cut so that nobody appends into the entry.
func (d *decoder) bytes() []byte {
	n := d.uint()
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) key() []byte {
	if b := d.bytes(); len(b) > 0 {
		d.last = b
	}
	return d.last
}

// decodeProposal is the inverse of encodeProposal.
func decodeProposal(data []byte, memory *simpleTxn) (id uint64, request any) {
	d := decoder{b: data}
	kind := proposalKind(d.byte())
	id = d.uint()
	switch kind {
	case proposePut:
		put := d.put()
		request = &put
	case proposeDeleteRange:
		request = d.deleteRange()
	case proposeTxn:
		request = d.txn(memory)
	case proposeCompact:
		request = &CompactionRequest{Revision: d.int()}
	case proposeLeaseGrant:
		request = &LeaseGrantRequest{ID: d.int(), TTL: d.int()}
	case proposeLeaseRevoke:
		request = &LeaseRevokeRequest{ID: d.int()}
	case proposeAlarm:
		request = &AlarmRequest{Action: AlarmAction(d.byte()), MemberID: d.uint(), Alarm: AlarmType(d.byte())}
	case proposeMemberAttributes:
		a := &memberAttributes{MemberID: d.uint(), Name: string(d.bytes())}
		for n := d.uint(); n > 0; n-- {
			a.ClientURLs = append(a.ClientURLs, string(d.bytes()))
		}
		request = a
	case proposeClusterVersion:
		request = &clusterVersionSet{string(d.bytes())}
	}
	return id, request
}

// simpleTxn has the memory of a decoded transaction of the common form, as one piece: one comparison, one operation
// whether it holds or not.
type simpleTxn struct {
	txn              TxnRequest
	compare          [1]Compare
	success, failure [1]RequestOp
	put              PutRequest
	get              RangeRequest
}

func (d *decoder) put() PutRequest {
	return PutRequest{Key: d.key(), Value: d.bytes(), Lease: d.int(), PrevKv: d.bool(), IgnoreValue: d.bool(),
		IgnoreLease: d.bool()}
}

func (d *decoder) deleteRange() *DeleteRangeRequest {
	return &DeleteRangeRequest{Key: d.key(), RangeEnd: d.bytes(), PrevKv: d.bool()}
}

func (d *decoder) rangeRequest() RangeRequest {
	return RangeRequest{Key: d.key(), RangeEnd: d.bytes(), Limit: d.int(), Revision: d.int(), MinModRevision: d.int(),
		MaxModRevision: d.int(), MinCreateRevision: d.int(), MaxCreateRevision: d.int(), SortOrder: SortOrder(d.byte()),
		SortTarget: SortTarget(d.byte()), KeysOnly: d.bool(), CountOnly: d.bool()}
}

func (d *decoder) txn(x *simpleTxn) *TxnRequest {
	r := &x.txn
	if n := d.uint(); n > 0 {
		r.Compare = x.compare[:]
		if n > 1 {
			r.Compare = make([]Compare, n)
		}
		for i := range r.Compare {
			r.Compare[i] = Compare{CompareResult(d.byte()), CompareTarget(d.byte()), d.key(), d.bytes(), d.int(), d.bytes()}
		}
	}
	r.Success = d.ops(&x.success, x)
	r.Failure = d.ops(&x.failure, x)
	return r
}

func (d *decoder) ops(one *[1]RequestOp, memory *simpleTxn) []RequestOp {
	n := d.uint()
	if n == 0 {
		return nil
	}
	ops := one[:]
	if n > 1 {
		ops = make([]RequestOp, n)
	}
	for i := range ops {
		switch d.byte() {
		case 1:
			get := &memory.get
			if len(get.Key) > 0 { // taken: a key is never empty
				get = new(RangeRequest)
			}
			*get = d.rangeRequest()
			ops[i].Range = get
		case 2:
			put := &memory.put
			if len(put.Key) > 0 {
				put = new(PutRequest)
			}
			*put = d.put()
			ops[i].Put = put
		case 3:
			ops[i].DeleteRange = d.deleteRange()
		case 4:
			ops[i].Txn = d.txn(&simpleTxn{})
		}
	}
	return ops
}

// entries decodes what was proposed once for all members, which share the bytes of an entry. It holds nothing of a
// member's state: every answer is what the bytes say, whoever asked before.
type entries struct{ recent [recentEntries]decodedEntry }

// decodedEntry holds on to data, so that no other entry can lie at the same place.
type decodedEntry struct {
	data    []byte
	id      uint64
	request any
	memory  simpleTxn
}

// chosen: members apply an entry within milliseconds of each other.
const recentEntries = 1 << 7

type entriesKey struct{}

func entriesOf(k *sim.Kernel) *entries {
	return k.Memo(entriesKey{}, func() any { return new(entries) }).(*entries)
}

// decode returns what an entry holds, which is not empty. The request is shared: it must not be changed, nor kept
// longer than it takes to apply it.
func (m *entries) decode(index uint64, data []byte) (id uint64, request any) {
	e := &m.recent[index%recentEntries]
	if len(e.data) != len(data) || &e.data[0] != &data[0] {
		e.memory = simpleTxn{}
		e.id, e.request = decodeProposal(data, &e.memory)
		e.data = data
	}
	return e.id, e.request
}
