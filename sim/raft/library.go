package raft

import (
	"fmt"
	"reflect"
	"time"
	"unsafe"

	"github.com/cespare/xxhash/v2"
	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// electionTimer makes raft repeatable. The library draws its randomized election timeouts from crypto/rand and
// offers no way in; replacing crypto/rand.Reader would reach beyond this simulation. So after every call that may
// have redrawn the timeout this private field is overwritten: with the election timeout plus a pure function of
// (seed, member, term, raft state) below the election timeout, the distribution that the library draws from.
type electionTimer struct {
	randomized *int
	term       *uint64
	state      *etcdraft.StateType
	base       int
	salt       uint64

	lastTerm  uint64
	lastState etcdraft.StateType
	last      int
}

// raftFields are the places of the fields of the library's private struct raft that are needed.
type raftFields struct{ raft, randomized, term, state, election uintptr }

// findRaftFields looks the fields up and panics, naming the field, when an upgrade of the library has moved one.
func findRaftFields() (f raftFields) {
	node := reflect.TypeOf(etcdraft.RawNode{})
	holder := find(node, "raft", reflect.Pointer)
	f.raft = holder.Offset
	inner := holder.Type.Elem()
	f.randomized = find(inner, "randomizedElectionTimeout", reflect.Int).Offset
	f.election = find(inner, "electionTimeout", reflect.Int).Offset
	f.term = find(inner, "Term", reflect.Uint64).Offset
	f.state = find(inner, "state", reflect.Uint64).Offset
	return f
}

func find(in reflect.Type, name string, kind reflect.Kind) reflect.StructField {
	field, ok := in.FieldByName(name)
	if !ok || field.Type.Kind() != kind {
		panic(fmt.Sprintf("raft: field %s of %s is not there or is no %s any more: election timeouts of this version of "+
			"go.etcd.io/raft cannot be made repeatable", name, in, kind))
	}
	return field
}

// newElectionTimer takes over the election timeout of node.
func newElectionTimer(node *etcdraft.RawNode, seed, member uint64) *electionTimer {
	f := findRaftFields()
	raft := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(node), f.raft))
	t := &electionTimer{
		randomized: (*int)(unsafe.Add(raft, f.randomized)),
		term:       (*uint64)(unsafe.Add(raft, f.term)),
		state:      (*etcdraft.StateType)(unsafe.Add(raft, f.state)),
		base:       *(*int)(unsafe.Add(raft, f.election)),
		salt:       seed ^ member*0x9e3779b97f4a7c15,
	}
	t.last = -1
	t.fix()
	return t
}

// fix overwrites the timeout if it may have been redrawn.
func (t *electionTimer) fix() {
	if *t.randomized == t.last && *t.term == t.lastTerm && *t.state == t.lastState {
		return
	}
	t.lastTerm, t.lastState = *t.term, *t.state
	t.last = t.base + draw(t.salt, t.lastTerm, uint64(t.lastState), t.base)
	*t.randomized = t.last
}

// draw is the pure function: a number in [0, n).
func draw(salt, term, state uint64, n int) int {
	var key [24]byte
	for i := range 8 {
		key[i], key[8+i], key[16+i] = byte(salt>>(8*i)), byte(term>>(8*i)), byte(state>>(8*i))
	}
	return int(xxhash.Sum64(key[:]) % uint64(n))
}

// ticks converts a duration to raft ticks.
func ticks(d, tick time.Duration) int { return int(d / tick) }

// messageBuffers gives the raft library the memory of its lists of messages back. The library drops them whenever it
// is asked what is ready, which makes them half of what a write allocates. Both are private fields; the library only
// ever appends to them and sets them to nil.
type messageBuffers struct {
	now   *[]pb.Message // raft.msgs, which becomes Ready.Messages
	later *[]pb.Message // raft.msgsAfterAppend, which is copied from
}

func newMessageBuffers(node *etcdraft.RawNode) messageBuffers {
	holder := find(reflect.TypeOf(etcdraft.RawNode{}), "raft", reflect.Pointer)
	raft := *(*unsafe.Pointer)(unsafe.Add(unsafe.Pointer(node), holder.Offset))
	field := func(name string) *[]pb.Message {
		return (*[]pb.Message)(unsafe.Add(raft, find(holder.Type.Elem(), name, reflect.Slice).Offset))
	}
	return messageBuffers{field("msgs"), field("msgsAfterAppend")}
}

// ready is node.Ready.
func (b *messageBuffers) ready(node *etcdraft.RawNode) etcdraft.Ready {
	later := *b.later
	rd := node.Ready()
	*b.later = later[:0]
	return rd
}

// sent takes a list of messages that have been copied from, unless the library has begun another one.
func (b *messageBuffers) sent(list []pb.Message) {
	clear(list)
	if *b.now == nil {
		*b.now = list[:0]
	}
}
