package raft

import (
	"fmt"
	"strings"

	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim/hardware"
)

// RestoreConfig is what etcdutl snapshot restore is told; names are those of its flags.
type RestoreConfig struct {
	Name                string
	DataDir             string // "": Name.etcd; must be empty
	WALDir              string
	InitialCluster      string
	InitialClusterToken string // "": etcd-cluster
	AdvertisePeerURLs   []string
	SkipHashCheck       bool
	BumpRevision        int64
	MarkCompacted       bool
}

// RestoreSnapshot writes a data directory from a saved snapshot: all keys with their revisions, a new membership,
// new IDs. It is offline: the disk is all that it touches. Errors are etcdutl's.
//
// Models etcdutl snapshot restore (etcdutl/snapshot/v3_snapshot.go, v3.6).
func RestoreSnapshot(disk *hardware.Disk, file *Database, c RestoreConfig) error {
	if c.DataDir == "" {
		c.DataDir = c.Name + ".etcd"
	}
	if c.InitialClusterToken == "" {
		c.InitialClusterToken = "etcd-cluster"
	}
	initial, err := parseInitialCluster(c.InitialCluster)
	if err != nil {
		return err
	}
	s := &Server{config: &Config{Name: c.Name, DataDir: c.DataDir, WALDir: c.WALDir, InitialCluster: c.InitialCluster,
		AdvertisePeerURLs: c.AdvertisePeerURLs}}
	if err := s.verifyInitial(initial); err != nil {
		return err
	}
	if disk.Exists(c.DataDir) || disk.HasLog(s.config.walPath()) {
		return fmt.Errorf("data-dir %q not empty or could not be read", c.DataDir)
	}
	switch {
	case c.SkipHashCheck:
	case !file.hashed:
		return fmt.Errorf("snapshot missing hash but --skip-hash-check=false")
	case file.damaged:
		return fmt.Errorf("expected sha256 [%s], got [%s]", strings.Repeat("0 ", 31)+"0", strings.Repeat("255 ", 31)+"255")
	}
	cluster := bootstrapMembership(initial, c.InitialClusterToken)
	for _, m := range cluster.sorted() {
		m.ClientURLs = nil
	}
	db := file.restored(cluster, c.BumpRevision, c.MarkCompacted)
	if err := disk.Write(s.config.dbPath(), db); err != nil {
		return err
	}
	state := pb.HardState{Term: 1, Vote: cluster.byName(c.Name).ID,
		Commit: db.index}
	wal := &writeAheadLog{log: disk.OpenLog(s.config.walPath())}
	wal.rewrite(&walMetadata{cluster.byName(c.Name).ID, cluster.id}, nil, state)
	disk.SyncAll()
	return nil
}
