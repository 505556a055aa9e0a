package raft

import (
	"bytes"
	"encoding/binary"
	"sort"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
)

// proposals are what the member has proposed to raft and waits for: etcd's wait.Wait with the time-outs of
// processInternalRaftRequestOnce.
type proposals struct {
	server   *Server
	order    []pending   // by ID and deadline, which is the order of their starts; answered ones go when they are due
	done     int         // how many of order are over, the first ones
	noLeader []*proposal // not given to raft yet: node.Propose blocks while there is no leader
	timer    sim.Timer
	lastID   uint64
	room     []byte // for entries: what is free of a slab that holds some tens of them
}

type proposal struct {
	id    uint64
	start sim.Time
	data  []byte         // nil once given to raft
	conf  *pb.ConfChange // instead of data
	to    answerer
}

// pending is the place of a proposal in the order. It does not hold on to one that is answered.
type pending struct {
	id       uint64
	start    sim.Time
	proposal *proposal // nil: answered
}

// nobody waits for the outcome.
var nobody = answerFunc(func(any, error) {})

// nextID makes an ID as etcd's idutil does: the member, the time of its start, a counter.
func (p *proposals) nextID() uint64 {
	if p.lastID == 0 {
		ms := uint64(p.server.process.Machine().Clock().Now().UnixMilli())
		p.lastID = p.server.id&0xffff<<48 | ms<<8&(1<<48-1)
	}
	p.lastID++
	return p.lastID
}

// propose has a request committed and applied; to is answered once, with its response or error.
func (s *Server) propose(request any, to answerer) {
	if s.committed > s.applied+maxApplyGap {
		to.answer(nil, ErrTooManyRequests)
		return
	}
	id := s.proposals.nextID()
	data, size := s.proposals.encode(id, request)
	if size > s.config.MaxRequestBytes {
		to.answer(nil, ErrRequestTooLarge)
		return
	}
	x := new(proposal)
	if call, ok := to.(*serverCall); ok {
		x = &call.writes // a call proposes once
	}
	*x = proposal{id: id, data: data, to: to}
	s.proposals.add(x)
}

// chosen: entries live about equally long, in the logs; what is still a value when they are gone is packed.
const slabSize = 32 << 10

// encode encodes a proposal at the place where it is to stay.
func (p *proposals) encode(id uint64, request any) (data []byte, size int) {
	if cap(p.room) < slabSize/16 {
		p.room = make([]byte, 0, slabSize)
	}
	data, size = encodeProposal(p.room, id, request)
	n := len(data)
	if n > cap(p.room) { // it had to go elsewhere, where it has more room than it needs
		return bytes.Clone(data), size
	}
	p.room = p.room[n:n:cap(p.room)]
	return data[:n:n], size
}

// proposeConfChange has a change of the membership committed and applied.
func (s *Server) proposeConfChange(cc *pb.ConfChange, to answerer) {
	id := s.proposals.nextID()
	cc.ID = id
	s.proposals.add(&proposal{id: id, conf: cc, to: to})
}

func (p *proposals) add(x *proposal) {
	s := p.server
	x.start = s.kernel.Now()
	if n := len(p.order); n == cap(p.order) && 2*p.done > n { // the memory of those that are done serves again
		p.order, p.done = append(p.order[:0], p.order[p.done:]...), 0
	}
	p.order = append(p.order, pending{x.id, x.start, x})
	if !p.timer.Pending() {
		p.timer = s.scope.AfterRun(s.config.requestTimeout(), "request time-out", p)
	}
	if s.lead == etcdraft.None {
		p.noLeader = append(p.noLeader, x)
		return
	}
	p.give(x)
}

// give hands a proposal to raft.
func (p *proposals) give(x *proposal) {
	s := p.server
	defer s.catch()
	var err error
	if x.conf != nil {
		err = s.node.ProposeConfChange(x.conf)
	} else {
		err = s.node.Propose(x.data)
	}
	x.data, x.conf = nil, nil
	if err != nil {
		p.finish(x.id, outcome{nil, &Error{Unknown, err.Error(), false}})
	}
	s.advance()
}

// release hands over what waited for a leader.
func (p *proposals) release() {
	blocked := p.noLeader
	p.noLeader = nil
	if len(blocked) == 0 {
		return
	}
	p.server.scope.After(0, "leader known", func() {
		for i, x := range blocked {
			if p.server.lead == etcdraft.None {
				p.noLeader = append(blocked[i:], p.noLeader...)
				return
			}
			if p.waits(x.id) {
				p.give(x)
			}
		}
	})
}

// waits reports whether somebody waits for the proposal.
func (p *proposals) waits(id uint64) bool {
	place := p.find(id)
	return place != nil && place.proposal != nil
}

// find returns the place of a proposal, nil if it is not this member's or its time is over. The IDs of a member grow.
func (p *proposals) find(id uint64) *pending {
	order := p.order[p.done:]
	if n := len(order); n == 0 || id < order[0].id || id > order[n-1].id {
		return nil
	}
	i := sort.Search(len(order), func(i int) bool { return order[i].id >= id })
	if order[i].id != id {
		return nil
	}
	return &order[i]
}

// finish answers who waits for the proposal, if anybody.
func (p *proposals) finish(id uint64, o outcome) {
	place := p.find(id)
	if place == nil || place.proposal == nil {
		return
	}
	to := place.proposal.to
	place.proposal = nil
	to.answer(o.response, o.err)
}

// Run ends what has waited too long.
func (p *proposals) Run() {
	s := p.server
	for p.done < len(p.order) {
		if x := p.order[p.done].proposal; x != nil {
			left := s.config.requestTimeout() - s.kernel.Now().Sub(x.start)
			if left > 0 {
				p.timer = s.scope.AfterRun(left, "request time-out", p)
				return
			}
			err := s.timeoutError(x)
			p.finish(x.id, outcome{nil, err})
		}
		p.done++
	}
}

// timeoutError words why a proposal was not applied in time (parseProposeCtxErr, v3.6).
func (s *Server) timeoutError(x *proposal) error {
	if x.data != nil || x.conf != nil { // it never got past node.Propose
		return ErrDeadline
	}
	if s.electedAt > 0 {
		lost := s.electedAt.Add(-2 * s.config.Election)
		if x.start > lost && x.start < s.electedAt {
			return ErrTimeoutLeaderFail
		}
	}
	switch {
	case s.lead == etcdraft.None:
	case s.isLeader():
		if !s.peers.quorumSince(x.start) {
			return ErrTimeoutConnectionLost
		}
	default:
		if !s.peers.activeSince(s.lead, x.start) {
			return ErrTimeoutConnectionLost
		}
	}
	return ErrTimeout
}

// readLoop is etcd's linearizableReadLoop: one ReadIndex at a time serves all reads that wait for it.
type readLoop struct {
	server  *Server
	next    []reader // wait for the next round
	current []reader // wait for this one
	spare   []reader // the memory of a list that is not used now
	id      uint64   // of this round; 0: none
	index   uint64   // to be applied; 0: not known yet
	started sim.Time
	timer   sim.Timer
}

// reader is told when the member has applied everything that was committed when it asked, or why it cannot know.
type reader interface{ caughtUp(err error) }

type readerFunc func(error)

func (fn readerFunc) caughtUp(err error) { fn(err) }

// linearizable tells who when the member has applied everything that is committed now.
func (r *readLoop) linearizable(who reader) {
	r.next = append(r.next, who)
	if r.id == 0 {
		r.begin()
	}
}

func (r *readLoop) begin() {
	s := r.server
	r.current, r.next, r.spare = r.next, r.spare, nil
	r.id, r.index, r.started = s.proposals.nextID(), 0, s.kernel.Now()
	r.timer = s.scope.AfterRun(readIndexRetry, "ReadIndex", r)
	r.ask()
}

func (r *readLoop) ask() {
	s := r.server
	defer s.catch()
	s.node.ReadIndex(binary.BigEndian.AppendUint64(nil, r.id))
	s.advance()
}

// Run asks again, or gives up.
func (r *readLoop) Run() {
	s := r.server
	if r.id == 0 || r.index != 0 {
		return
	}
	waited := s.kernel.Now().Sub(r.started)
	left := s.config.requestTimeout() - waited
	if left <= 0 {
		s.log.warn("timed out waiting for read index response (local node might have slow network) timeout:%s",
			s.config.requestTimeout())
		r.end(ErrTimeout)
		return
	}
	r.timer = s.scope.AfterRun(min(left, readIndexRetry), "ReadIndex", r)
	r.ask()
}

// answer takes what raft has found out.
func (r *readLoop) answer(state etcdraft.ReadState) {
	if r.id == 0 || len(state.RequestCtx) != 8 || binary.BigEndian.Uint64(state.RequestCtx) != r.id || r.index != 0 {
		return // of a round that was given up
	}
	r.index = max(state.Index, 1)
	r.timer.Stop()
	r.applied()
}

// applied looks whether the round's index has been applied.
func (r *readLoop) applied() {
	if r.id != 0 && r.index != 0 && r.server.applied >= r.index {
		r.end(nil)
	}
}

func (r *readLoop) leaderChanged() {
	if r.id != 0 && r.index == 0 {
		r.end(ErrLeaderChanged)
	}
}

func (r *readLoop) firstCommitInTerm() {
	if r.id == 0 || r.index != 0 {
		return
	}
	r.timer.Stop()
	r.timer = r.server.scope.AfterRun(readIndexRetry, "ReadIndex", r)
	r.server.scope.After(0, "ReadIndex", func() {
		if r.id != 0 && r.index == 0 {
			r.ask()
		}
	})
}

func (r *readLoop) end(err error) {
	waiting := r.current
	r.current, r.id, r.index = nil, 0, 0
	r.timer.Stop()
	for _, who := range waiting {
		who.caughtUp(err)
	}
	clear(waiting)
	r.spare = waiting[:0]
	if r.id == 0 && len(r.next) > 0 {
		r.server.scope.After(0, "ReadIndex", func() {
			if r.id == 0 && len(r.next) > 0 {
				r.begin()
			}
		})
	}
}

// retryUntil calls try now and again until it reports success, gaveUp at the deadline otherwise.
func (s *Server) retryUntil(deadline sim.Time, every time.Duration, try func() bool, gaveUp func()) {
	if try() {
		return
	}
	if s.kernel.Now().Add(every) > deadline {
		s.scope.At(deadline, "retry", gaveUp)
		return
	}
	s.scope.After(every, "retry", func() { s.retryUntil(deadline, every, try, gaveUp) })
}
