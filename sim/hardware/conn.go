package hardware

import (
	"errors"
	"fmt"
	"time"

	"ksim/sim"
)

// What a connection can meet. Texts are those that Go's net package gives on Linux.
var (
	ErrRefused        = errors.New("connect: connection refused")
	ErrUnreachable    = errors.New("connect: no route to host")
	ErrReset          = errors.New("read: connection reset by peer")
	ErrDialTimeout    = errors.New("i/o timeout")
	ErrNoRoute        = errors.New("no such host")
	ErrClosed         = errors.New("EOF")
	ErrAddressInUse   = errors.New("bind: address already in use")
	ErrConnectionLost = errors.New("http2: client connection lost")
)

// Listener accepts connections on a port of its process's machine.
type Listener struct {
	process *Process
	port    int
	accept  func(*Conn)
}

// Listen opens a port; accept is called in the process's scope for each connection. Errors: ErrAddressInUse.
func (p *Process) Listen(port int, accept func(*Conn)) (*Listener, error) {
	if !p.alive {
		return nil, ErrClosed
	}
	if p.machine.listeners[port] != nil {
		return nil, fmt.Errorf("listen tcp :%d: %w", port, ErrAddressInUse)
	}
	l := &Listener{p, port, accept}
	p.machine.listeners[port] = l
	return l, nil
}

// Close stops listening; connections that were accepted stay.
func (l *Listener) Close() {
	if l.process.machine.listeners[l.port] == l {
		delete(l.process.machine.listeners, l.port)
	}
}

// Conn is one end of a connection: reliable and ordered. Messages are shared, not copied: a sender gives them away.
type Conn struct {
	// What every packet touches comes first: in a large cluster a connection's memory is in no cache when it comes.
	peer     *Conn
	net      *network
	scope    *sim.Scope // of owner
	receiver receiver   // of messages; nil: nobody yet
	next     *Conn      // what it gets is sent on to; nil: it is no proxy's
	arrival  sim.Time   // of the last message on its way to this end: later ones do not overtake it
	staged   sim.Time   // of the last of them that stops at this end
	received sim.Time
	latency  time.Duration // to the peer, without jitter and faults
	closed   bool
	local    bool // the peer is on the same machine

	owner   *Sockets
	machine *Machine
	boot    int // of the machine that this end lives on
	remote  string
	onClose func(error)
	early   []frame // came before there was a receiver
	err     error
	held    []frame
}

// frame is what travels on a connection: what a Transport and a Server say to each other, as HTTP/2 does with many
// requests and streams on one connection; any other message; or the end. It travels by value, so a packet costs no
// memory of its own.
type frame struct {
	kind    frameKind
	id      uint32
	payload any
	err     error
}

type frameKind uint8

const (
	plain     frameKind = iota // any message
	fin                        // the end that sent it is closed
	reset                      // it was cut off
	request                    // from the client
	cancelled                  // from the client: RST_STREAM
	message                    // from the server: one of several
	reply                      // from the server: the last
	ping
	pong
	goAway // from the server: no new requests on this connection
)

// delivery is a packet on its way. It is recycled.
type delivery struct {
	net   *network
	to    *Conn
	frame frame
	next  *delivery
}

// connect makes the two ends of a connection.
func connect(client, server *Sockets, addr string) (local, remote *Conn) {
	net := &client.machine.dc.net
	now := net.dc.kernel.Now()
	latency := net.latency(client.machine, server.machine)
	ends := new([2]Conn) // side by side: a packet touches both
	local, remote = &ends[0], &ends[1]
	*local = Conn{owner: client, machine: client.machine, scope: client.scope, boot: client.machine.boots,
		remote: addr, received: now, net: net, latency: latency}
	*remote = Conn{owner: server, machine: server.machine, scope: server.scope, boot: server.machine.boots,
		remote: client.machine.Name, received: now, net: net, latency: latency}
	local.peer, remote.peer = remote, local
	local.local = client.machine == server.machine
	remote.local = local.local
	client.ends = append(client.ends, local)
	server.ends = append(server.ends, remote)
	return local, remote
}

// Remote names the other end: the dialled address, or the machine that dialled.
func (c *Conn) Remote() string { return c.remote }

// RemoteIP returns the address of the machine at the other end.
func (c *Conn) RemoteIP() string { return c.peer.machine.ip }

// Closed reports whether this end is closed.
func (c *Conn) Closed() bool { return c.closed }

// receiver gets what arrives at an end of a connection.
type receiver interface{ receive(in frame) }

type receiverFunc func(any)

func (fn receiverFunc) receive(in frame) { fn(in.payload) }

// forwarder is an end that sends on what it gets.
type forwarder Conn

func (f *forwarder) receive(in frame) { (*Conn)(f).send(in) }

// deliverTo sets who gets what arrives; what came before is given to it at once.
func (c *Conn) deliverTo(r receiver) {
	c.receiver = r
	early := c.early
	c.early = nil
	for _, in := range early {
		r.receive(in)
	}
}

// OnMessage sets who gets what arrives; what came before is given to fn at once.
func (c *Conn) OnMessage(fn func(any)) { c.deliverTo(receiverFunc(fn)) }

// Forward has what arrives, and what came before, sent on to another connection.
func (c *Conn) Forward(to *Conn) {
	c.next = to
	c.deliverTo((*forwarder)(to))
}

// OnClose sets who is told that the connection has ended, unless this end closed it: ErrClosed or ErrReset. If it has
// ended already fn is called at once.
func (c *Conn) OnClose(fn func(error)) {
	c.onClose = fn
	if c.closed && c.err != nil {
		c.scope.After(0, "closed", func() { fn(c.err) })
	}
}

// Send sends a message. While the path is cut it is held, and flows when the cut heals. Sending on a closed end does
// nothing.
func (c *Conn) Send(msg any) { c.send(frame{payload: msg}) }

func (c *Conn) send(out frame) {
	if !c.closed {
		c.transmit(out)
	}
}

// Close ends the connection from this side: what was sent still arrives, then the peer sees ErrClosed.
func (c *Conn) Close() {
	if c.closed {
		return
	}
	c.shut()
	c.transmit(frame{kind: fin})
	c.detach()
}

// Abort ends the connection with a reset: the peer sees ErrReset one latency later.
func (c *Conn) Abort() {
	if c.closed {
		return
	}
	c.shut()
	c.transmit(frame{kind: reset})
	c.detach()
}

// shut marks the end closed. What is on its way through a proxy at either end of the connection may not get there.
func (c *Conn) shut() {
	if c.next != nil || c.peer.next != nil {
		c.net.settle()
	}
	if cc, ok := c.receiver.(*clientConn); ok {
		cc.unkeep()
	}
	c.closed = true
}

// abandon is what becomes of the end of an owner that has ended: its kernel resets it, if the machine still runs.
func (c *Conn) abandon() {
	if c.closed {
		return
	}
	c.shut()
	if c.machine.up && c.machine.boots == c.boot {
		c.transmit(frame{kind: reset})
	}
}

// transmit puts a packet on the wire.
func (c *Conn) transmit(out frame) {
	net, peer := c.net, c.peer
	if net.cuts > 0 && net.cut(c.machine, peer.machine) {
		if c.held == nil {
			net.holding = append(net.holding, c)
		}
		c.held = append(c.held, out)
		return
	}
	if peer.closed && out.kind != fin && out.kind != reset {
		c.meetStranger()
		return
	}
	takes := c.latency
	if !c.local {
		takes = net.disturbed(takes, c.machine, peer.machine)
	}
	peer.arrival = max(peer.arrival, net.dc.kernel.Now().Add(takes))
	d := net.free
	if d == nil {
		d = &delivery{net: net}
	} else {
		net.free = d.next
	}
	d.frame = out
	if peer.next != nil && out.kind != fin && out.kind != reset && net.passes(peer) {
		net.pass(peer, d)
		return
	}
	d.to, peer.staged = peer, peer.arrival
	peer.scope.AtRun(peer.arrival, "packet", d)
}

// meetStranger is what a packet meets whose peer end is gone: a machine that is up answers with a reset, one that is
// off is silent.
func (c *Conn) meetStranger() {
	net, to := &c.machine.dc.net, c.peer.machine
	if !to.answers() || net.cut(to, c.machine) {
		return
	}
	c.scope.After(net.delay(c.machine, to)+net.delay(to, c.machine), "reset", func() { c.fail(ErrReset) })
}

// Run delivers the packet.
func (d *delivery) Run() {
	c, in, net := d.to, d.frame, d.net
	d.frame.payload = nil
	d.next, net.free = net.free, d
	if c.closed {
		return
	}
	switch in.kind {
	case fin:
		c.fail(ErrClosed)
	case reset:
		c.fail(ErrReset)
	default:
		c.received = net.dc.kernel.Now()
		if c.receiver == nil {
			c.early = append(c.early, in)
			return
		}
		c.receiver.receive(in)
	}
}

// fail ends this end because of what came from outside.
func (c *Conn) fail(err error) {
	if c.closed {
		return
	}
	c.shut()
	c.err = err
	c.detach()
	if c.onClose != nil {
		c.onClose(err)
	}
}

// detach takes the end out of its owner's list.
func (c *Conn) detach() {
	ends := c.owner.ends
	for i, other := range ends {
		if other == c {
			last := len(ends) - 1
			ends[i] = ends[last]
			ends[last] = nil
			c.owner.ends = ends[:last]
			return
		}
	}
}
