package raft

import (
	"slices"

	"ksim/sim/hardware"
)

// serving is the client port.
//
// Models etcd's gRPC front (server/embed/serve.go, etcdserver/api/v3rpc and v3_server.go, v3.6). The port is open
// from the start, but nothing is answered on it before the member has published itself; then the connection's first
// frame, HTTP/2's settings, is sent, for which clients wait.
type serving struct {
	server    *Server
	ready     bool // published
	draining  bool
	listeners []*hardware.Listener
	metrics   []*hardware.Server
	conns     []*clientConn
	stopped   func() // called when the last call has ended, while draining
}

// clientConn is a client's connection, at the member.
type clientConn struct {
	serving *serving
	conn    *hardware.Conn
	calls   []*serverCall
	closed  bool
}

// serverCall is a request under way.
type serverCall struct {
	conn    *clientConn
	id      uint64
	request any
	watch   *watchStream
	done    bool
	reply   serverAnswer
	writes  proposal // what the request proposes, if it does
}

// answerer is who waits for the outcome of a request: a call, or whoever wants to know.
type answerer interface {
	answer(response any, err error)
}

type answerFunc func(response any, err error)

func (fn answerFunc) answer(response any, err error) { fn(response, err) }

// Frames between client and member.
type (
	settings      struct{} // the member serves
	goAway        struct{} // send no new requests on this connection
	clientPing    struct{}
	clientPong    struct{}
	clientRequest struct {
		id      uint64
		request any
	}
	clientCancel struct{ id uint64 }
	serverAnswer struct {
		id       uint64
		response any
		err      error
		more     bool // a stream: this is not the end
	}
	// watchAnswer is a message of a watch, in one piece of memory.
	watchAnswer struct {
		serverAnswer
		watch WatchResponse
	}
)

var (
	theSettings = &settings{}
	theGoAway   = &goAway{}
	thePing     = &clientPing{}
	thePong     = &clientPong{}
)

func (v *serving) accept(c *hardware.Conn) {
	cc := &clientConn{serving: v, conn: c}
	v.conns = append(v.conns, cc)
	c.OnMessage(cc.receive)
	c.OnClose(func(error) { cc.end() })
	if v.ready {
		c.Send(theSettings)
	}
}

// open lets clients in.
func (v *serving) open() {
	v.ready = true
	for _, cc := range v.conns {
		cc.conn.Send(theSettings)
	}
}

// drain is gRPC's GracefulStop: no new connections or requests; then is called when all requests are answered, or
// limit has passed.
func (v *serving) drain(then func()) {
	s := v.server
	v.draining = true
	for _, l := range v.listeners {
		l.Close()
	}
	for _, cc := range v.conns {
		cc.conn.Send(theGoAway)
	}
	finished := false
	v.stopped = func() {
		if finished {
			return
		}
		finished = true
		for _, cc := range slices.Clone(v.conns) {
			cc.conn.Close()
			cc.end()
		}
		then()
	}
	s.scope.After(s.config.requestTimeout(), "graceful stop", v.stopped)
	v.maybeStopped()
}

func (v *serving) maybeStopped() {
	if !v.draining {
		return
	}
	for _, cc := range v.conns {
		if len(cc.calls) > 0 {
			return
		}
	}
	v.server.scope.After(0, "drained", v.stopped)
}

func (cc *clientConn) end() {
	if cc.closed {
		return
	}
	cc.closed = true
	v := cc.serving
	v.conns = slices.DeleteFunc(v.conns, func(other *clientConn) bool { return other == cc })
	calls := cc.calls
	cc.calls = nil
	for _, call := range calls {
		call.abandon()
	}
	v.maybeStopped()
}

func (cc *clientConn) receive(msg any) {
	switch m := msg.(type) {
	case *clientRequest:
		call := &serverCall{conn: cc, id: m.id, request: m.request}
		cc.calls = append(cc.calls, call)
		cc.serving.server.dispatch(call, m.request)
	case *clientCancel:
		for _, call := range cc.calls {
			if call.id == m.id {
				cc.drop(call)
				call.abandon()
				break
			}
		}
		cc.serving.maybeStopped()
	case *clientPing:
		cc.conn.Send(thePong)
	}
}

func (cc *clientConn) drop(call *serverCall) {
	for i, other := range cc.calls {
		if other == call {
			last := len(cc.calls) - 1
			cc.calls[i] = cc.calls[last]
			cc.calls[last] = nil
			cc.calls = cc.calls[:last]
			return
		}
	}
}

func (c *serverCall) abandon() {
	c.done = true
	if c.watch != nil {
		c.watch.close()
	}
}

// answer ends the call.
func (c *serverCall) answer(response any, err error) {
	if c.done {
		return
	}
	c.done = true
	if err != nil {
		response = nil
	}
	c.conn.drop(c)
	c.reply = serverAnswer{c.id, response, err, false}
	c.conn.conn.Send(&c.reply)
	c.conn.serving.maybeStopped()
}

// stream sends one message of a stream.
func (c *serverCall) stream(response WatchResponse) {
	if !c.done {
		m := &watchAnswer{watch: response}
		m.serverAnswer = serverAnswer{c.id, &m.watch, nil, true}
		c.conn.conn.Send(&m.serverAnswer)
	}
}

// dispatch serves a request.
func (s *Server) dispatch(call *serverCall, request any) {
	if err := checkRequest(request, s.config.MaxTxnOps); err != nil {
		call.answer(nil, err)
		return
	}
	if s.isLearner() && !servedByLearner(request) {
		call.answer(nil, ErrNotSupportedForLearner)
		return
	}
	switch r := request.(type) {
	case *RangeRequest:
		s.read(call, r.Serializable)
	case *TxnRequest:
		if txnReadOnly(r) {
			s.read(call, txnSerializable(r))
			return
		}
		s.write(call, r, txnCost(r))
	case *PutRequest:
		s.write(call, r, kvOverhead+int64(len(r.Key)+len(r.Value)))
	case *LeaseGrantRequest:
		for r.ID == 0 {
			r.ID = int64(s.proposals.nextID() & (1<<63 - 1))
		}
		s.write(call, r, leaseOverhead)
	case *DeleteRangeRequest, *CompactionRequest, *LeaseRevokeRequest:
		s.propose(r, call)
	case *LeaseKeepAliveRequest, *LeaseTimeToLiveRequest:
		s.lessor.ask(r, call.answer)
	case *LeaseLeasesRequest:
		response := &LeaseLeasesResponse{Header: s.header()}
		for _, l := range s.store.Leases() {
			response.IDs = append(response.IDs, l.ID)
		}
		call.answer(response, nil)
	case *WatchRequest:
		s.watches.open(call, r)
	default:
		s.maintain(call, request)
	}
}

// servedByLearner reports whether a learner, too, answers the request (isRPCSupportedForLearner).
func servedByLearner(request any) bool {
	switch r := request.(type) {
	case *RangeRequest:
		return r.Serializable
	case *StatusRequest, *HealthRequest:
		return true
	}
	return false
}

func (s *Server) isLearner() bool {
	m := s.cluster.members[s.id]
	return m != nil && m.IsLearner
}

// read answers from the member's own state, first waiting until that is as new as the cluster's unless serializable.
func (s *Server) read(call *serverCall, serializable bool) {
	if serializable {
		call.read()
		return
	}
	s.reads.linearizable(call)
}

// caughtUp has a linearizable read answered.
func (c *serverCall) caughtUp(err error) {
	switch {
	case err != nil:
		c.answer(nil, err)
	case !c.done:
		c.read()
	}
}

// read answers a range, or a transaction that only reads, from the store as it is now.
func (c *serverCall) read() {
	s := c.conn.serving.server
	if s.blocked { // the database is being defragmented
		s.watches.later = append(s.watches.later, c.readNow)
		return
	}
	c.readNow()
}

func (c *serverCall) readNow() {
	s := c.conn.serving.server
	if r, ok := c.request.(*TxnRequest); ok {
		response, err := s.txn(r, true)
		c.answer(response, err)
		return
	}
	response, err := executeRange(s.store, c.request.(*RangeRequest))
	if err == nil {
		response.Header = s.header()
	}
	c.answer(response, err)
}

// write proposes what makes the database grow, unless it is full (quotaKVServer).
func (s *Server) write(call *serverCall, request any, cost int64) {
	if cost > 0 && s.overQuota(cost) {
		s.raiseNoSpace()
		call.answer(nil, ErrNoSpace)
		return
	}
	s.propose(request, call)
}
