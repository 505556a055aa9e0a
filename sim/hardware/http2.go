package hardware

import "slices"

// open holds what is under way on a connection, each with its id beside it: the watches of a connection are many, and
// an answer to the latest request should not have to look into them.
type open[T any] []numbered[T]

type numbered[T any] struct {
	id uint32
	of *T
}

func (o *open[T]) add(id uint32, of *T) { *o = append(*o, numbered[T]{id, of}) }

func (o open[T]) find(id uint32) int {
	for i := len(o) - 1; i >= 0; i-- {
		if o[i].id == id {
			return i
		}
	}
	return -1
}

// take removes and returns the one with that id, nil if there is none.
func (o *open[T]) take(id uint32) *T {
	i := o.find(id)
	if i < 0 {
		return nil
	}
	of := (*o)[i].of
	*o = slices.Delete(*o, i, i+1)
	return of
}

// HTTPGet is a request that is, whatever else, a GET of a path: probes and health checks send it to servers of any
// kind.
type HTTPGet interface{ HTTPPath() string }

// HTTPAnswer is an answer with an HTTP status and a body, as servers of any kind give to an HTTPGet.
type HTTPAnswer interface {
	HTTPStatus() (status int, body string)
}

// Server answers requests that arrive at a port.
type Server struct {
	listener *Listener // nil: connections are handed to Accept
	handler  func(*Call)
	conns    []*serverConn
	draining bool
}

type serverConn struct {
	server *Server
	conn   *Conn
	calls  open[Call]
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
	s := NewServer(handler)
	l, err := p.Listen(port, s.Accept)
	if err != nil {
		return nil, err
	}
	s.listener = l
	return s, nil
}

// NewServer makes a server that listens nowhere itself: it has the connections that are given to Accept.
func NewServer(handler func(*Call)) *Server { return &Server{handler: handler} }

// Accept takes a connection on.
func (s *Server) Accept(conn *Conn) {
	sc := &serverConn{server: s, conn: conn}
	s.conns = append(s.conns, sc)
	conn.OnClose(func(error) { sc.end() })
	conn.deliverTo(sc)
	if s.draining {
		conn.send(frame{kind: goAway})
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
	s.stopListening()
	for _, sc := range s.conns {
		sc.conn.send(frame{kind: goAway})
	}
}

// Close stops accepting connections and closes those that are there.
func (s *Server) Close() {
	s.stopListening()
	for _, sc := range append([]*serverConn(nil), s.conns...) {
		sc.conn.Close()
		sc.end()
	}
}

func (s *Server) stopListening() {
	if s.listener != nil {
		s.listener.Close()
	}
}

func (sc *serverConn) receive(f frame) {
	switch f.kind {
	case request:
		call := &Call{Request: f.payload, conn: sc, id: f.id}
		sc.calls.add(f.id, call)
		sc.server.handler(call)
	case cancelled:
		if call := sc.calls.take(f.id); call != nil {
			call.abandon()
		}
	case ping:
		sc.conn.send(frame{kind: pong})
	}
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
		call.of.abandon()
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
func (c *Call) Reply(payload any) { c.end(payload, nil) }

// Fail answers the call with an error and ends it.
func (c *Call) Fail(err error) { c.end(nil, err) }

func (c *Call) end(payload any, err error) {
	if c.done {
		return
	}
	c.done = true
	c.conn.calls.take(c.id)
	c.conn.conn.send(frame{kind: reply, id: c.id, payload: payload, err: err})
}

// Send sends one message of a stream; Reply or Fail ends the stream.
func (c *Call) Send(payload any) {
	if !c.done {
		c.conn.conn.send(frame{kind: message, id: c.id, payload: payload})
	}
}
