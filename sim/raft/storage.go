package raft

import (
	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// raftLog is the part of the log that a member has in memory, for the raft library. It is the library's MemoryStorage
// without locks and without copies of snapshots.
type raftLog struct {
	hardState pb.HardState
	confState *pb.ConfState
	snapshot  func() pb.Snapshot // makes the newest one, for a laggard
	first     uint64             // index of entries[0]
	firstTerm uint64             // term of the entry before it
	entries   []pb.Entry
}

// compactEvery is how many entries there must be to forget before any is, so that the rest is not copied for each.
// chosen.
const compactEvery = 1000

func newRaftLog() *raftLog { return &raftLog{confState: &pb.ConfState{}, first: 1} }

// InitialState implements etcdraft.Storage.
func (l *raftLog) InitialState() (pb.HardState, pb.ConfState, error) {
	return l.hardState, *l.confState, nil
}

// Entries implements etcdraft.Storage.
func (l *raftLog) Entries(low, high, maxSize uint64) ([]pb.Entry, error) {
	if low < l.first {
		return nil, etcdraft.ErrCompacted
	}
	if high > l.first+uint64(len(l.entries)) {
		return nil, etcdraft.ErrUnavailable
	}
	part := l.entries[low-l.first : high-l.first]
	size := uint64(0)
	for i := range part {
		size += uint64(len(part[i].Data)) + 12 // the entry's other fields, encoded
		if size > maxSize && i > 0 {
			part = part[:i]
			break
		}
	}
	return part[:len(part):len(part)], nil
}

// Term implements etcdraft.Storage.
func (l *raftLog) Term(i uint64) (uint64, error) {
	switch {
	case i+1 < l.first:
		return 0, etcdraft.ErrCompacted
	case i+1 == l.first:
		return l.firstTerm, nil
	case i >= l.first+uint64(len(l.entries)):
		return 0, etcdraft.ErrUnavailable
	}
	return l.entries[i-l.first].Term, nil
}

// LastIndex implements etcdraft.Storage.
func (l *raftLog) LastIndex() (uint64, error) { return l.last(), nil }

func (l *raftLog) last() uint64 { return l.first + uint64(len(l.entries)) - 1 }

// FirstIndex implements etcdraft.Storage.
func (l *raftLog) FirstIndex() (uint64, error) { return l.first, nil }

// Snapshot implements etcdraft.Storage.
func (l *raftLog) Snapshot() (pb.Snapshot, error) { return l.snapshot(), nil }

// append adds entries, replacing what conflicts with them.
func (l *raftLog) append(entries []pb.Entry) {
	if len(entries) == 0 {
		return
	}
	if from := entries[0].Index; from < l.first {
		if skip := l.first - from; skip < uint64(len(entries)) {
			entries = entries[skip:]
		} else {
			return
		}
	}
	keep := entries[0].Index - l.first
	if keep < uint64(len(l.entries)) {
		l.entries = append(l.entries[:keep:keep], entries...)
	} else {
		l.entries = append(l.entries, entries...)
	}
}

// compact forgets the entries up to and including index.
func (l *raftLog) compact(index uint64) {
	if index < l.first || index > l.last() {
		return
	}
	n := index - l.first + 1
	l.firstTerm = l.entries[n-1].Term
	l.first = index + 1
	// The forgotten part is not cleared: a message to a laggard may still be on its way with it.
	rest := l.entries[n:]
	l.entries = append(make([]pb.Entry, 0, len(rest)+compactEvery+compactEvery/4), rest...)
}

// restart begins anew after a snapshot.
func (l *raftLog) restart(at *pb.SnapshotMetadata) {
	l.first, l.firstTerm, l.entries = at.Index+1, at.Term, nil
	l.confState = &at.ConfState
}
