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
	recents recents
	intents map[string]*intent // by key: writes sent to etcd and not yet known to have happened, in order
	connect func(*Server) etcdClient
}

// intent is a write on its way to etcd, and the request that the trace will tell it of.
type intent struct {
	write
	by   *request
	next *intent // of the same key
	txn  writeTxn
}

// newFamily makes what the API servers of a simulation share.
func newFamily(k *sim.Kernel) *family {
	return &family{kernel: k, codec: api.CodecOf(k), intents: map[string]*intent{}, connect: connectEtcd}
}

type familyKey struct{}

// familyOf returns what the API servers of a simulation share.
func familyOf(k *sim.Kernel) *family {
	return k.Memo(familyKey{}, func() any { return newFamily(k) }).(*family)
}

// begin notes a write before it is sent. Whoever learns of its revision first, this server by the answer or another one
// by its watch, tells the trace: otherwise who acts on a watch event could have no cause, because events may overtake
// the answer to the writer, and a write whose answer was lost would have none for ever.
func (f *family) begin(in *intent) {
	last := f.intents[in.name]
	if last == nil {
		f.intents[in.name] = in
		return
	}
	for last.next != nil {
		last = last.next
	}
	last.next = in
}

// end forgets a write that is known to have happened or not to have happened.
func (f *family) end(in *intent) {
	first := f.intents[in.name]
	if first != nil {
		f.drop(in.name, first, func(other *intent) bool { return other == in })
	}
}

// drop takes intents out of the list of a key.
func (f *family) drop(key string, first *intent, gone func(*intent) bool) {
	kept := first
	for at := &kept; *at != nil; {
		if gone(*at) {
			*at = (*at).next
		} else {
			at = &(*at).next
		}
	}
	switch {
	case kept == nil:
		delete(f.intents, key)
	case kept != first:
		f.intents[key] = kept
	}
}

// wrote tells the trace that a write made that revision, unless that is known; it returns the trace event.
func (f *family) wrote(in *intent, revision int64) sim.EventID {
	f.end(in)
	if id := f.kernel.Trace().WriteOf(revision); id != 0 {
		return id
	}
	id := f.kernel.Root().Emit(in.by.traceEvent(&in.write))
	f.kernel.Trace().Wrote(revision, id)
	return id
}

// saw is told of every change of a key that a watch brings, from which revision to which; it returns the trace event of
// the write that made it, 0 if no API server did. known is what the object is found by, if a writer has said it.
func (f *family) saw(key string, value []byte, from, to int64) (id sim.EventID, known *names) {
	id = f.kernel.Trace().WriteOf(to)
	first := f.intents[key]
	if first == nil {
		return id, nil
	}
	for in := first; in != nil && id == 0; in = in.next {
		if in.revision == from && (in.value == nil) == (value == nil) && bytes.Equal(in.value, value) {
			id = f.kernel.Root().Emit(in.by.traceEvent(&in.write))
			f.kernel.Trace().Wrote(to, id)
		}
	}
	// What was meant for an older version of the key cannot happen any more.
	f.drop(first.name, first, func(in *intent) bool { return in.revision < to })
	return id, first.names
}
