package raft

import (
	"errors"
	"slices"
	"sort"

	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
	"ksim/sim/hardware"
)

// peers carries raft's messages to the other members.
//
// Models etcd's rafthttp (server/etcdserver/api/rafthttp, v3.6): each member dials every other one and reads from
// that connection what the other writes, so a pair of members has two streams; while there is none, the pipeline posts.
// Leaves out: the second, version 2 message stream.
type peers struct {
	server   *Server
	byID     map[uint64]*peer
	order    []*peer            // by ID
	initial  map[uint64]*Member // known from the start, until the log says who the members are
	listener *hardware.Listener
	wire     *wire
}

// peer is one other member.
type peer struct {
	id        uint64
	urls      []string
	next      int            // which URL is dialled next
	in        *hardware.Conn // dialled by us: what it sends us
	out       *hardware.Conn // dialled by it: what we send it
	dialing   bool
	cancel    func()
	retry     sim.Timer
	since     sim.Time // since when both streams are there; -1: they are not
	sent      sim.Time
	posting   int    // messages on their way by the pipeline
	complaint string // the last refusal logged
}

// What members say to each other besides raft's messages, which travel as they are.
type (
	// streamRequest opens a stream from the member that is dialled to the one that dials.
	streamRequest struct {
		from, to, cluster uint64
		urls              []string
	}
	// refusal answers what is not served: HTTP 412 for another cluster or member, 410 for one that was removed, 404
	// for one that is not known yet.
	refusal struct {
		status  int
		cluster uint64
	}
	linkHeartbeat struct{}
	// membersRequest is GET /members.
	membersRequest struct{}
	membersAnswer  struct{ cluster *membership }
	// snapshotPost is POST /raft/snapshot: a MsgSnap with the database.
	snapshotPost struct {
		message *pb.Message
		db      *Database
		cluster uint64
	}
	// messagePost is POST /raft: a message, while there is no stream.
	messagePost struct {
		message *pb.Message
		cluster uint64
	}
	// peerRequest is one that only the leader can answer, and peerAnswer its answer.
	peerRequest struct{ request any }
	peerAnswer  struct {
		response any
		err      error
	}
	posted struct{}
)

var heartbeatOfLink = &linkHeartbeat{}

// update follows the membership: new members are dialled, removed ones forgotten.
func (p *peers) update() {
	s := p.server
	known := s.cluster.members
	if len(known) == 0 {
		known = p.initial
	}
	ids := make([]uint64, 0, len(known))
	for id := range known { // any order: sorted below
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		if id == s.id || s.cluster.removed[id] {
			continue
		}
		if x := p.byID[id]; x != nil {
			x.urls = known[id].PeerURLs
			continue
		}
		p.add(&peer{id: id, urls: known[id].PeerURLs, since: -1})
	}
	for _, x := range slices.Clone(p.order) {
		if s.cluster.removed[x.id] {
			p.remove(x)
		}
	}
}

func (p *peers) add(x *peer) {
	p.byID[x.id] = x
	p.order = append(p.order, x)
	sort.Slice(p.order, func(i, j int) bool { return p.order[i].id < p.order[j].id })
	p.dial(x)
}

// remove forgets a peer, after a moment in which it can hear of its removal.
func (p *peers) remove(x *peer) {
	delete(p.byID, x.id)
	p.order = slices.DeleteFunc(p.order, func(other *peer) bool { return other == x })
	x.retry.Stop()
	if x.cancel != nil {
		x.cancel()
	}
	p.server.scope.After(p.server.config.Election, "removed peer", func() {
		for _, c := range [...]*hardware.Conn{x.in, x.out} {
			if c != nil {
				c.Close()
			}
		}
	})
}

// dial opens the stream from a peer to us.
func (p *peers) dial(x *peer) {
	s := p.server
	if x.dialing || x.in != nil || p.byID[x.id] != x || len(x.urls) == 0 {
		return
	}
	x.dialing = true
	x.retry.Stop()
	url := x.urls[x.next%len(x.urls)]
	// 1 s + election time-out: config.ServerConfig.PeerDialTimeout.
	x.cancel = s.process.Dial(url, s.config.Election+dialBase, func(c *hardware.Conn, err error) {
		x.dialing, x.cancel = false, nil
		if err != nil {
			x.next++
			p.retryLater(x)
			return
		}
		x.in = c
		c.OnMessage(func(msg any) { p.receive(x, c, msg) })
		c.OnClose(func(error) { p.lostIn(x, c) })
		c.Send(&streamRequest{s.id, x.id, s.cluster.id, s.config.AdvertisePeerURLs})
	})
}

func (p *peers) retryLater(x *peer) {
	x.retry = p.server.scope.After(dialRetry, "dial peer", func() { p.dial(x) })
}

func (p *peers) lostIn(x *peer, c *hardware.Conn) {
	if x.in != c {
		return
	}
	x.in = nil
	p.inactive(x)
	p.retryLater(x)
}

func (p *peers) inactive(x *peer) {
	if x.since >= 0 {
		x.since = -1
		p.server.log.warn("lost TCP streaming connection with remote peer local-member-id:%x remote-peer-id:%x",
			p.server.id, x.id)
	}
}

func (p *peers) active(x *peer) {
	if x.in != nil && x.out != nil && x.since < 0 {
		x.since = p.server.kernel.Now()
		p.server.log.info("peer became active peer-id:%x", x.id)
	}
}

// receive takes what comes on a stream that we dialled.
func (p *peers) receive(x *peer, c *hardware.Conn, msg any) {
	s := p.server
	switch m := msg.(type) {
	case *pb.Message:
		if p.byID[x.id] != x || m.To != s.id {
			return
		}
		if x.since < 0 {
			p.active(x)
		}
		p.process(m)
		p.wire.delivered(m)
	case *refusal:
		p.refused(x, m)
		if x.in == c {
			x.in = nil
			p.retryLater(x)
		}
		c.Close()
	}
}

// process gives raft a message; a proposal that a follower forwards waits for a leader, as in node.Step.
func (p *peers) process(m *pb.Message) {
	s := p.server
	if m.From == s.lead {
		s.heard, s.heardAt = sim.EventID(s.kernel.Trace().Len()), s.kernel.Now()
	}
	if s.cluster.removed[m.From] {
		return
	}
	s.step(m)
}

func (p *peers) refused(x *peer, r *refusal) {
	s := p.server
	switch r.status {
	case 410:
		s.removed()
	case 412:
		if x.complaint != "412" {
			x.complaint = "412"
			s.log.warn("request sent was ignored by remote peer due to cluster ID mismatch remote-peer-id:%x "+
				"remote-peer-cluster-id:%x local-member-id:%x local-member-cluster-id:%x error:cluster ID mismatch",
				x.id, r.cluster, s.id, s.cluster.id)
			s.emit(sim.Story, "ClusterIDMismatch", "etcd "+s.config.Name+
				" is ignored by a peer of another cluster: cluster ID mismatch")
		}
	}
}

// accept takes a connection on the peer port.
func (p *peers) accept(c *hardware.Conn) {
	c.OnMessage(func(msg any) {
		switch m := msg.(type) {
		case *streamRequest:
			p.serveStream(c, m)
		case *membersRequest:
			c.Send(&membersAnswer{p.knownCluster()})
		case *snapshotPost:
			p.takeSnapshot(c, m)
		case *messagePost:
			p.takeMessage(c, m)
		case *peerRequest:
			p.answer(m.request, func(response any, err error) { c.Send(&peerAnswer{response, err}) })
		}
	})
}

// answer serves what only the leader can.
func (p *peers) answer(request any, reply func(any, error)) {
	s := p.server
	if r, ok := request.(*MemberPromoteRequest); ok && s.isLeader() {
		s.memberPromote(r, reply)
		return
	}
	if !s.isLeader() || !s.lessor.primary {
		reply(nil, ErrNotLeader)
		return
	}
	reply(s.lessor.local(request))
}

// knownCluster is what GET /members answers.
func (p *peers) knownCluster() *membership {
	known := p.server.cluster.clone()
	if len(known.members) == 0 {
		for id, m := range p.initial { // any order: into a map
			known.members[id] = m
		}
	}
	return known
}

func (p *peers) serveStream(c *hardware.Conn, r *streamRequest) {
	s := p.server
	switch {
	case r.cluster != s.cluster.id:
		s.log.warn("request cluster ID mismatch local-member-id:%x local-member-cluster-id:%x remote-peer-cluster-id:%x",
			s.id, s.cluster.id, r.cluster)
		c.Send(&refusal{412, s.cluster.id})
		return
	case s.cluster.removed[r.from]:
		c.Send(&refusal{410, s.cluster.id})
		return
	case r.to != s.id:
		c.Send(&refusal{412, s.cluster.id})
		return
	}
	x := p.byID[r.from]
	if x == nil { // added by entries that this member has not applied yet
		c.Send(&refusal{404, s.cluster.id})
		return
	}
	if old := x.out; old != nil {
		x.out = nil
		old.Close()
	}
	x.out, x.sent = c, s.kernel.Now()
	c.OnClose(func(error) {
		if x.out == c {
			x.out = nil
			p.inactive(x)
		}
	})
	p.active(x)
	p.dial(x) // it is there: no need to wait for the next try
}

// send gives messages to their peers' streams. What cannot be sent is dropped, and raft is told.
func (p *peers) send(messages []pb.Message) {
	s := p.server
	answered := false // of several MsgAppResp only the newest counts
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Type != pb.MsgAppResp {
			continue
		}
		if answered {
			messages[i].To = etcdraft.None
		}
		answered = true
	}
	for i := range messages {
		x := p.byID[messages[i].To]
		if x == nil {
			continue
		}
		m := p.wire.carry(&messages[i])
		switch {
		case m.Type == pb.MsgSnap:
			p.postSnapshot(x, m)
		case x.out == nil:
			p.postMessage(x, m)
		default:
			x.sent = s.kernel.Now()
			x.out.Send(m)
		}
	}
}

// keepAlive sends heartbeats on streams that were idle, and gives up streams on which nothing has come for 5 s.
func (p *peers) keepAlive() {
	now := p.server.kernel.Now()
	for _, x := range p.order {
		if x.out != nil && now.Sub(x.sent) >= connReadTimeout/3 {
			x.sent = now
			x.out.Send(heartbeatOfLink)
		}
		if c := x.in; c != nil && now.Sub(c.Received()) >= connReadTimeout {
			c.Close()
			p.lostIn(x, c)
		}
	}
}

var errNoPeer = errors.New("no such peer")

// request asks the leader what only it knows.
func (p *peers) request(leader uint64, request any, done func(any, error)) {
	x := p.byID[leader]
	if x == nil || len(x.urls) == 0 {
		p.server.scope.After(0, "no peer", func() { done(nil, errNoPeer) })
		return
	}
	p.post(x.urls[0], &peerRequest{request}, func(answer any, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		a := answer.(*peerAnswer)
		done(a.response, a.err)
	})
}

// activeSince reports whether the streams with a member have been there since then.
func (p *peers) activeSince(id uint64, since sim.Time) bool {
	x := p.byID[id]
	return x != nil && x.since >= 0 && x.since <= since
}

// connectedSince counts the voters that have been connected since then, this member included.
func (p *peers) connectedSince(since sim.Time) (n int) {
	for _, m := range p.server.cluster.sorted() {
		if !m.IsLearner && (m.ID == p.server.id || p.activeSince(m.ID, since)) {
			n++
		}
	}
	return n
}

func (p *peers) quorumSince(since sim.Time) bool {
	return p.connectedSince(since) >= p.server.cluster.voters()/2+1
}

// wire has the memory of messages that were delivered, for those that are sent. A message that is lost on its way
// leaves the memory's rounds.
type wire struct{ free []*pb.Message }

type wireKey struct{}

func wireOf(k *sim.Kernel) *wire { return k.Memo(wireKey{}, func() any { return new(wire) }).(*wire) }

// carry returns a copy to be sent.
func (w *wire) carry(m *pb.Message) *pb.Message {
	last := len(w.free) - 1
	if last < 0 {
		copied := *m
		return &copied
	}
	copied := w.free[last]
	w.free = w.free[:last]
	*copied = *m
	return copied
}

// delivered takes a message back that raft has taken, by value.
func (w *wire) delivered(m *pb.Message) {
	*m = pb.Message{}
	w.free = append(w.free, m)
}
