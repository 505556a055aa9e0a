package apiserver

import (
	"bytes"

	"ksim/sim"
	"ksim/sim/api"
)

// family is what the API servers of one simulation share: nothing that one could learn from another, only what saves
// the simulator work (decoded objects) and what the trace needs (who is about to write what).
type family struct {
	kernel  *sim.Kernel
	codec   *api.Codec
	intents map[string][]*intent // by key: writes sent to etcd and not yet known to have happened
	connect func(*Server) etcdClient
}

// intent is a write on its way to etcd, as the trace will tell it.
type intent struct {
	key      string
	value    []byte // nil: a deletion
	revision int64  // that the key must stand at
	event    sim.Event
}

// newFamily makes what the API servers of a simulation share.
func newFamily(k *sim.Kernel) *family {
	return &family{kernel: k, codec: api.CodecOf(k), intents: map[string][]*intent{}, connect: connectEtcd}
}

type familyKey struct{}

// familyOf returns what the API servers of a simulation share.
func familyOf(k *sim.Kernel) *family {
	return k.Memo(familyKey{}, func() any { return newFamily(k) }).(*family)
}

// begin notes a write before it is sent. Whoever learns of its revision first, this server by the answer or another one
// by its watch, tells the trace: otherwise who acts on a watch event could have no cause, because events may overtake
// the answer to the writer, and a write whose answer was lost would have none for ever.
func (f *family) begin(w write, event sim.Event) *intent {
	in := &intent{key: w.key, value: w.value, revision: w.revision, event: event}
	f.intents[w.key] = append(f.intents[w.key], in)
	return in
}

// end forgets a write that is known to have happened or not to have happened.
func (f *family) end(in *intent) {
	list := f.intents[in.key]
	for i, other := range list {
		if other == in {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	f.keep(in.key, list)
}

func (f *family) keep(key string, list []*intent) {
	if len(list) == 0 {
		delete(f.intents, key)
		return
	}
	f.intents[key] = list
}

// wrote tells the trace that a write made that revision, unless that is known; it returns the trace event.
func (f *family) wrote(in *intent, revision int64) sim.EventID {
	f.end(in)
	if id := f.kernel.Trace().WriteOf(revision); id != 0 {
		return id
	}
	id := f.kernel.Root().Emit(in.event)
	f.kernel.Trace().Wrote(revision, id)
	return id
}

// saw is told of every change of a key that a watch brings, from which revision to which; it returns the trace event of
// the write that made it, 0 if no API server did.
func (f *family) saw(key, value []byte, from, to int64) sim.EventID {
	id := f.kernel.Trace().WriteOf(to)
	list := f.intents[string(key)]
	if len(list) == 0 {
		return id
	}
	if id == 0 {
		for _, in := range list {
			if in.revision == from && (in.value == nil) == (value == nil) && bytes.Equal(in.value, value) {
				id = f.kernel.Root().Emit(in.event)
				f.kernel.Trace().Wrote(to, id)
				break
			}
		}
	}
	// What was meant for an older version of the key cannot happen any more.
	kept := list[:0]
	for _, in := range list {
		if in.revision >= to {
			kept = append(kept, in)
		}
	}
	f.keep(string(key), kept)
	return id
}
