package raft

import (
	"slices"
	"strings"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
)

// maintain serves requests about the member and the cluster.
//
// Models etcd's maintenance and cluster services (server/etcdserver/api/v3rpc/maintenance.go and member.go,
// server.go, v3.6).
func (s *Server) maintain(call *serverCall, request any) {
	switch r := request.(type) {
	case *StatusRequest:
		call.answer(s.status(), nil)
	case *HashKVRequest:
		hash, at, err := s.store.HashKV(r.Revision)
		call.answer(&HashKVResponse{s.header(), hash, s.store.CompactRevision(), at}, storeError(err))
	case *AlarmRequest:
		if r.Action == AlarmGet {
			call.answer(s.applyAlarm(r).response, nil)
			return
		}
		s.propose(r, call)
	case *DefragmentRequest:
		s.defragment(call)
	case *SnapshotRequest:
		db := s.database()
		db.hashed = true
		call.answer(&SnapshotResponse{s.header(), db, s.config.Version}, nil)
	case *MoveLeaderRequest:
		s.moveLeader(call, r)
	case *MemberListRequest:
		if r.Linearizable {
			s.reads.linearizable(readerFunc(func(err error) {
				call.answer(&MemberListResponse{s.header(), s.cluster.list()}, err)
			}))
			return
		}
		call.answer(&MemberListResponse{s.header(), s.cluster.list()}, nil)
	case *MemberAddRequest:
		s.memberAdd(r, call.answer)
	case *MemberRemoveRequest:
		s.memberRemove(r, call.answer)
	case *MemberUpdateRequest:
		s.memberUpdate(r, call.answer)
	case *MemberPromoteRequest:
		s.memberPromote(r, call.answer)
	case *WatchProgressRequest:
		s.watches.requestProgress(call)
	case *HealthRequest:
		s.health(r.Path, func(h *HealthResponse) { call.answer(h, nil) })
	default:
		call.answer(nil, &Error{Unimplemented, "unknown method", false})
	}
}

func (s *Server) status() *StatusResponse {
	r := &StatusResponse{Header: s.header(), Version: s.config.Version, StorageVersion: storageVersion(s.config.Version),
		DBSize: s.store.Size(), DBSizeInUse: s.store.SizeInUse(), DBSizeQuota: s.config.QuotaBytes, Leader: s.lead,
		RaftIndex: s.committed, RaftTerm: s.term, RaftAppliedIndex: s.applied, IsLearner: s.isLearner()}
	if s.lead == etcdraft.None {
		r.Errors = append(r.Errors, "etcdserver: no leader")
	}
	for _, a := range s.alarms {
		r.Errors = append(r.Errors, strings.TrimSpace("memberID:"+decimal(a.MemberID)+" alarm:"+a.Alarm.String()))
	}
	return r
}

// storageVersion is the version of the database's layout: the minor release.
func storageVersion(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1] + ".0"
}

// defragBandwidth is how fast a database is rewritten. chosen: 100 MB/s of what is in use.
const defragBandwidth = 100 << 20

// defragment blocks reads and applying on this member until the database is rewritten.
func (s *Server) defragment(call *serverCall) {
	if s.blocked {
		s.watches.later = append(s.watches.later, func() { s.defragment(call) })
		return
	}
	s.blocked = true
	took := 10*time.Millisecond + time.Duration(s.store.SizeInUse())*time.Second/defragBandwidth
	s.log.info("starting defragment")
	s.scope.After(took, "defragment", func() {
		defer s.catch()
		s.blocked = false
		s.store.Defragment()
		s.log.info("finished defragment")
		waiting := s.unapplied
		s.unapplied = nil
		s.apply(waiting)
		later := s.watches.later
		s.watches.later = nil
		for _, read := range later {
			read()
		}
		call.answer(&DefragmentResponse{s.header()}, nil)
	})
}

func (s *Server) moveLeader(call *serverCall, r *MoveLeaderRequest) {
	if !s.isLeader() {
		call.answer(nil, ErrNotLeader)
		return
	}
	if m := s.cluster.members[r.TargetID]; m == nil || m.IsLearner {
		call.answer(nil, ErrBadLeaderTransferee)
		return
	}
	s.transferLead(r.TargetID, s.config.requestTimeout(), func(ok bool) {
		if !ok {
			call.answer(nil, ErrTimeoutLeaderTransfer)
			return
		}
		call.answer(&MoveLeaderResponse{s.header()}, nil)
	})
}

// ErrTimeoutLeaderTransfer is returned when a lead could not be handed over in time.
var ErrTimeoutLeaderTransfer = etcdError(Unknown, "request timed out, leader transfer took too long")

// transferLead hands the lead to another member and looks, every heartbeat, whether that has it.
func (s *Server) transferLead(to uint64, within time.Duration, done func(ok bool)) {
	s.log.info("leadership transfer starting local-member-id:%x transferee-member-id:%x", s.id, to)
	func() {
		defer s.catch()
		s.node.TransferLeader(to)
		s.advance()
	}()
	if !s.scope.Alive() {
		return
	}
	s.retryUntil(s.kernel.Now().Add(within), s.config.Heartbeat, func() bool {
		if s.lead != to {
			return false
		}
		s.log.info("leadership transfer finished local-member-id:%x transferee-member-id:%x", s.id, to)
		done(true)
		return true
	}, func() { done(false) })
}

// longestConnected returns the voter that has been connected longest, 0 if there is none.
func (s *Server) longestConnected() (id uint64) {
	var since sim.Time
	for _, x := range s.peers.order {
		m := s.cluster.members[x.id]
		if m == nil || m.IsLearner || x.since < 0 {
			continue
		}
		if id == 0 || x.since < since {
			id, since = x.id, x.since
		}
	}
	return id
}

func (s *Server) memberAdd(r *MemberAddRequest, reply func(any, error)) {
	for _, u := range r.PeerURLs {
		if !strings.Contains(u, "://") {
			reply(nil, ErrMemberBadURLs)
			return
		}
	}
	if len(r.PeerURLs) == 0 {
		reply(nil, ErrMemberBadURLs)
		return
	}
	m := Member{ID: addedMemberID(r.PeerURLs, s.process.Machine().Clock().Now()), PeerURLs: r.PeerURLs,
		IsLearner: r.IsLearner}
	if s.config.StrictReconfig {
		if !m.IsLearner && !s.cluster.readyToAdd() {
			reply(nil, ErrMemberNotEnoughStarted)
			return
		}
		if s.peers.connectedSince(s.kernel.Now().Add(-healthInterval)) < s.cluster.voters() {
			s.log.warn("rejecting member add request; local member has not been connected to all peers, reconfigure "+
				"breaks active quorum local-member-id:%x", s.id)
			reply(nil, ErrUnhealthy)
			return
		}
	}
	kind := pb.ConfChangeAddNode
	if m.IsLearner {
		kind = pb.ConfChangeAddLearnerNode
	}
	s.configure(reply, kind, memberContext{Member: m}, func(list []Member) any {
		return &MemberAddResponse{s.header(), m, list}
	})
}

// configure proposes a change of the membership.
func (s *Server) configure(reply func(any, error), kind pb.ConfChangeType, about memberContext,
	answer func([]Member) any) {
	cc := &pb.ConfChange{Type: kind, NodeID: about.ID}
	if kind != pb.ConfChangeRemoveNode {
		cc.Context = encodeContext(about)
	}
	s.proposeConfChange(cc, answerFunc(func(response any, err error) {
		if err != nil {
			reply(nil, err)
			return
		}
		reply(answer(response.([]Member)), nil)
	}))
}

func (s *Server) changed(list []Member) any { return &MemberChangeResponse{s.header(), list} }

func (s *Server) memberRemove(r *MemberRemoveRequest, reply func(any, error)) {
	m := s.cluster.members[r.ID]
	if s.config.StrictReconfig && (m == nil || !m.IsLearner) {
		if !s.cluster.readyToRemove(r.ID) {
			reply(nil, ErrMemberNotEnoughStarted)
			return
		}
		down := r.ID != s.id && (s.peers.byID[r.ID] == nil || s.peers.byID[r.ID].since < 0)
		if !down {
			voters := s.cluster.voters()
			if s.peers.connectedSince(s.kernel.Now().Add(-healthInterval))-1 < 1+(voters-1)/2 {
				reply(nil, ErrUnhealthy)
				return
			}
		}
	}
	s.configure(reply, pb.ConfChangeRemoveNode, memberContext{Member: Member{ID: r.ID}}, s.changed)
}

func (s *Server) memberUpdate(r *MemberUpdateRequest, reply func(any, error)) {
	m := s.cluster.members[r.ID]
	if m == nil {
		reply(nil, ErrMemberNotFound)
		return
	}
	updated := *m
	updated.PeerURLs = slices.Clone(r.PeerURLs)
	s.configure(reply, pb.ConfChangeUpdateNode, memberContext{Member: updated}, s.changed)
}

// learnerReady is how much of the leader's log a learner must have, in percent (readyPercentThreshold).
const learnerReady = 90

// memberPromote makes a learner a voter. Only the leader knows how far it is.
func (s *Server) memberPromote(r *MemberPromoteRequest, reply func(any, error)) {
	m := s.cluster.members[r.ID]
	switch {
	case m == nil:
		reply(nil, ErrMemberNotFound)
		return
	case !m.IsLearner:
		reply(nil, ErrMemberNotLearner)
		return
	}
	if !s.isLeader() {
		s.peers.request(s.lead, r, reply)
		return
	}
	if !s.learnerCaughtUp(r.ID) {
		reply(nil, ErrLearnerNotReady)
		return
	}
	if s.config.StrictReconfig && !s.cluster.readyToPromote(r.ID) {
		reply(nil, ErrMemberNotEnoughStarted)
		return
	}
	s.configure(reply, pb.ConfChangeAddNode, memberContext{Member: *m, IsPromote: true}, s.changed)
}

func (s *Server) learnerCaughtUp(id uint64) bool {
	progress := s.node.Status().Progress
	learner, ok := progress[id]
	return ok && learner.Match*100 >= progress[s.id].Match*learnerReady
}

func decimal(n uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}
