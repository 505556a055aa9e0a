package apiserver

import (
	"time"

	"ksim/sim"
	"ksim/sim/raft"
)

// etcdClient is what an API server uses of etcd's client; raft.Client has more.
type etcdClient interface {
	Range(p *sim.Proc, r *raft.RangeRequest, within time.Duration) (*raft.RangeResponse, error)
	Txn(p *sim.Proc, r *raft.TxnRequest, within time.Duration) (*raft.TxnResponse, error)
	LeaseGrant(p *sim.Proc, r *raft.LeaseGrantRequest, within time.Duration) (*raft.LeaseGrantResponse, error)
	Compact(p *sim.Proc, r *raft.CompactionRequest, within time.Duration) (*raft.CompactionResponse, error)
	// WaitConnected waits at most within for the first connection.
	WaitConnected(p *sim.Proc, within time.Duration) error
	// Watch opens a watch: on gets each response; after one that is Canceled nothing comes.
	Watch(r *raft.WatchRequest, on func(*raft.WatchResponse)) (cancel func())
	// RequestProgress asks for a progress notification on all watches of the client.
	RequestProgress()
}
