package raft

import (
	"unsafe"

	"ksim/sim"
)

// entries decodes what was proposed once for all members, which share the bytes of an entry. It holds nothing of a
// member's state: every answer is what the bytes say, whoever asked before.
type entries struct{ recent [recentEntries]decodedEntry }

// decodedEntry holds on to data, so that no other entry can lie at the same place.
type decodedEntry struct {
	data    []byte
	id      uint64
	request any
}

// chosen: members apply an entry within milliseconds of each other.
const recentEntries = 1 << 8

type entriesKey struct{}

func entriesOf(k *sim.Kernel) *entries {
	return k.Memo(entriesKey{}, func() any { return new(entries) }).(*entries)
}

// decode returns what an entry holds. The request is shared and must not be changed.
func (m *entries) decode(index uint64, data []byte) (id uint64, request any) {
	e := &m.recent[index%recentEntries]
	if len(e.data) != len(data) || unsafe.SliceData(e.data) != unsafe.SliceData(data) {
		e.id, e.request = decodeProposal(data)
		e.data = data
	}
	return e.id, e.request
}
