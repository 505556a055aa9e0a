package raft

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// What is proposed comes out of its entry as it went in, whether keys repeat, differ, or lie in nested transactions.
func TestWhatIsProposedComesBackFromItsEntry(t *testing.T) {
	a, b, end := []byte("/registry/a"), []byte("/registry/b"), []byte("/registry/c")
	get := func(key []byte) RequestOp { return RequestOp{Range: &RangeRequest{Key: key, RangeEnd: end, Limit: 3}} }
	put := func(key []byte) RequestOp {
		return RequestOp{Put: &PutRequest{Key: key, Value: key, Lease: -7, PrevKv: true}}
	}
	remove := func(key []byte) RequestOp {
		return RequestOp{DeleteRange: &DeleteRangeRequest{Key: key, RangeEnd: []byte{0}, PrevKv: true}}
	}
	compare := func(key []byte) Compare {
		return Compare{Result: CompareLess, Target: CompareValue, Key: key, RangeEnd: end, Number: 1 << 40, Value: a}
	}
	nested := &TxnRequest{Compare: []Compare{compare(b), compare(b)}, Success: []RequestOp{put(b), put(a), get(a), get(a)}}
	for _, request := range []any{
		put(a).Put,
		remove(a).DeleteRange,
		&TxnRequest{Compare: []Compare{compare(a)}, Success: []RequestOp{put(a)}, Failure: []RequestOp{get(a)}},
		&TxnRequest{Compare: []Compare{compare(a), compare(b)}, Success: []RequestOp{put(b)}, Failure: []RequestOp{put(a)}},
		&TxnRequest{Success: []RequestOp{remove(a), {Txn: nested}, put(b)}, Failure: []RequestOp{get(b), {Txn: nested}}},
		&CompactionRequest{Revision: 1 << 33}, &LeaseGrantRequest{ID: 3, TTL: 60}, &LeaseRevokeRequest{ID: 3},
		&AlarmRequest{Action: AlarmActivate, MemberID: 1 << 63, Alarm: AlarmNoSpace},
		&memberAttributes{7, "m1", []string{"https://m1:2379"}}, &clusterVersionSet{"3.6.0"},
	} {
		data, size := encodeProposal(nil, 42, request)
		id, back := decodeProposal(data, &simpleTxn{})
		assert.EqualValues(t, 42, id)
		assert.EqualExportedValues(t, request, back)
		assert.GreaterOrEqual(t, size, len(data))
	}
	once, size := encodeProposal(nil, 1, &TxnRequest{Compare: []Compare{compare(a)}, Success: []RequestOp{put(a), get(a)}})
	assert.Equal(t, size-2*len(a), len(once), "a key is written once and counted each time")
}
