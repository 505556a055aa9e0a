package raft

import (
	"fmt"
	"strings"

	etcdraft "go.etcd.io/raft/v3"

	"ksim/sim"
	"ksim/sim/hardware"
)

// tellLeadership puts changes of leadership into the trace. That nobody was heard has no event of its own: its
// cause is what befell the machine that was not heard.
func (s *Server) tellLeadership(wasRole etcdraft.StateType, wasLead uint64) {
	name := "etcd " + s.config.Name
	switch {
	case s.role == etcdraft.StateLeader && wasRole != etcdraft.StateLeader:
		s.term = s.node.BasicStatus().Term
		id := s.emit(sim.Story, "BecameLeader", fmt.Sprintf("%s was elected leader at term %d", name, s.term))
		s.kernel.Because(id)
		s.tellQuorumRegained()
	case wasRole == etcdraft.StateLeader && s.role != etcdraft.StateLeader:
		reason, text := "SteppedDown", name+" is no longer leader"
		event := sim.Event{Level: sim.Story, Object: "etcdmember/" + s.config.Name}
		if s.lead == etcdraft.None && !s.stopping {
			text = name + " stepped down: within an election timeout it did not hear from a majority of members"
			event.Cause, event.Setting, event.Wait = s.silence(0), "election-timeout", s.config.Election
		}
		event.Reason, event.Message = reason, text
		s.leaderless = s.scope.Emit(event)
		s.kernel.Because(s.leaderless)
	case s.lead == etcdraft.None && wasLead != etcdraft.None:
		event := sim.Event{Level: sim.Detail, Reason: "LostLeader", Object: "etcdmember/" + s.config.Name}
		if s.role == etcdraft.StatePreCandidate || s.role == etcdraft.StateCandidate {
			event.Cause = s.silence(wasLead)
			event.Setting, event.Wait = "election-timeout", s.kernel.Now().Sub(s.heardAt)
			event.Message = fmt.Sprintf("%s has not heard from the leader for %s and starts an election", name,
				sim.Time(event.Wait))
		}
		s.leaderless = s.scope.Emit(event)
		s.kernel.Because(s.leaderless)
	case s.lead != etcdraft.None && wasLead == etcdraft.None:
		s.tellQuorumRegained()
	}
}

// silence is why a member is not heard any more, or, for 0, why the first of those that are not connected is not.
func (s *Server) silence(id uint64) sim.EventID {
	since := s.heard
	if since == 0 {
		since = s.startedBy
	}
	for _, x := range s.peers.order {
		if x.id == id || id == 0 && x.since < 0 {
			return s.kernel.Trace().Silence(s.machineOf(x), since)
		}
	}
	return s.kernel.Trace().Silence("", since)
}

// machineOf names the machine that a peer's URL points to.
func (s *Server) machineOf(x *peer) string {
	if len(x.urls) == 0 {
		return ""
	}
	host, _, err := hardware.SplitAddress(x.urls[0])
	if err != nil {
		return ""
	}
	if m := s.process.Machine().Datacenter().Machine(host); m != nil {
		return m.Name
	}
	return strings.Trim(host, "[]")
}

func (s *Server) tellQuorumLost() {
	if s.quorumLost || len(s.cluster.members) < 2 {
		return
	}
	s.quorumLost = true
	s.scope.Emit(sim.Event{Level: sim.Story, Reason: "QuorumLost", Object: "etcdmember/" + s.config.Name,
		Cause: s.leaderless, Since: s.leaderless, Wait: maxNoLeaderCount * s.config.Election, Setting: "election-timeout",
		Message: "etcd " + s.config.Name + " has had no leader for 3 election timeouts: nothing can be written"})
}

func (s *Server) tellQuorumRegained() {
	if !s.quorumLost {
		return
	}
	s.quorumLost = false
	s.emit(sim.Story, "QuorumRegained", "etcd "+s.config.Name+" has a leader again")
}
