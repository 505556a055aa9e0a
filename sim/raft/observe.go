package raft

import (
	etcdraft "go.etcd.io/raft/v3"

	"ksim/sim"
	"ksim/sim/raft/mvcc"
)

// What observers (user interface, expectations, reports) see of a member: the Server is its process's published view.

// Name returns the member's name.
func (s *Server) Name() string { return s.config.Name }

// MemberID returns the member's ID.
func (s *Server) MemberID() uint64 { return s.id }

// ClusterID returns the cluster's ID.
func (s *Server) ClusterID() uint64 { return s.cluster.id }

// Role returns leader, follower, candidate or learner.
func (s *Server) Role() string {
	switch {
	case s.role == etcdraft.StateLeader:
		return "leader"
	case s.isLearner():
		return "learner"
	case s.role == etcdraft.StateFollower:
		return "follower"
	}
	return "candidate"
}

// Leader returns the ID of the leader that the member knows, 0 if none.
func (s *Server) Leader() uint64 { return s.lead }

// Term returns the raft term.
func (s *Server) Term() uint64 { return s.term }

// Commit returns the index up to which the member knows the log to be committed.
func (s *Server) Commit() uint64 { return s.committed }

// Applied returns the index that the member has applied.
func (s *Server) Applied() uint64 { return s.applied }

// Revision returns the store's revision.
func (s *Server) Revision() int64 { return s.store.Revision() }

// Store returns the member's store; it must only be read.
func (s *Server) Store() *mvcc.Store { return s.store }

// Alarms returns the alarms that are raised.
func (s *Server) Alarms() []AlarmMember { return s.alarms }

// Members returns the members that this one knows.
func (s *Server) Members() []Member { return s.cluster.list() }

// Serving reports whether clients are served.
func (s *Server) Serving() bool { return s.serving.ready && !s.serving.draining }

// LeaderChanges returns how many leaders the member has seen.
func (s *Server) LeaderChanges() int { return s.newTerms }

// Watchers returns how many watches are open.
func (s *Server) Watchers() int { return s.store.Watchers() }

// Log returns what the member has logged.
func (s *Server) Log() []LogLine { return s.log.lines }

// Started returns when the member was started.
func (s *Server) Started() sim.Time { return s.started }
