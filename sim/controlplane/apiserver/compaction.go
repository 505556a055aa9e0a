package apiserver

import (
	"strconv"

	"ksim/sim"
	"ksim/sim/raft"
)

// compactKey is the key by which API servers agree who compacts (apiserver pkg/storage/etcd3/compact.go, v0.36).
const compactKey = "compact_rev_key"

// compact has etcd forget, each --etcd-compaction-interval, what was older at the time before: whoever of the API
// servers gets the compare-and-swap through compacts to the revision that it saw an interval ago. Leaves out: physical
// compaction's cost. A failed round is tried at the next interval.
func (s *Server) compact(p *sim.Proc) {
	if s.options.compactionInterval == 0 {
		return
	}
	client := s.etcd
	var version, revision int64
	for {
		p.Sleep(s.options.compactionInterval)
		version, revision = s.compactOnce(p, client, version, revision)
	}
}

// compactOnce tries to be the one who compacts, and returns the key's version and the revision for the next time.
func (s *Server) compactOnce(p *sim.Proc, client etcdClient, version, revision int64) (int64, int64) {
	key := []byte(compactKey)
	resp, err := client.Txn(p, &raft.TxnRequest{
		Compare: []raft.Compare{{Result: raft.CompareEqual, Target: raft.CompareVersion, Key: key, Number: version}},
		Success: []raft.RequestOp{{Put: &raft.PutRequest{Key: key, Value: strconv.AppendInt(nil, revision, 10)}}},
		Failure: []raft.RequestOp{{Range: &raft.RangeRequest{Key: key}}},
	}, sim.Forever)
	if err != nil {
		return version, revision
	}
	now := resp.Header.Revision
	if !resp.Succeeded {
		if kvs := resp.Responses[0].Range.Kvs; len(kvs) > 0 {
			return kvs[0].Version, now
		}
		return 0, now
	}
	version++
	if revision == 0 { // nothing known yet of an interval ago
		return version, now
	}
	if _, err := client.Compact(p, &raft.CompactionRequest{Revision: revision}, sim.Forever); err != nil {
		return version, revision
	}
	return version, now
}
