package hardware

import (
	"errors"
	"time"

	"ksim/sim"
)

// TransportConfig is how a client treats its connections. Zero values mean the defaults of client-go (apimachinery
// pkg/util/net/http.go, v0.36): dial 30 s, a ping after 30 s without a byte received, 15 s for its answer.
type TransportConfig struct {
	DialTimeout time.Duration
	ReadIdle    time.Duration
	PingTimeout time.Duration
	// Routed, if set, is told of each connection where its packets go, once translated: to nil if nowhere. It is for
	// observers, as a look into the kernel's connection tracking.
	Routed func(to *Machine)
}

// Transport is an HTTP/2 client: it keeps one connection an address, dials when there is none, and gives one up that
// has been silent for ReadIdle + PingTimeout.
type Transport struct {
	process *Process
	config  TransportConfig
	first   clientHost    // of the only address, for most
	others  []*clientHost // further ones
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
	current   *clientConn // takes new requests; nil: none
	waiting   []*Exchange // for a connection
}

type clientConn struct {
	host   *clientHost
	conn   *Conn
	lastID uint32
	calls  open[Exchange]
	goAway bool
	pinged bool
	health sim.Timer // of the next ping, unless they are computed
	kept   kept

	readIdle, pingTimeout time.Duration // the transport's
}

// Caller is told what becomes of a request: Message for each message of a stream, Ended once with what Start describes.
type Caller interface {
	Message(msg any)
	Ended(resp any, err error)
}

// answered is a function as a Caller that has no stream.
type answered func(any, error)

func (fn answered) Message(any) {}

func (fn answered) Ended(resp any, err error) { fn(resp, err) }

// streaming is two functions as a Caller.
type streaming struct {
	on    func(any)
	ended func(error)
}

func (s *streaming) Message(msg any) { s.on(msg) }

func (s *streaming) Ended(_ any, err error) { s.ended(err) }

// Exchange is a request or stream under way at the client. Its deadline runs the exchange itself.
type Exchange struct {
	host    *clientHost
	conn    *clientConn // nil: waiting for one
	id      uint32
	payload any    // until it is sent
	caller  Caller // nil: ended, nothing is called any more
	timer   sim.Timer
}

func (t *Transport) host(addr string) *clientHost {
	if t.first.addr == addr {
		return &t.first
	}
	for _, h := range t.others {
		if h.addr == addr {
			return h
		}
	}
	h := &t.first
	if h.transport != nil {
		h = &clientHost{}
		t.others = append(t.others, h)
	}
	h.transport, h.addr = t, addr
	return h
}

// Begin sends a request for whose answer there is no deadline. The caller is called in the process's scope, not after
// Cancel.
func (t *Transport) Begin(addr string, req any, caller Caller) *Exchange {
	h := t.host(addr)
	x := &Exchange{host: h, payload: req, caller: caller}
	if h.current != nil {
		h.current.send(x)
	} else {
		h.waiting = append(h.waiting, x)
		h.dial(x)
	}
	return x
}

// Start sends a request; done is called once, in the process's scope, with the answer, the server's error, or what
// the connection met: a dial error, ErrReset, ErrClosed, ErrConnectionLost, or sim.ErrTimeout after within (Forever
// or 0: no limit).
func (t *Transport) Start(addr string, req any, within time.Duration, done func(resp any, err error)) *Exchange {
	x := t.Begin(addr, req, answered(done))
	if within > 0 {
		x.timer = t.process.scope.AfterRun(within, "deadline", x)
	}
	return x
}

// Do is Start for processes.
func (t *Transport) Do(p *sim.Proc, addr string, req any, within time.Duration) (any, error) {
	f := sim.NewFuture[any]()
	x := t.Start(addr, req, within, f.Resolve)
	resp, err := f.Await(p, sim.Forever)
	x.Cancel()
	return resp, err
}

// Stream opens a stream: on is called for each message, ended once: with nil when the server ended it regularly.
func (t *Transport) Stream(addr string, req any, on func(msg any), ended func(err error)) *Exchange {
	return t.Begin(addr, req, &streaming{on, ended})
}

// Close closes all connections; what is under way ends with ErrClosed.
func (t *Transport) Close() {
	t.first.close()
	for _, h := range t.others {
		h.close()
	}
}

func (h *clientHost) close() {
	if cc := h.current; cc != nil {
		cc.conn.Close()
		cc.end(ErrClosed)
	}
}

// Connected returns since when there is a connection to addr, for observers; ok is false when there is none.
func (t *Transport) Connected(addr string) bool { return t.host(addr).current != nil }

// dial opens a connection because call needs one. Each request that finds none dials, as Go's transport does; the first
// dial that gets through serves all who wait, and a dial's failure fails only the request that caused it.
func (h *clientHost) dial(call *Exchange) {
	t := h.transport
	t.process.dial(h.addr, t.config.DialTimeout, t.config.Routed, func(conn *Conn, err error) {
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

func (h *clientHost) stopWaiting(call *Exchange) bool {
	for i, other := range h.waiting {
		if other == call {
			h.waiting = append(h.waiting[:i], h.waiting[i+1:]...)
			return true
		}
	}
	return false
}

func (h *clientHost) adopt(conn *Conn) {
	config := &h.transport.config
	cc := &clientConn{host: h, conn: conn, readIdle: config.ReadIdle, pingTimeout: config.PingTimeout}
	h.current = cc
	conn.OnClose(func(err error) { cc.end(err) })
	conn.deliverTo(cc)
	cc.health = conn.scope.AfterRun(cc.readIdle, "read idle", cc)
	waiting := h.waiting
	h.waiting = nil
	for _, call := range waiting {
		cc.send(call)
	}
}

func (cc *clientConn) send(call *Exchange) {
	cc.lastID++
	call.conn, call.id = cc, cc.lastID
	cc.calls.add(call.id, call)
	cc.conn.send(frame{kind: request, id: call.id, payload: call.payload})
	call.payload = nil
}

func (cc *clientConn) receive(f frame) {
	switch f.kind {
	case message:
		if i := cc.calls.find(f.id); i >= 0 {
			cc.calls[i].of.caller.Message(f.payload)
		}
	case reply:
		if call := cc.calls.take(f.id); call != nil {
			call.finish(f.payload, f.err)
		}
		if cc.goAway && len(cc.calls) == 0 {
			cc.conn.Close()
			cc.unwatch()
		}
	case pong:
		cc.pinged = false
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
	conn := cc.conn
	silent := conn.net.dc.kernel.Now().Sub(conn.received)
	limit := cc.readIdle
	if cc.pinged && silent >= limit {
		limit += cc.pingTimeout
	} else {
		cc.pinged = false
	}
	switch {
	case !cc.pinged && cc.keep():
	case silent < limit:
		cc.health = conn.scope.AfterRun(limit-silent, "read idle", cc)
	case cc.pinged:
		cc.conn.Close()
		cc.end(ErrConnectionLost)
	default:
		cc.ping()
	}
}

func (cc *clientConn) ping() {
	cc.pinged = true
	cc.conn.send(frame{kind: ping})
	cc.health = cc.conn.scope.AfterRun(cc.pingTimeout, "ping", cc)
}

// unwatch ends the health check.
func (cc *clientConn) unwatch() {
	cc.health.Stop()
	cc.unkeep()
}

// end fails everything on the connection.
func (cc *clientConn) end(err error) {
	if cc.host.current == cc {
		cc.host.current = nil
	}
	cc.unwatch()
	calls := cc.calls
	cc.calls = nil
	for _, call := range calls {
		call.of.finish(nil, err)
	}
}

func (x *Exchange) finish(payload any, err error) {
	x.timer.Stop()
	if caller := x.caller; caller != nil {
		x.caller = nil
		caller.Ended(payload, err)
	}
}

// Run is the deadline.
func (x *Exchange) Run() {
	caller := x.caller
	x.Cancel()
	caller.Ended(nil, sim.ErrTimeout)
}

// Cancel gives the request up: its caller is not called any more, and the server is told.
func (x *Exchange) Cancel() {
	if x.caller == nil {
		return
	}
	x.caller = nil
	x.timer.Stop()
	if x.conn == nil {
		x.host.stopWaiting(x)
		return
	}
	if x.conn.calls.take(x.id) != nil {
		x.conn.conn.send(frame{kind: cancelled, id: x.id})
	}
}

// IsConnectionError reports whether err says that no answer came, so that it is unknown whether the server has acted.
func IsConnectionError(err error) bool {
	for _, target := range [...]error{ErrRefused, ErrUnreachable, ErrReset, ErrDialTimeout, ErrNoRoute,
		ErrClosed, ErrConnectionLost, sim.ErrTimeout} {
		if errors.Is(err, target) {
			return true
		}
	}
	return false
}
