package sim

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"slices"
	"time"
)

// EventID is the place of an event in the trace, from 1. 0 is the outside world.
type EventID uint64

// Level says for whom an event is.
type Level uint8

const (
	// Detail is for whoever asks for everything: reconciliations, writes of no consequence.
	Detail Level = iota
	// Routine is what repeats all the time and means that all is well: heartbeats, lease renewals.
	Routine
	// Story is what a reader of the run wants to be told.
	Story
	// Fault is an act of the outside world: a step, a fault, a command.
	Fault
)

// Event is one entry of the trace: something happened to an object, and this is why.
type Event struct {
	Seq       EventID
	T         Time
	Cause     EventID // the event that led to this one
	Level     Level
	Machine   string // where it happened, "" outside
	Component string // who did it, by its process name: kube-controller-manager
	Reason    string // CamelCase, Kubernetes' own where it has one
	Object    string // kind/name or kind/namespace/name
	Message   string // one sentence for people
	// A wait that ends with this event: from Since, for Wait, because Setting says so ("node-monitor-grace-period").
	Since   EventID
	Wait    time.Duration
	Setting string
	// Related is a second object that the event speaks of: the node of a Scheduled pod, the pod of a SuccessfulCreate.
	Related string
}

// Trace is the memory of a run: all events in order and a running digest over them.
type Trace struct {
	history history
	flat    []Event // what Events has put together
	hash    hash.Hash
	buffer  []byte
	writes  []EventID // by etcd revision: the event of the write that made it
	faults  []fault
}

type fault struct {
	id     EventID
	object string
}

func newTrace() *Trace { return &Trace{hash: sha256.New(), buffer: make([]byte, 0, 1<<14)} }

// Len returns how many events there are.
func (t *Trace) Len() int { return t.history.length }

// Events returns all events in order. The slice must not be changed.
func (t *Trace) Events() []Event {
	if missing := t.Len() - len(t.flat); missing > 0 {
		t.flat = t.history.appendFrom(EventID(len(t.flat)+1), slices.Grow(t.flat, missing))
	}
	return t.flat
}

// Event returns the event with that ID, from 1 to Len.
func (t *Trace) Event(id EventID) Event { return t.history.at(id) }

// Digest returns the SHA-256, in hex, over every field of every event so far.
func (t *Trace) Digest() string {
	t.flush()
	return hex.EncodeToString(t.hash.Sum(nil))
}

// Wrote records that event id was the write that made that revision of etcd's store.
func (t *Trace) Wrote(revision int64, id EventID) {
	for int64(len(t.writes)) <= revision {
		t.writes = append(t.writes, 0)
	}
	t.writes[revision] = id
}

// WriteOf returns the event of the write that made that revision, 0 if there is none. It carries causes across the API:
// who acts on an object because of what it read says Because(WriteOf(its resourceVersion)).
func (t *Trace) WriteOf(revision int64) EventID {
	if revision < 0 || revision >= int64(len(t.writes)) {
		return 0
	}
	return t.writes[revision]
}

// Silence returns the cause of not having heard from a machine since an event: the first fault after it that befell
// that machine, else the first fault after it at all, else the event itself. An absence has no event of its own to
// point to.
func (t *Trace) Silence(machine string, since EventID) EventID {
	var first EventID
	for i := len(t.faults) - 1; i >= 0 && t.faults[i].id > since; i-- {
		if t.faults[i].object == "machine/"+machine {
			first = t.faults[i].id
		}
	}
	if first != 0 {
		return first
	}
	for _, f := range t.faults {
		if f.id > since {
			return f.id
		}
	}
	return since
}

// Emit adds an event to the trace, with the time, the current cause unless one is given, and the scope's labels unless
// given; it returns the event's ID. A dead scope emits nothing.
func (s *Scope) Emit(e Event) EventID {
	if !s.alive {
		return 0
	}
	k := s.kernel
	e.T = k.now
	if e.Cause == 0 {
		e.Cause = k.cause
	}
	if e.Machine == "" {
		e.Machine = s.machine
	}
	if e.Component == "" {
		e.Component = s.component
	}
	t := k.trace
	t.history.add(&e)
	e.Seq = EventID(t.Len())
	if e.Level == Fault {
		t.faults = append(t.faults, fault{e.Seq, e.Object})
	}
	t.digest(&e, k.seq)
	for _, fn := range k.observers {
		fn(e)
	}
	return e.Seq
}

func (t *Trace) digest(e *Event, kernelSeq uint64) {
	b := t.buffer
	b = binary.LittleEndian.AppendUint64(b, uint64(e.T))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Cause))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Since))
	b = binary.LittleEndian.AppendUint64(b, kernelSeq)
	b = append(b, byte(e.Level))
	for _, text := range [...]string{e.Machine, e.Component, e.Reason, e.Object, e.Message, e.Setting, e.Related} {
		b = append(b, text...)
		b = append(b, 0)
	}
	t.buffer = b
	if len(b) > 1<<13 {
		t.flush()
	}
}

func (t *Trace) flush() {
	t.hash.Write(t.buffer)
	t.buffer = t.buffer[:0]
}
