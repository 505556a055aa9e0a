package hardware

import (
	"errors"
	"time"

	"ksim/sim"
)

// frame is what a Transport and a Server say to each other over a Conn, as HTTP/2 does: many requests and streams on
// one connection.
type frame struct {
	kind    frameKind
	id      uint32
	payload any
	err     error
}

type frameKind uint8

const (
	request   frameKind = iota // from the client
	cancelled                  // from the client: RST_STREAM
	message                    // from the server: one of several
	reply                      // from the server: the last
	ping
	pong
	goAway // from the server: no new requests on this connection
)

// HTTPGet is a request that is, whatever else, a GET of a path: probes and health checks send it to servers of any
// kind.
type HTTPGet interface{ HTTPPath() string }

// HTTPAnswer is an answer with an HTTP status and a body, as servers of any kind give to an HTTPGet.
type HTTPAnswer interface {
	HTTPStatus() (status int, body string)
}

// Server answers requests that arrive at a port.
type Server struct {
	process  *Process
	listener *Listener
	handler  func(*Call)
	conns    []*serverConn
	draining bool
}

type serverConn struct {
	server *Server
	conn   *Conn
	calls  []*Call
}

// Call is one request at the server, until it is answered or given up.
type Call struct {
	Request any

	conn     *serverConn
	id       uint32
	done     bool
	onCancel func()
}

// Serve opens a port and calls handler, in the process's scope, for each request. Errors: ErrAddressInUse.
func (p *Process) Serve(port int, handler func(*Call)) (*Server, error) {
	s := &Server{process: p, handler: handler}
	l, err := p.Listen(port, s.accept)
	if err != nil {
		return nil, err
	}
	s.listener = l
	return s, nil
}

func (s *Server) accept(conn *Conn) {
	sc := &serverConn{server: s, conn: conn}
	s.conns = append(s.conns, sc)
	conn.OnClose(func(error) { sc.end() })
	conn.OnMessage(sc.receive)
	if s.draining {
		conn.Send(&frame{kind: goAway})
	}
}

// Connections returns how many connections are open.
func (s *Server) Connections() int { return len(s.conns) }

// Calls returns how many requests are unanswered.
func (s *Server) Calls() int {
	n := 0
	for _, sc := range s.conns {
		n += len(sc.calls)
	}
	return n
}

// Drain stops accepting connections, and tells clients to send no new request on those that are there (GOAWAY).
// Requests and streams under way go on.
func (s *Server) Drain() {
	if s.draining {
		return
	}
	s.draining = true
	s.listener.Close()
	for _, sc := range s.conns {
		sc.conn.Send(&frame{kind: goAway})
	}
}

// Close stops accepting connections and closes those that are there.
func (s *Server) Close() {
	s.listener.Close()
	for _, sc := range append([]*serverConn(nil), s.conns...) {
		sc.conn.Close()
		sc.end()
	}
}

func (sc *serverConn) receive(msg any) {
	f := msg.(*frame)
	switch f.kind {
	case request:
		call := &Call{Request: f.payload, conn: sc, id: f.id}
		sc.calls = append(sc.calls, call)
		sc.server.handler(call)
	case cancelled:
		if call := sc.take(f.id); call != nil {
			call.abandon()
		}
	case ping:
		sc.conn.Send(&frame{kind: pong})
	}
}

// take removes and returns the unanswered call with that id, nil if there is none.
func (sc *serverConn) take(id uint32) *Call {
	for i, call := range sc.calls {
		if call.id == id {
			sc.calls = append(sc.calls[:i], sc.calls[i+1:]...)
			return call
		}
	}
	return nil
}

func (sc *serverConn) end() {
	for i, other := range sc.server.conns {
		if other == sc {
			sc.server.conns = append(sc.server.conns[:i], sc.server.conns[i+1:]...)
			break
		}
	}
	calls := sc.calls
	sc.calls = nil
	for _, call := range calls {
		call.abandon()
	}
}

func (c *Call) abandon() {
	c.done = true
	if c.onCancel != nil {
		c.onCancel()
	}
}

// Done reports whether the call was answered or given up by the client.
func (c *Call) Done() bool { return c.done }

// OnCancel sets who is told when the client gives the call up or its connection ends before it is answered.
func (c *Call) OnCancel(fn func()) { c.onCancel = fn }

// Remote names the machine that the request came from, or the balancer in between.
func (c *Call) Remote() string { return c.conn.conn.Remote() }

// Reply answers the call and ends it. Answering one that is done does nothing.
func (c *Call) Reply(payload any) { c.answer(&frame{kind: reply, id: c.id, payload: payload}) }

// Fail answers the call with an error and ends it.
func (c *Call) Fail(err error) { c.answer(&frame{kind: reply, id: c.id, err: err}) }

func (c *Call) answer(f *frame) {
	if c.done {
		return
	}
	c.done = true
	c.conn.take(c.id)
	c.conn.conn.Send(f)
}

// Send sends one message of a stream; Reply or Fail ends the stream.
func (c *Call) Send(payload any) {
	if !c.done {
		c.conn.conn.Send(&frame{kind: message, id: c.id, payload: payload})
	}
}

// TransportConfig is how a client treats its connections. Zero values mean the defaults of client-go (apimachinery
// pkg/util/net/http.go, v0.36): dial 30 s, a ping after 30 s without a byte received, 15 s for its answer.
type TransportConfig struct {
	DialTimeout time.Duration
	ReadIdle    time.Duration
	PingTimeout time.Duration
}

// Transport is an HTTP/2 client: it keeps one connection an address, dials when there is none, and gives one up that
// has been silent for ReadIdle + PingTimeout.
type Transport struct {
	process *Process
	config  TransportConfig
	hosts   []*clientHost
}

// NewTransport makes a client for a process.
func NewTransport(p *Process, config TransportConfig) *Transport {
	if config.DialTimeout == 0 {
		config.DialTimeout = 30 * time.Second
	}
	if config.ReadIdle == 0 {
		config.ReadIdle = 30 * time.Second
	}
	if config.PingTimeout == 0 {
		config.PingTimeout = 15 * time.Second
	}
	return &Transport{process: p, config: config}
}

// clientHost is what a Transport keeps for one address.
type clientHost struct {
	transport *Transport
	addr      string
	current   *clientConn   // takes new requests; nil: none
	waiting   []*clientCall // for a connection
}

type clientConn struct {
	host   *clientHost
	conn   *Conn
	lastID uint32
	calls  []*clientCall
	goAway bool
	pinged bool
	health sim.Timer
}

type clientCall struct {
	host    *clientHost
	conn    *clientConn // nil: waiting for one
	id      uint32
	payload any
	on      func(any)
	ended   func(any, error)
	timer   sim.Timer
}

func (t *Transport) host(addr string) *clientHost {
	for _, h := range t.hosts {
		if h.addr == addr {
			return h
		}
	}
	h := &clientHost{transport: t, addr: addr}
	t.hosts = append(t.hosts, h)
	return h
}

// Start sends a request; done is called once, in the process's scope, with the answer, the server's error, or what
// the connection met: a dial error, ErrReset, ErrClosed, ErrConnectionLost, or sim.ErrTimeout after within (Forever
// or 0: no limit). Nothing is called after cancel.
func (t *Transport) Start(addr string, req any, within time.Duration, done func(resp any, err error)) (cancel func()) {
	call := t.begin(addr, req, nil, done)
	if within > 0 {
		call.timer = t.process.scope.After(within, "deadline", func() {
			call.giveUp()
			done(nil, sim.ErrTimeout)
		})
	}
	return call.giveUp
}

// Do is Start for processes.
func (t *Transport) Do(p *sim.Proc, addr string, req any, within time.Duration) (any, error) {
	f := sim.NewFuture[any]()
	cancel := t.Start(addr, req, within, f.Resolve)
	resp, err := f.Await(p, sim.Forever)
	cancel()
	return resp, err
}

// Stream opens a stream: on is called for each message, ended once: with nil when the server ended it regularly.
func (t *Transport) Stream(addr string, req any, on func(msg any), ended func(err error)) (cancel func()) {
	call := t.begin(addr, req, on, func(_ any, err error) { ended(err) })
	return call.giveUp
}

// Close closes all connections; what is under way ends with ErrClosed.
func (t *Transport) Close() {
	for _, h := range t.hosts {
		if h.current != nil {
			h.current.conn.Close()
			h.current.end(ErrClosed)
		}
	}
}

// Connected returns since when there is a connection to addr, for observers; ok is false when there is none.
func (t *Transport) Connected(addr string) bool { return t.host(addr).current != nil }

func (t *Transport) begin(addr string, req any, on func(any), ended func(any, error)) *clientCall {
	h := t.host(addr)
	call := &clientCall{host: h, payload: req, on: on, ended: ended}
	if h.current != nil {
		h.current.send(call)
	} else {
		h.waiting = append(h.waiting, call)
		h.dial(call)
	}
	return call
}

// dial opens a connection because call needs one. Each request that finds none dials, as Go's transport does; the first
// dial that gets through serves all who wait, and a dial's failure fails only the request that caused it.
func (h *clientHost) dial(call *clientCall) {
	t := h.transport
	t.process.Dial(h.addr, t.config.DialTimeout, func(conn *Conn, err error) {
		switch {
		case err != nil:
			if h.stopWaiting(call) {
				call.finish(nil, err)
			}
		case h.current != nil:
			conn.Close()
		default:
			h.adopt(conn)
		}
	})
}

func (h *clientHost) stopWaiting(call *clientCall) bool {
	for i, other := range h.waiting {
		if other == call {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (h *clientHost) adopt(conn *Conn) {
	cc := &clientConn{host: h, conn: conn}
	h.current = cc
	conn.OnClose(func(err error) { cc.end(err) })
	conn.OnMessage(cc.receive)
	cc.health = h.transport.process.scope.AfterRun(h.transport.config.ReadIdle, "read idle", cc)
	waiting := h.waiting
	h.waiting = nil
	for _, call := range waiting {
		cc.send(call)
	}
}

func (cc *clientConn) send(call *clientCall) {
	cc.lastID++
	call.conn, call.id = cc, cc.lastID
	cc.calls = append(cc.calls, call)
	cc.conn.Send(&frame{kind: request, id: call.id, payload: call.payload})
	call.payload = nil
}

func (cc *clientConn) receive(msg any) {
	f := msg.(*frame)
	switch f.kind {
	case message:
		for _, call := range cc.calls {
			if call.id == f.id {
				call.on(f.payload)
				return
			}
		}
	case reply:
		if call := cc.take(f.id); call != nil {
			call.finish(f.payload, f.err)
		}
		if cc.goAway && len(cc.calls) == 0 {
			cc.conn.Close()
			cc.health.Stop()
		}
	case goAway:
		cc.goAway = true
		if cc.host.current == cc {
			cc.host.current = nil
		}
	}
}

// Run is the health check: it runs ReadIdle after the last byte, however many came before (so it costs nothing while
// the connection is in use), pings, and gives the connection up when no byte follows within PingTimeout.
func (cc *clientConn) Run() {
	t := cc.host.transport
	silent := t.process.scope.Now().Sub(cc.conn.Received())
	limit := t.config.ReadIdle
	if cc.pinged && silent >= t.config.ReadIdle {
		limit += t.config.PingTimeout
	} else {
		cc.pinged = false
	}
	switch {
	case silent < limit:
		cc.health = t.process.scope.AfterRun(limit-silent, "read idle", cc)
	case cc.pinged:
		cc.conn.Close()
		cc.end(ErrConnectionLost)
	default:
		cc.pinged = true
		cc.conn.Send(&frame{kind: ping})
		cc.health = t.process.scope.AfterRun(t.config.PingTimeout, "ping", cc)
	}
}

// end fails everything on the connection.
func (cc *clientConn) end(err error) {
	if cc.host.current == cc {
		cc.host.current = nil
	}
	cc.health.Stop()
	calls := cc.calls
	cc.calls = nil
	for _, call := range calls {
		call.finish(nil, err)
	}
}

func (cc *clientConn) take(id uint32) *clientCall {
	for i, call := range cc.calls {
		if call.id == id {
			cc.calls = append(cc.calls[:i], cc.calls[i+1:]...)
			return call
		}
	}
	return nil
}

func (call *clientCall) finish(payload any, err error) {
	call.timer.Stop()
	if ended := call.ended; ended != nil {
		call.ended, call.on = nil, nil
		ended(payload, err)
	}
}

// giveUp cancels the call: nothing of it is called any more, and the server is told.
func (call *clientCall) giveUp() {
	if call.ended == nil {
		return
	}
	call.ended, call.on = nil, nil
	call.timer.Stop()
	if call.conn == nil {
		call.host.stopWaiting(call)
		return
	}
	if call.conn.take(call.id) != nil {
		call.conn.conn.Send(&frame{kind: cancelled, id: call.id})
	}
}

// IsConnectionError reports whether err says that no answer came, so that it is unknown whether the server has acted.
func IsConnectionError(err error) bool {
	for _, target := range [...]error{ErrRefused, ErrReset, ErrDialTimeout, ErrNoRoute, ErrClosed,
		ErrConnectionLost, sim.ErrTimeout} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
