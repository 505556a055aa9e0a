package raft

import (
	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"
)

// raftLog is the part of the log that a member has in memory, for the raft library. It is the library's MemoryStorage
// without locks and without copies of snapshots. Entries lie in chunks, so that forgetting the oldest copies nothing;
// one that was handed out is never overwritten, for messages on their way are made of the same memory.
type raftLog struct {
	hardState pb.HardState
	confState *pb.ConfState
	snapshot  func() pb.Snapshot // makes the newest one, for a laggard
	first     uint64             // index of the oldest entry
	firstTerm uint64             // term of the entry before it
	next      uint64             // index of the entry that comes after the last
	chunks    []*logChunk        // the first has the index first
}

// logChunk has the entries of logChunkSize indexes, beginning with a multiple of it.
type logChunk [logChunkSize]pb.Entry

const logChunkSize = 128

// compactEvery is how many entries there must be to forget before any is, so that it is not done for each. chosen.
const compactEvery = 1000

func newRaftLog() *raftLog { return &raftLog{confState: &pb.ConfState{}, first: 1, next: 1} }

func (l *raftLog) place(index uint64) int { return int(index/logChunkSize - l.first/logChunkSize) }

func (l *raftLog) at(index uint64) *pb.Entry { return &l.chunks[l.place(index)][index%logChunkSize] }

// slice returns the entries from low up to, not including, high.
func (l *raftLog) slice(low, high uint64) []pb.Entry {
	if low >= high {
		return nil
	}
	if from := l.place(low); from == l.place(high-1) {
		i, n := low%logChunkSize, high-low
		return l.chunks[from][i : i+n : i+n]
	}
	list := make([]pb.Entry, 0, high-low)
	for ; low < high; low++ {
		list = append(list, *l.at(low))
	}
	return list
}

// InitialState implements etcdraft.Storage.
func (l *raftLog) InitialState() (pb.HardState, pb.ConfState, error) {
	return l.hardState, *l.confState, nil
}

// Entries implements etcdraft.Storage.
func (l *raftLog) Entries(low, high, maxSize uint64) ([]pb.Entry, error) {
	if low < l.first {
		return nil, etcdraft.ErrCompacted
	}
	if high > l.next {
		return nil, etcdraft.ErrUnavailable
	}
	part := l.slice(low, high)
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
	case i >= l.next:
		return 0, etcdraft.ErrUnavailable
	}
	return l.at(i).Term, nil
}

// LastIndex implements etcdraft.Storage.
func (l *raftLog) LastIndex() (uint64, error) { return l.last(), nil }

func (l *raftLog) last() uint64 { return l.next - 1 }

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
	l.truncate(entries[0].Index)
	for i := range entries {
		if l.place(l.next) == len(l.chunks) {
			l.chunks = append(l.chunks, new(logChunk))
		}
		*l.at(l.next) = entries[i]
		l.next++
	}
}

// truncate drops the entries from index on.
func (l *raftLog) truncate(index uint64) {
	if index >= l.next {
		return
	}
	l.next = max(index, l.first)
	kept := l.place(l.next)
	clear(l.chunks[kept+1:])
	l.chunks = l.chunks[:kept+1]
	replaced := new(logChunk)
	copy(replaced[:l.next%logChunkSize], l.chunks[kept][:])
	l.chunks[kept] = replaced
}

// compact forgets the entries up to and including index.
func (l *raftLog) compact(index uint64) {
	if index < l.first || index > l.last() {
		return
	}
	l.firstTerm = l.at(index).Term
	gone := min(l.place(index+1), len(l.chunks))
	clear(l.chunks[:gone])
	l.chunks, l.first = l.chunks[gone:], index+1
}

// restart begins anew after a snapshot.
func (l *raftLog) restart(at *pb.SnapshotMetadata) {
	l.first, l.firstTerm, l.next, l.chunks = at.Index+1, at.Term, at.Index+1, nil
	l.confState = &at.ConfState
}
