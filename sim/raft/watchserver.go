package raft

import (
	"slices"

	"ksim/sim"
	"ksim/sim/raft/mvcc"
)

// watchServer has the watches of a member's clients.
//
// Models etcd's watch server and its stream interceptor (server/etcdserver/api/v3rpc/watch.go and interceptor.go,
// v3.6). Leaves out: several watches on one stream (each is one of its own), fragments, slow watchers.
type watchServer struct {
	server   *Server
	streams  []*watchStream
	missed   int // how often in a row the monitor has found no leader
	monitor  sim.Timer
	syncing  bool
	progress sim.Timer
	later    []func() // reads that wait for the end of a defragmentation
}

// watchStream is one watch of one client.
type watchStream struct {
	server  *watchServer
	call    *serverCall
	request *WatchRequest
	watcher *mvcc.Watcher
}

func (w *watchServer) open(call *serverCall, r *WatchRequest) {
	s := w.server
	if r.RequireLeader && s.lead == 0 {
		call.answer(nil, ErrNoLeader)
		return
	}
	stream := &watchStream{server: w, call: call, request: r}
	call.watch = stream
	key := r.Key
	if len(key) == 0 { // \x00 is the smallest key
		key = []byte{0}
	}
	w.streams = append(w.streams, stream)
	call.stream(WatchResponse{Header: s.header(), Created: true})
	stream.watcher = s.store.Watch(mvcc.WatchOptions{Key: key, End: r.RangeEnd, Start: r.StartRevision, PrevKV: r.PrevKv,
		NoPut: r.NoPut, NoDelete: r.NoDelete, Deliver: stream.deliver, Compacted: stream.compacted})
	w.sync()
	if r.ProgressNotify {
		w.scheduleProgress()
	}
}

func (x *watchStream) deliver(events []Event) {
	header := x.server.server.header()
	x.call.stream(WatchResponse{Header: header, Events: events})
}

func (x *watchStream) compacted(revision int64) {
	s := x.server.server
	x.watcher = nil
	s.scope.After(0, "compacted", func() {
		x.call.stream(WatchResponse{Header: s.header(), CompactRevision: revision, Canceled: true,
			CancelReason: ErrCompacted.Text})
		x.call.answer(nil, nil)
		x.close()
	})
}

// close forgets the watch.
func (x *watchStream) close() {
	w := x.server
	if x.watcher != nil {
		w.server.store.Unwatch(x.watcher)
		x.watcher = nil
	}
	if i := slices.Index(w.streams, x); i >= 0 {
		w.streams = slices.Delete(w.streams, i, i+1)
	}
}

// sync has watchers that start in the past get what they have missed when the sync loop, which turns every 100 ms,
// comes by.
func (w *watchServer) sync() {
	s := w.server
	if w.syncing || s.store.Unsynced() == 0 {
		return
	}
	w.syncing = true
	turn := watchSyncEvery - s.kernel.Now().Sub(s.started)%watchSyncEvery
	s.scope.After(turn, "watch sync", func() {
		w.syncing = false
		s.store.Sync()
		w.sync()
	})
}

// scheduleProgress tells watches that want it which revision they have reached, when nothing else has told them.
func (w *watchServer) scheduleProgress() {
	s := w.server
	if w.progress.Pending() {
		return
	}
	w.progress = s.scope.After(s.config.WatchProgress, "watch progress", func() {
		any := false
		for _, x := range w.streams {
			if x.request.ProgressNotify {
				any = true
				if x.watcher != nil && x.watcher.Quiet() {
					x.call.stream(WatchResponse{Header: s.header()})
				}
			}
		}
		if any {
			w.scheduleProgress()
		}
	})
}

// requestProgress answers a client's request for progress: all its watches that are synced are told.
func (w *watchServer) requestProgress(call *serverCall) {
	for _, x := range slices.Clone(w.streams) {
		if x.call.conn == call.conn && x.watcher != nil && x.watcher.Synced() {
			x.call.stream(WatchResponse{Header: w.server.header()})
		}
	}
	call.answer(nil, nil)
}

// leaderSeen is called when the leader may have changed. The monitor looks once an election time-out, from the
// member's start on, and ends streams that require a leader when it has found none three times in a row.
func (w *watchServer) leaderSeen() {
	s := w.server
	if s.lead != 0 || w.monitor.Pending() {
		return
	}
	w.missed = 0
	w.lookAgain()
}

func (w *watchServer) lookAgain() {
	s := w.server
	wait := s.config.Election - s.kernel.Now().Sub(s.started)%s.config.Election
	w.monitor = s.scope.AfterRun(wait, "leader monitor", w)
}

// Run is one look of the monitor.
func (w *watchServer) Run() {
	s := w.server
	if s.lead != 0 {
		w.missed = 0
		return
	}
	w.missed++
	if w.missed == maxNoLeaderCount {
		s.tellQuorumLost()
	}
	if w.missed >= maxNoLeaderCount {
		for _, x := range slices.Clone(w.streams) {
			if x.request.RequireLeader {
				x.call.answer(nil, ErrNoLeader)
				x.close()
			}
		}
	}
	w.lookAgain()
}
