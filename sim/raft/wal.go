package raft

import (
	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
	"ksim/sim/hardware"
)

// writeAheadLog is a member's log on its disk: records of who the member is, entries, hard states and snapshots.
type writeAheadLog struct {
	log    *hardware.Log
	states []pb.HardState // memory for records
}

// walMetadata is the first record: whose log it is.
type walMetadata struct{ member, cluster uint64 }

// statesAtOnce is for how many hard states memory is taken. chosen: there is one for each write.
const statesAtOnce = 64

// save appends what a Ready says; it reports whether it must be on the disk before anyone hears of it.
func (w *writeAheadLog) save(rd *etcdraft.Ready) (mustSync bool) {
	if !etcdraft.IsEmptyHardState(rd.HardState) {
		if len(w.states) == cap(w.states) {
			w.states = make([]pb.HardState, 0, statesAtOnce)
		}
		w.states = append(w.states, rd.HardState)
		_ = w.log.Append(&w.states[len(w.states)-1])
	}
	for i := range rd.Entries {
		_ = w.log.Append(&rd.Entries[i])
	}
	return rd.MustSync || !etcdraft.IsEmptySnap(rd.Snapshot)
}

// sync makes what was saved durable, then has the member go on.
func (w *writeAheadLog) sync(s *Server) { w.log.Sync(s.scope, s.onSynced) }

// release lets go of what is in the database up to index. Everything must be synced.
func (w *writeAheadLog) release(index uint64) {
	old := w.log.Records()
	kept := make([]any, 0, len(old)/2)
	var state *pb.HardState
	for _, record := range old {
		switch r := record.(type) {
		case *pb.Entry:
			if r.Index <= index {
				continue
			}
		case *pb.HardState:
			state = r
			continue
		}
		kept = append(kept, record)
	}
	if state != nil {
		kept = append(kept, state)
	}
	w.log.Replace(kept)
}

// walContent is what a log says when it is read.
type walContent struct {
	metadata *walMetadata
	state    pb.HardState
	entries  []pb.Entry // after what the database holds
}

// read is wal.ReadAll: the entries after base, where later ones replace those that they conflict with.
func (w *writeAheadLog) read(base uint64) (c walContent) {
	for _, record := range w.log.Records() {
		switch r := record.(type) {
		case *walMetadata:
			c.metadata = r
		case *pb.HardState:
			c.state = *r
		case *pb.Entry:
			if r.Index <= base {
				continue
			}
			keep := r.Index - base - 1
			sim.Assert(keep <= uint64(len(c.entries)), "write-ahead log: entry %d after %d", r.Index,
				base+uint64(len(c.entries)))
			c.entries = append(c.entries[:keep], *r)
		}
	}
	return c
}

// rewrite replaces the whole log.
func (w *writeAheadLog) rewrite(metadata *walMetadata, entries []pb.Entry, state pb.HardState) {
	records := []any{metadata}
	for i := range entries {
		records = append(records, &entries[i])
	}
	w.log.Replace(append(records, &state))
}
