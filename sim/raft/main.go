package raft

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
	"ksim/sim/hardware"
	"ksim/sim/raft/mvcc"
)

// Main is the etcd program: it parses etcd's flags from argv (without the program's name) and runs a member until the
// process ends.
//
// Models etcd's start (server/etcdmain, embed.StartEtcd, etcdserver/bootstrap.go, v3.6). Leaves out: discovery, TLS.
func Main(p *hardware.Process, argv []string) {
	log := &memberLog{kernel: p.Kernel()}
	s := &Server{process: p, scope: p.Scope(), kernel: p.Kernel(), log: log, started: p.Kernel().Now(),
		startedBy: p.Kernel().Cause()}
	config, err := parseConfig(argv)
	if config == nil {
		log.add("error", err.Error())
		p.Exit(2, err.Error())
		return
	}
	s.config, s.livez = config, hasLivez(config.Version)
	if err != nil {
		log.warn("failed to verify flags error:%s", err)
		if err == errUnsetAdvertise {
			log.warn("advertise client URLs are not set")
		}
		p.Exit(1, err.Error())
		return
	}
	log.info("starting etcd etcd-version:%s name:%s data-dir:%s initial-cluster:%s", config.Version, config.Name,
		config.DataDir, config.InitialCluster)
	for _, name := range config.unmodelled {
		log.add("debug", "flag --"+name+" has no effect here")
	}
	p.Go("bootstrap", func(proc *sim.Proc) {
		if err := s.bootstrap(proc); err != nil {
			s.fatal("discovery failed error:" + err.Error())
		}
	})
}

// bootstrap finds out who the member is, opens its files and ports, and starts it.
func (s *Server) bootstrap(p *sim.Proc) error {
	s.wal = &writeAheadLog{}
	disk := s.process.Machine().Disk()
	var db *Database
	if content, err := disk.Read(s.config.dbPath()); err == nil {
		db, _ = content.(*Database)
	}
	s.cluster = newMembership()
	if disk.HasLog(s.config.walPath()) && len(disk.OpenLog(s.config.walPath()).Records()) > 0 {
		s.wal.log = disk.OpenLog(s.config.walPath())
		return s.restart(db)
	}
	initial, err := parseInitialCluster(s.config.InitialCluster)
	if err != nil {
		return err
	}
	if err := s.verifyInitial(initial); err != nil {
		return err
	}
	known, peersOf := s.initialCluster(p, initial)
	if peersOf != nil {
		return peersOf
	}
	s.id = known.byName(s.config.Name).ID
	s.cluster.id = known.id
	s.wal.log = disk.OpenLog(s.config.walPath())
	if err := s.wal.log.Append(&walMetadata{s.id, known.id}); err != nil {
		return fmt.Errorf("cannot access member directory: %w", err)
	}
	s.raftLog = newRaftLog()
	s.store = mvcc.NewSharing(versionsOf(s.kernel))
	s.peers.initial = known.members
	return s.start(walContent{}, s.config.NewCluster)
}

type versionsKey struct{}

// versionsOf returns what the members of a simulation share: the versions of keys, which are equal in all of them.
func versionsOf(k *sim.Kernel) *mvcc.Versions {
	return k.Memo(versionsKey{}, func() any { return mvcc.NewVersions() }).(*mvcc.Versions)
}

// verifyInitial is VerifyBootstrap and advertiseMatchesCluster (config/config.go).
func (s *Server) verifyInitial(initial map[string][]string) error {
	mine := initial[s.config.Name]
	if mine == nil {
		return fmt.Errorf("couldn't find local name %q in the initial cluster configuration", s.config.Name)
	}
	seen := map[string]bool{}
	for _, urls := range initial { // any order: the same error whichever comes first
		for _, u := range urls {
			if seen[u] {
				return fmt.Errorf("initial cluster %s has duplicate url", s.config.InitialCluster)
			}
			seen[u] = true
		}
	}
	if !sameURLs(mine, s.config.AdvertisePeerURLs) {
		return fmt.Errorf("--initial-cluster has %s=%s but missing from --initial-advertise-peer-urls=%s", s.config.Name,
			strings.Join(mine, ","), strings.Join(s.config.AdvertisePeerURLs, ","))
	}
	return nil
}

// initialCluster is the cluster that a member without data starts in: the one that its flags describe, or the
// existing one.
func (s *Server) initialCluster(p *sim.Proc, initial map[string][]string) (*membership, error) {
	local := bootstrapMembership(initial, s.config.InitialClusterToken)
	if s.config.NewCluster {
		// 1 s: BootstrapTimeoutEffective.
		if remote := s.fetchCluster(p, initial, time.Second); remote != nil {
			me := local.byName(s.config.Name)
			if m := remote.members[me.ID]; m != nil && len(m.ClientURLs) > 0 {
				return nil, fmt.Errorf("member %x has already been bootstrapped", me.ID)
			}
		}
		return local, nil
	}
	remote := s.fetchCluster(p, initial, 10*time.Second) // 10 s: GetClusterFromRemotePeers
	if remote == nil {
		return nil, fmt.Errorf("cannot fetch cluster info from peer urls: could not retrieve cluster information from " +
			"the given URLs")
	}
	known, err := assignIDs(initial, remote)
	if err != nil {
		return nil, fmt.Errorf("error validating peerURLs {ClusterID:%x Members:[%s] RemovedMemberIDs:[]}: %w", remote.id,
			describeURLs(remote), err)
	}
	return known, nil
}

// fetchCluster asks the other members, one after the other, who the members are.
func (s *Server) fetchCluster(p *sim.Proc, initial map[string][]string, within time.Duration) *membership {
	var urls []string
	for name, list := range initial { // any order: sorted below
		if name != s.config.Name {
			urls = append(urls, list...)
		}
	}
	sort.Strings(urls)
	for _, url := range urls {
		answer := sim.NewFuture[any]()
		postTo(s.process, url, within, &membersRequest{}, answer.Resolve)
		got, err := answer.Await(p, sim.Forever)
		if a, ok := got.(*membersAnswer); ok && err == nil {
			return a.cluster
		}
	}
	return nil
}

// restart brings a member back from its files.
func (s *Server) restart(db *Database) error {
	s.log.info("server has already been initialized data-dir:%s", s.config.DataDir)
	s.raftLog = newRaftLog()
	s.store = mvcc.NewSharing(versionsOf(s.kernel))
	base := uint64(0)
	if db != nil {
		base = db.index
		s.store.Restore(db.store)
		s.cluster = db.cluster.clone()
		s.alarms = slices.Clone(db.alarms)
		at := db.metadata()
		s.raftLog.restart(&at)
		s.applied, s.appliedAt, s.snapshotAt = db.index, db.term, db.index
		s.confState = db.confState
	}
	content := s.wal.read(base)
	if content.metadata == nil {
		return fmt.Errorf("failed to read WAL, cannot be repaired")
	}
	s.id, s.cluster.id = content.metadata.member, content.metadata.cluster
	s.raftLog.append(content.entries)
	if state := content.state; !etcdraft.IsEmptyHardState(state) {
		state.Commit = max(state.Commit, base)
		if last := s.raftLog.last(); state.Commit > last {
			state.Commit = last
		}
		s.raftLog.hardState = state
		s.term, s.committed = state.Term, state.Commit
	}
	s.log.info("restarting local member cluster-id:%x local-member-id:%x commit-index:%d", s.cluster.id, s.id, s.committed)
	if s.config.ForceNewCluster {
		s.forceNewCluster()
	}
	return s.start(content, false)
}

// forceNewCluster drops what is not committed and makes this member the only one (bootstrapRaftFromWALStandalone).
func (s *Server) forceNewCluster() {
	state := &s.raftLog.hardState
	if etcdraft.IsEmptyHardState(*state) {
		return
	}
	if last := s.raftLog.last(); state.Commit < last {
		s.log.info("discarding uncommitted WAL entries entries:%d", last-state.Commit)
		s.raftLog.truncate(state.Commit + 1)
	}
	members := map[uint64]bool{s.id: true}
	for id := range s.cluster.members { // any order: into a set
		members[id] = true
	}
	for i := s.raftLog.first; i < s.raftLog.next; i++ {
		e, cc := s.raftLog.at(i), &pb.ConfChange{}
		if e.Type == pb.EntryConfChange && cc.Unmarshal(e.Data) == nil {
			members[cc.NodeID] = cc.Type != pb.ConfChangeRemoveNode
		}
	}
	ids := make([]uint64, 0, len(members))
	for id, there := range members { // any order: sorted below
		if there && id != s.id {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var added []pb.Entry
	for _, id := range ids {
		cc := &pb.ConfChange{Type: pb.ConfChangeRemoveNode, NodeID: id}
		data, err := cc.Marshal()
		sim.Assert(err == nil, "a configuration change cannot be encoded: %v", err)
		added = append(added, pb.Entry{Type: pb.EntryConfChange, Term: state.Term,
			Index: s.raftLog.last() + uint64(len(added)) + 1, Data: data})
	}
	s.raftLog.append(added)
	state.Commit = s.raftLog.last()
	s.committed = s.raftLog.last()
	s.wal.rewrite(&walMetadata{s.id, s.cluster.id}, s.raftLog.slice(s.raftLog.first, s.raftLog.next),
		*state)
	s.log.info("forcing restart member cluster-id:%x local-member-id:%x commit-index:%d", s.cluster.id, s.id, s.committed)
}

// start opens the ports and starts raft.
func (s *Server) start(content walContent, bootstrap bool) (err error) {
	s.peers.server, s.peers.byID, s.peers.wire = s, map[uint64]*peer{}, wireOf(s.kernel)
	s.proposals = proposals{server: s}
	s.entries = entriesOf(s.kernel)
	s.onSynced = s.synced
	s.reads.server, s.watches.server, s.serving.server = s, s, s
	s.lessor = lessor{server: s, expiry: map[int64]sim.Time{}}
	s.raftLog.snapshot = func() pb.Snapshot { return pb.Snapshot{Metadata: s.database().metadata()} }
	if err := s.listen(); err != nil {
		return err
	}
	defer s.catch()
	s.node, err = etcdraft.NewRawNode(&etcdraft.Config{ID: s.id, ElectionTick: s.config.electionTicks(), HeartbeatTick: 1,
		Storage: s.raftLog, Applied: s.applied, MaxSizePerMsg: maxSizePerMessage, MaxInflightMsgs: maxInflightMsgs,
		CheckQuorum: true, PreVote: s.config.PreVote, Logger: raftLogger{s.log}})
	if err != nil {
		return err
	}
	s.elections, s.buffers = newElectionTimer(s.node, s.kernel.Seed(), s.id), newMessageBuffers(s.node)
	s.process.Publish(s)
	s.process.OnTerm(s.terminate)
	if bootstrap {
		if err := s.node.Bootstrap(s.bootstrapPeers()); err != nil {
			return err
		}
	}
	s.emit(sim.Detail, "MemberStarted", "")
	s.peers.update()
	// No two programs start in the same microsecond: without a phase of its own a member whose machine was switched
	// on together with another would tick, and campaign, at exactly the same time for ever.
	phase := s.scope.Rand("etcd/"+s.process.Machine().Name).Between(0, s.config.Heartbeat)
	s.scope.AfterRun(phase, "raft tick", s)
	s.advance()
	if s.scope.Alive() {
		s.adjustTicks(0)
		s.publish()
	}
	return nil
}

func (s *Server) bootstrapPeers() []etcdraft.Peer {
	var list []etcdraft.Peer
	known := membership{members: s.peers.initial}
	for _, m := range known.sorted() {
		list = append(list, etcdraft.Peer{ID: m.ID, Context: encodeContext(memberContext{Member: *m})})
	}
	return list
}

// listen opens the peer, client and metrics ports.
func (s *Server) listen() error {
	for _, u := range s.config.ListenPeerURLs {
		_, port, err := hardware.SplitAddress(u)
		if err != nil {
			return err
		}
		if s.peers.listener, err = s.process.Listen(port, s.peers.accept); err != nil {
			return err
		}
	}
	opened := map[int]bool{} // several URLs with the same port are one socket here
	for _, u := range s.config.ListenClientURLs {
		_, port, err := hardware.SplitAddress(u)
		if err != nil {
			return err
		}
		if opened[port] {
			continue
		}
		opened[port] = true
		l, err := s.process.Listen(port, s.serving.accept)
		if err != nil {
			return err
		}
		s.serving.listeners = append(s.serving.listeners, l)
	}
	for _, u := range s.config.ListenMetricsURLs {
		_, port, err := hardware.SplitAddress(u)
		if err != nil {
			return err
		}
		if opened[port] {
			continue
		}
		opened[port] = true
		m, err := s.process.Serve(port, s.serveHTTP)
		if err != nil {
			return err
		}
		s.serving.metrics = append(s.serving.metrics, m)
	}
	return nil
}

// adjustTicks lets the first election come sooner, once it is known that peers are there (EtcdServer.adjustTicks).
func (s *Server) adjustTicks(looked int) {
	members := max(len(s.cluster.members), len(s.peers.initial))
	if members <= 1 {
		s.advanceTicks(s.config.electionTicks() - 1)
		return
	}
	if !s.config.InitialTickAdvance || looked >= int(connReadTimeout/tickLook) {
		return
	}
	s.scope.After(tickLook, "adjust ticks", func() {
		active := 0
		for _, x := range s.peers.order {
			if x.since >= 0 {
				active++
			}
		}
		if active > 1 { // etcd counts remote members only
			s.advanceTicks(s.config.electionTicks() - 2)
			return
		}
		s.adjustTicks(looked + 1)
	})
}

// tickLook is how often adjustTicks looks for peers.
const tickLook = 50 * time.Millisecond

func (s *Server) advanceTicks(n int) {
	defer s.catch()
	for range n {
		s.node.Tick()
	}
	s.advance()
}

// publish makes the member known through raft; clients are served once that is applied.
func (s *Server) publish() {
	attributes := &memberAttributes{s.id, s.config.Name, s.config.AdvertiseClientURLs}
	s.propose(attributes, answerFunc(func(_ any, err error) {
		if err != nil {
			s.log.warn("failed to publish local member to cluster through raft local-member-id:%x error:%s", s.id, err)
			s.scope.After(0, "publish", s.publish)
			return
		}
		s.log.info("published local member to cluster through raft local-member-id:%x cluster-id:%x", s.id, s.cluster.id)
		if s.serving.ready {
			return
		}
		s.log.info("ready to serve client requests")
		s.serving.open()
		s.emit(sim.Story, "MemberReady", "etcd "+s.config.Name+" serves clients")
		s.process.Changed()
	}))
}

// proposeClusterVersion has a new leader publish the version that the cluster works at, if there is none yet.
func (s *Server) proposeClusterVersion() {
	if s.cluster.version == "" {
		version := storageVersion(s.config.Version)
		s.scope.After(0, "cluster version", func() { s.propose(&clusterVersionSet{version}, nobody) })
	}
}

// terminate is what SIGTERM does (embed.Etcd.Close): refuse and drain clients, hand the lead over, stop.
func (s *Server) terminate() {
	if s.stopping {
		return
	}
	s.stopping = true
	s.log.info("received signal; shutting down signal:terminated")
	s.emit(sim.Story, "MemberStopping", "etcd "+s.config.Name+" was told to stop: it drains its clients")
	s.serving.drain(func() {
		finish := func() {
			s.emit(sim.Story, "MemberStopped", "etcd "+s.config.Name+" has stopped")
			s.saveOnStop()
			s.process.Exit(0, "terminated")
		}
		if !s.isLeader() || s.cluster.voters() <= 1 {
			finish()
			return
		}
		to := s.longestConnected()
		if to == 0 {
			finish()
			return
		}
		s.transferLead(to, s.config.requestTimeout(), func(bool) { finish() })
	})
}

// saveOnStop leaves the database file as new as the member is, as closing the backend does.
func (s *Server) saveOnStop() {
	if err := s.process.Machine().Disk().Write(s.config.dbPath(), s.database()); err != nil {
		s.log.warn("failed to save the database error:%s", err)
	}
}
