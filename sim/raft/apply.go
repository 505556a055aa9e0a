package raft

import (
	"encoding/json"

	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
)

// outcome is what applying a proposal gave.
type outcome struct {
	response any
	err      error
}

// apply applies committed entries in order. While the database is being defragmented they wait.
func (s *Server) apply(entries []pb.Entry) {
	if s.blocked {
		s.unapplied = append(s.unapplied, entries...)
		return
	}
	for i := range entries {
		e := &entries[i]
		if e.Index <= s.applied {
			continue
		}
		s.applyEntry(e)
		if !s.scope.Alive() {
			return
		}
		s.applied, s.appliedAt = e.Index, e.Term
	}
	if len(entries) > 0 {
		s.reads.applied()
		s.process.Changed()
	}
}

func (s *Server) applyEntry(e *pb.Entry) {
	switch {
	case e.Type == pb.EntryConfChange:
		s.applyConfChange(e)
	case len(e.Data) == 0: // a new leader's first entry, or a configuration change that raft refused
		s.reads.firstCommitInTerm()
		if s.isLeader() {
			s.lessor.promote(s.config.Election)
			s.proposeClusterVersion()
		}
	default:
		id, request := s.entries.decode(e.Index, e.Data)
		wanted := s.proposals.waits(id)
		if !wanted && readsOnly(request) {
			return
		}
		result := s.applyRequest(request, wanted)
		if result.err == ErrNoSpace && !s.hasAlarm(AlarmNoSpace) {
			s.log.warn("message exceeded backend quota; raising alarm quota-size-bytes:%d", s.config.QuotaBytes)
			s.raiseNoSpace()
		}
		if wanted {
			s.proposals.finish(id, result)
		}
	}
}

// readsOnly reports whether nothing is lost when the request is not applied because nobody waits for it.
func readsOnly(request any) bool {
	txn, ok := request.(*TxnRequest)
	return ok && txnReadOnly(txn)
}

// applyRequest applies a request. The response is made only if somebody wants it: two of three members need none.
func (s *Server) applyRequest(request any, wanted bool) outcome {
	switch r := request.(type) {
	case *PutRequest:
		return s.applyPut(r, wanted)
	case *DeleteRangeRequest:
		txn := s.store.Write()
		response := deleteRange(txn, r)
		txn.End()
		response.Header = s.header()
		return outcome{response, nil}
	case *TxnRequest:
		return s.applyTxn(r, wanted)
	case *CompactionRequest:
		return s.applyCompaction(r)
	case *LeaseGrantRequest:
		return s.lessor.applyGrant(r)
	case *LeaseRevokeRequest:
		return s.lessor.applyRevoke(r)
	case *AlarmRequest:
		return s.applyAlarm(r)
	case *memberAttributes:
		if m := s.cluster.members[r.MemberID]; m != nil {
			m.Name, m.ClientURLs = r.Name, r.ClientURLs
		}
		return outcome{}
	case *clusterVersionSet:
		if s.cluster.version != r.Version {
			s.cluster.version = r.Version
			s.log.info("set initial cluster version cluster-id:%x local-member-id:%x cluster-version:%s", s.cluster.id, s.id,
				r.Version)
		}
		return outcome{}
	}
	sim.Assert(false, "an entry holds %T", request)
	return outcome{}
}

func (s *Server) overQuota(cost int64) bool { return s.store.Size()+cost >= s.config.QuotaBytes }

// requestOverhead is what a key, or a lease, is taken to cost besides its bytes (storage/quota.go: kvOverhead,
// leaseOverhead).
const (
	kvOverhead    = 256
	leaseOverhead = 64
)

func (s *Server) applyPut(r *PutRequest, wanted bool) outcome {
	if s.hasAlarm(AlarmNoSpace) {
		return outcome{nil, ErrNoSpace}
	}
	full := s.overQuota(kvOverhead + int64(len(r.Key)+len(r.Value)))
	if err := s.checkPut(r); err != nil {
		return outcome{nil, err}
	}
	txn := s.store.Write()
	prev := put(txn, r)
	txn.End()
	if full {
		return outcome{nil, ErrNoSpace} // an answer with an error has no response
	}
	if !wanted {
		return outcome{}
	}
	return outcome{&PutResponse{s.header(), prev}, nil}
}

func (s *Server) applyTxn(r *TxnRequest, wanted bool) outcome {
	cost := txnCost(r)
	if cost > 0 && s.hasAlarm(AlarmNoSpace) {
		return outcome{nil, ErrNoSpace}
	}
	full := cost > 0 && s.overQuota(cost)
	response, err := s.txn(r, wanted)
	if err != nil {
		return outcome{nil, err}
	}
	if full {
		return outcome{response, ErrNoSpace}
	}
	return outcome{response, nil}
}

func (s *Server) applyCompaction(r *CompactionRequest) outcome {
	if err := s.store.Compact(r.Revision); err != nil {
		return outcome{nil, storeError(err)}
	}
	return outcome{&CompactionResponse{s.header()}, nil}
}

func (s *Server) hasAlarm(kind AlarmType) bool {
	for _, a := range s.alarms {
		if a.Alarm == kind {
			return true
		}
	}
	return false
}

func (s *Server) applyAlarm(r *AlarmRequest) outcome {
	response := &AlarmResponse{Header: s.header()}
	switch r.Action {
	case AlarmGet:
		for _, a := range s.alarms {
			if r.Alarm == AlarmNone || r.Alarm == a.Alarm {
				response.Alarms = append(response.Alarms, a)
			}
		}
	case AlarmActivate:
		a := AlarmMember{r.MemberID, r.Alarm}
		if r.Alarm == AlarmNone {
			break
		}
		for _, other := range s.alarms {
			if other == a {
				return outcome{response, nil}
			}
		}
		response.Alarms = []AlarmMember{a}
		s.alarms = append(s.alarms, a)
		s.log.warn("alarm raised alarm:%s from:%x", a.Alarm, a.MemberID)
		if s.isLeader() {
			s.emit(sim.Story, "AlarmRaised", "etcd raised the alarm "+a.Alarm.String()+
				": puts fail on all members until it is disarmed")
		}
	case AlarmDeactivate:
		kept := s.alarms[:0:0]
		for _, a := range s.alarms {
			if a.Alarm == r.Alarm && (r.MemberID == 0 || r.MemberID == a.MemberID) {
				response.Alarms = append(response.Alarms, a)
			} else {
				kept = append(kept, a)
			}
		}
		s.alarms = kept
		if len(response.Alarms) > 0 && s.isLeader() {
			s.emit(sim.Story, "AlarmDisarmed", "the alarm "+r.Alarm.String()+" of etcd was disarmed")
		}
	}
	return outcome{response, nil}
}

// raiseNoSpace has the cluster raise the alarm for this member.
func (s *Server) raiseNoSpace() {
	s.propose(&AlarmRequest{Action: AlarmActivate, MemberID: s.id, Alarm: AlarmNoSpace}, nobody)
}

// memberContext is what a configuration change carries about the member.
type memberContext struct {
	Member
	IsPromote bool `json:"isPromote"`
}

func encodeContext(c memberContext) []byte {
	b, err := json.Marshal(c)
	sim.Assert(err == nil, "a member cannot be encoded: %v", err) // cannot fail: strings and numbers
	return b
}

func (s *Server) applyConfChange(e *pb.Entry) {
	cc := &pb.ConfChange{}
	err := cc.Unmarshal(e.Data)
	sim.Assert(err == nil, "configuration change %d: %v", e.Index, err)
	if err := s.validateConfChange(cc); err != nil {
		cc.NodeID = 0 // raft.None: the change has no effect
		s.confState = s.node.ApplyConfChange(cc)
		s.proposals.finish(cc.ID, outcome{nil, err})
		return
	}
	s.confState = s.node.ApplyConfChange(cc)
	s.elections.fix()
	var about memberContext
	if len(cc.Context) > 0 {
		err := json.Unmarshal(cc.Context, &about)
		sim.Assert(err == nil, "configuration change %d: %v", e.Index, err)
	}
	s.changeMembership(cc, about)
	s.raftLog.confState = s.confState
	s.proposals.finish(cc.ID, outcome{s.cluster.list(), nil})
	if cc.Type == pb.ConfChangeRemoveNode && cc.NodeID == s.id {
		s.leaveCluster()
	}
}

// validateConfChange is ValidateConfigurationChange: the last check, when the change is applied.
func (s *Server) validateConfChange(cc *pb.ConfChange) error {
	id := cc.NodeID
	if s.cluster.removed[id] {
		return errRemovedID
	}
	switch cc.Type {
	case pb.ConfChangeAddNode, pb.ConfChangeAddLearnerNode:
		var about memberContext
		_ = json.Unmarshal(cc.Context, &about) // checked when it is applied
		if about.IsPromote {
			if m := s.cluster.members[id]; m == nil {
				return ErrMemberNotFound
			} else if !m.IsLearner {
				return ErrMemberNotLearner
			}
			return nil
		}
		return s.cluster.checkAdd(&about.Member, s.config.MaxLearners)
	default:
		if s.cluster.members[id] == nil {
			return ErrMemberNotFound
		}
	}
	return nil
}

func (s *Server) changeMembership(cc *pb.ConfChange, about memberContext) {
	id := cc.NodeID
	switch cc.Type {
	case pb.ConfChangeAddNode, pb.ConfChangeAddLearnerNode:
		if about.IsPromote {
			s.cluster.members[id].IsLearner = false
			s.log.info("promote member cluster-id:%x promoted-member-id:%x", s.cluster.id, id)
		} else {
			m := about.Member
			s.cluster.members[id] = &m
			s.log.info("added member cluster-id:%x local-member-id:%x added-peer-id:%x added-peer-peer-urls:%v "+
				"added-peer-is-learner:%t", s.cluster.id, s.id, id, m.PeerURLs, m.IsLearner)
		}
	case pb.ConfChangeRemoveNode:
		delete(s.cluster.members, id)
		s.cluster.removed[id] = true
		s.log.warn("removed member cluster-id:%x local-member-id:%x removed-remote-peer-id:%x", s.cluster.id, s.id, id)
	case pb.ConfChangeUpdateNode:
		if m := s.cluster.members[id]; m != nil {
			m.PeerURLs = about.PeerURLs
		}
	}
	s.peers.update()
}

// leaveCluster is what a member does that was removed: it goes on for a moment, so that others hear of it, then it
// exits (etcdserver/server.go: releaseDelayAfterSnapshot and "the member has been permanently removed from the
// cluster").
func (s *Server) leaveCluster() {
	s.scope.After(s.config.Election, "removed", s.removed)
}

func (s *Server) removed() {
	s.log.warn("server error error:the member has been permanently removed from the cluster")
	s.log.warn("data-dir used by this member must be removed")
	s.emit(sim.Story, "MemberRemoved", "etcd "+s.config.Name+" was removed from the cluster and ends")
	s.process.Exit(0, "the member has been permanently removed from the cluster")
}
