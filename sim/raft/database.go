package raft

import (
	"hash/crc32"
	"slices"

	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim/raft/mvcc"
)

// Database is what a member's database file holds, and what etcdctl snapshot save writes. It is immutable.
type Database struct {
	store     *mvcc.Snapshot
	cluster   *membership
	alarms    []AlarmMember
	index     uint64 // the consistent index: what is applied
	term      uint64
	confState *pb.ConfState
	version   string
	hashed    bool // it ends with its SHA-256, as a saved snapshot does
	damaged   bool
}

// Size returns the size of the file in bytes.
func (d *Database) Size() int64 {
	if d.hashed {
		return d.store.Size() + 32
	}
	return d.store.Size()
}

// Revision returns the newest revision in the database.
func (d *Database) Revision() int64 { return d.store.Revision() }

// TotalKeys returns what etcdutl snapshot status calls TOTAL KEYS: all versions that are stored.
func (d *Database) TotalKeys() int { return d.store.Versions() }

// Version returns the storage version, as 3.6.0.
func (d *Database) Version() string { return storageVersion(d.version) }

// Hash returns the checksum that etcdutl snapshot status prints.
func (d *Database) Hash() uint32 {
	s := d.store.Store()
	hash, _, err := s.HashKV(0)
	if err != nil {
		return 0
	}
	if d.damaged {
		hash = ^hash
	}
	return crc32.Update(hash, crc32.IEEETable, []byte(d.version))
}

// HasHash reports whether the file ends with a hash: a saved snapshot does, a copy of member/snap/db does not.
func (d *Database) HasHash() bool { return d.hashed }

// Damaged reports whether the content does not match the hash.
func (d *Database) Damaged() bool { return d.damaged }

// Corrupt returns the file with some of its bytes changed.
func (d *Database) Corrupt() *Database {
	bad := *d
	bad.damaged = true
	return &bad
}

// Keys calls fn for each key of the database in order, until it returns false.
func (d *Database) Keys(fn func(*KeyValue) bool) { d.store.Store().Each("", fn) }

// metadata is the database as a raft snapshot.
func (d *Database) metadata() pb.SnapshotMetadata {
	return pb.SnapshotMetadata{ConfState: *d.confState, Index: d.index, Term: d.term}
}

// restored makes the database that etcdutl snapshot restore writes for a new cluster.
func (d *Database) restored(cluster *membership, bump int64, markCompacted bool) *Database {
	fresh := &Database{store: d.store, cluster: cluster, version: d.version, term: 1}
	if bump > 0 || markCompacted {
		fresh.store = d.store.Bumped(bump, markCompacted)
	}
	fresh.confState = &pb.ConfState{}
	for _, m := range cluster.sorted() {
		fresh.confState.Voters = append(fresh.confState.Voters, m.ID)
	}
	slices.Sort(fresh.confState.Voters)
	fresh.index = uint64(len(cluster.members)) // one entry for each member, as etcdutl writes
	return fresh
}
