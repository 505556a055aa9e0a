// Package raft models etcd: members around the real raft library, write-ahead log, snapshots, multi-version store,
// watches, leases, membership, and the client (clientv3). It knows keys and bytes and nothing of Kubernetes.
//
// It leaves out TLS, authentication, discovery, the v2 store, downgrades and corruption checks; applying an entry
// takes no time, except while a member defragments; a proxy, a gateway and auto-compaction are not there.
//
// What always holds: a write is acknowledged only when raft has committed it and the member has applied it; what a
// member has told anyone is on its disk first; members that have applied the same index have equal stores; no
// process of one member reaches into another, all goes through hardware's connections; the same seed gives the same
// elections.
//
// It is driven by callbacks: ticks, messages, finished syncs; only bootstrap is a process. Main is the program
// etcd, Client what others use, Server what observers see.
//
// Start reading at Server.handle, then apply.go and propose.go, then peer.go; on the client's side call.go and
// balancer.go.
package raft
