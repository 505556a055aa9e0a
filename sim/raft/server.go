package raft

import (
	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
	"ksim/sim/hardware"
	"ksim/sim/raft/mvcc"
)

// Server is a running member.
//
// Models etcd's EtcdServer and raftNode (server/etcdserver/server.go and raft.go, v3.6): the raft loop, which
// persists, sends and applies. Leaves out: the v2 store, authentication, downgrades, corruption checks; applying
// takes no time, except while the database is defragmented.
type Server struct {
	process *hardware.Process
	scope   *sim.Scope
	kernel  *sim.Kernel
	config  *Config
	livez   bool // the release has /livez and /readyz
	log     *memberLog
	id      uint64
	cluster *membership

	node      *etcdraft.RawNode
	elections *electionTimer
	buffers   messageBuffers
	raftLog   *raftLog
	wal       *writeAheadLog
	peers     peers

	// The raft loop.
	busy      bool           // a Ready is being persisted: no other is taken, ticks wait
	handling  bool           // a Ready is being handled right now
	late      bool           // a tick came while busy (the ticker's channel holds one)
	ready     etcdraft.Ready // that is handled, or being persisted
	onSynced  func()
	role      etcdraft.StateType
	lead      uint64
	term      uint64
	committed uint64
	ticked    int
	stopping  bool

	// The state machine.
	entries    *entries
	store      *mvcc.Store
	path       []bool // memory of a transaction's path
	applied    uint64
	appliedAt  uint64 // term of the applied entry
	confState  *pb.ConfState
	alarms     []AlarmMember
	unapplied  []pb.Entry // committed, but applying is blocked
	blocked    bool       // a defragmentation is under way
	snapshotAt uint64     // applied index of the newest snapshot on disk
	saving     bool       // a snapshot is being written
	incoming   *Database  // that came with a MsgSnap, until raft hands its snapshot out

	proposals  proposals
	reads      readLoop
	lessor     lessor
	watches    watchServer
	serving    serving
	electedAt  sim.Time // when this member was last elected
	startedBy  sim.EventID
	heard      sim.EventID // the newest trace event when the leader was last heard
	heardAt    sim.Time
	leaderless sim.EventID // the event of having lost the leader
	quorumLost bool
	started    sim.Time
	newTerms   int // leader changes seen, for observers
}

// Run is the tick; the member schedules itself.
func (s *Server) Run() {
	s.scope.AfterRun(s.config.Heartbeat, "raft tick", s)
	if s.busy {
		s.late = true
		return
	}
	s.tick()
}

func (s *Server) tick() {
	defer s.catch()
	s.ticked++
	if s.ticked&15 == 0 {
		s.peers.keepAlive()
	}
	s.node.Tick()
	s.advance()
}

// step gives raft a message.
func (s *Server) step(m *pb.Message) {
	defer s.catch()
	_ = s.node.Step(*m) // what raft refuses (messages of strangers) is dropped, as etcd does
	s.advance()
}

// catch ends the member when the raft library has panicked.
func (s *Server) catch() {
	if v := recover(); v != nil {
		p, ok := v.(raftPanic)
		if !ok {
			panic(v)
		}
		s.crash(p.text)
	}
}

// crash is a Go panic of etcd.
func (s *Server) crash(text string) {
	s.log.add("panic", text)
	s.emit(sim.Story, "MemberPanicked", "etcd "+s.config.Name+" panicked: "+text)
	s.process.Exit(2, "panic: "+text)
}

// advance takes what raft has ready, unless the last is not persisted yet.
func (s *Server) advance() {
	s.elections.fix()
	for !s.busy && !s.handling && s.scope.Alive() && s.node.HasReady() {
		s.ready = s.buffers.ready(s.node)
		more := !onlyMessages(&s.ready)
		s.handle(&s.ready)
		if !more {
			return // most often; asking again would cost as much as the message did
		}
	}
}

// onlyMessages reports whether handling a Ready cannot have made raft ready again: heartbeats and their answers.
func onlyMessages(rd *etcdraft.Ready) bool {
	return rd.SoftState == nil && etcdraft.IsEmptyHardState(rd.HardState) && len(rd.ReadStates) == 0 &&
		len(rd.Entries) == 0 && etcdraft.IsEmptySnap(rd.Snapshot) && len(rd.CommittedEntries) == 0
}

// handle does what etcd's raftNode does with a Ready: apply, send if leader, persist, then send if not.
func (s *Server) handle(rd *etcdraft.Ready) {
	s.handling = true
	if rd.SoftState != nil {
		s.softState(rd.SoftState)
	}
	if !etcdraft.IsEmptyHardState(rd.HardState) {
		s.term = rd.HardState.Term
	}
	if n := len(rd.ReadStates); n > 0 {
		s.reads.answer(rd.ReadStates[n-1])
	}
	restoring := !etcdraft.IsEmptySnap(rd.Snapshot)
	if n := len(rd.CommittedEntries); n > 0 {
		s.committed = max(s.committed, rd.CommittedEntries[n-1].Index)
		if !restoring {
			s.apply(rd.CommittedEntries)
		}
	}
	if !s.scope.Alive() { // it has applied its own removal
		return
	}
	if s.role == etcdraft.StateLeader {
		s.send(rd)
	}
	mustSync := s.wal.save(rd) && !s.config.UnsafeNoFsync
	s.handling = false
	if !mustSync {
		s.persisted(rd)
		return
	}
	s.busy = true
	if !restoring {
		s.wal.sync(s)
		return
	}
	disk := s.process.Machine().Disk()
	if err := disk.Write(s.config.dbPath(), s.incoming); err != nil {
		s.fatal("failed to save Raft snapshot: " + err.Error())
		return
	}
	disk.Sync(s.config.dbPath(), s.scope, func(error) { s.wal.sync(s) })
}

// synced is called when the write-ahead log is on the disk.
func (s *Server) synced() {
	defer s.catch()
	s.busy = false
	s.persisted(&s.ready)
	s.elections.fix()
	if s.late && !s.busy {
		s.late = false
		s.tick()
		return
	}
	s.advance()
}

// send sends the messages of a Ready.
func (s *Server) send(rd *etcdraft.Ready) {
	s.peers.send(rd.Messages)
	s.buffers.sent(rd.Messages)
	rd.Messages = nil
}

func (s *Server) persisted(rd *etcdraft.Ready) {
	s.handling = true
	if !etcdraft.IsEmptySnap(rd.Snapshot) {
		at := rd.Snapshot.Metadata // it is kept
		s.raftLog.restart(&at)
		s.restore(&at)
		s.apply(rd.CommittedEntries)
	}
	s.raftLog.append(rd.Entries)
	if s.role != etcdraft.StateLeader {
		s.send(rd)
	}
	s.ready = etcdraft.Ready{}
	s.node.Advance(s.ready) // the library remembers what it was itself
	s.elections.fix()
	s.handling = false
	s.maybeSnapshot()
}

// softState notes a change of leader or role.
func (s *Server) softState(now *etcdraft.SoftState) {
	was, lead := s.role, s.lead
	s.role, s.lead = now.RaftState, now.Lead
	if s.role != etcdraft.StateLeader && was == etcdraft.StateLeader {
		s.lessor.demote()
	}
	newLeader := now.Lead != etcdraft.None && now.Lead != lead
	s.tellLeadership(was, lead)
	if newLeader {
		s.newTerms++
		if s.role == etcdraft.StateLeader {
			s.electedAt = s.kernel.Now()
		}
		s.reads.leaderChanged()
		s.proposals.release()
	}
	s.watches.leaderSeen()
	s.process.Changed()
}

// isLeader reports whether the member believes that it is the leader.
func (s *Server) isLeader() bool { return s.lead == s.id }

// header is the header of an answer.
func (s *Server) header() ResponseHeader {
	return ResponseHeader{ClusterID: s.cluster.id, MemberID: s.id, Revision: s.store.Revision(), RaftTerm: s.term}
}

// restore replaces the state machine by what came with a snapshot.
func (s *Server) restore(at *pb.SnapshotMetadata) {
	db := s.incoming
	sim.Assert(db != nil && db.index >= at.Index, "snapshot %d came without a database", at.Index)
	s.incoming = nil
	s.log.info("applied incoming Raft snapshot snapshot-index:%d", at.Index)
	s.store.Restore(db.store)
	s.install(db, at)
	s.watches.sync()
	s.emit(sim.Story, "SnapshotApplied", "etcd "+s.config.Name+" was too far behind and took a snapshot from the leader")
}

// install takes over what a database says besides keys.
func (s *Server) install(db *Database, at *pb.SnapshotMetadata) {
	s.cluster = db.cluster.clone()
	s.alarms = append([]AlarmMember(nil), db.alarms...)
	s.applied, s.appliedAt = at.Index, at.Term
	s.committed = max(s.committed, s.applied)
	s.confState = &at.ConfState
	s.snapshotAt = s.applied
	s.peers.update()
	s.reads.applied()
}

// database is the member's state as it is now.
func (s *Server) database() *Database {
	return &Database{store: s.store.Snapshot(), cluster: s.cluster.clone(),
		alarms: append([]AlarmMember(nil), s.alarms...),
		index:  s.applied, term: s.appliedAt, confState: s.confState, version: s.config.Version}
}

// maybeSnapshot writes a snapshot every --snapshot-count entries and lets go of old entries.
func (s *Server) maybeSnapshot() {
	if keep := s.config.CatchUpEntries; s.raftLog.first+keep+compactEvery < s.applied {
		s.raftLog.compact(s.applied - keep)
	}
	if s.busy || s.saving || s.applied-s.snapshotAt <= s.config.SnapshotCount || !s.scope.Alive() {
		return
	}
	s.saving = true
	db := s.database()
	s.log.info("triggering snapshot local-member-id:%x local-member-applied-index:%d local-member-snapshot-index:%d "+
		"local-member-snapshot-count:%d", s.id, s.applied, s.snapshotAt, s.config.SnapshotCount)
	disk := s.process.Machine().Disk()
	if err := disk.Write(s.config.dbPath(), db); err != nil {
		s.fatal("failed to save snapshot: " + err.Error())
		return
	}
	saved := func() {
		s.saving, s.snapshotAt = false, db.index
		if !s.busy {
			s.wal.release(db.index)
		}
		s.log.info("saved snapshot snapshot-index:%d", db.index)
	}
	disk.Sync(s.config.dbPath(), s.scope, func(error) { s.wal.log.Sync(s.scope, saved) })
}

// fatal is zap's Fatal: it logs and exits 1.
func (s *Server) fatal(text string) {
	s.log.add("fatal", text)
	s.process.Exit(1, text)
}

// emit adds to the trace.
func (s *Server) emit(level sim.Level, reason, message string) sim.EventID {
	return s.scope.Emit(sim.Event{Level: level, Reason: reason, Object: "etcdmember/" + s.config.Name, Message: message})
}
