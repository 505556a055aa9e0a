package hardware

import (
	"time"

	"ksim/sim"
)

// The pings of an HTTP/2 client on a connection on which nothing is wrong are computed, not sent: they would all be
// answered. Such a connection is kept in a list of the network. What could make a ping fail without either end being
// told - power, a frozen machine or process, a fault of the network - calls disturb before it happens; then the last
// byte received is the answer to the last ping before that, and pings are sent from there on.

// kept is the place of a connection among those whose pings are computed.
type kept struct {
	place int           // plus one; 0: its pings are sent
	trip  time.Duration // of a ping and its answer
	cause sim.EventID   // of the timer that it does without
}

// sound returns how long a ping and its answer take, if nothing is wrong on the way, proxies included.
func (c *Conn) sound() (trip time.Duration, ok bool) {
	if c.scope.Frozen() {
		return 0, false
	}
	for end := c; ; end = end.peer.next {
		peer := end.peer
		if end.closed || peer.closed || len(end.held)+len(peer.held) > 0 || peer.scope.Frozen() ||
			!peer.scope.Alive() || !c.net.clear(end.machine, peer.machine) || !c.net.clear(peer.machine, end.machine) {
			return 0, false
		}
		trip += 2 * end.latency
		if peer.next == nil {
			_, serves := peer.receiver.(*serverConn)
			return trip, serves
		}
	}
}

// keep stops sending pings if they would all be answered.
func (cc *clientConn) keep() bool {
	trip, ok := cc.conn.sound()
	if !ok {
		return false
	}
	net := cc.conn.net
	cc.conn.received = max(cc.conn.received, net.dc.kernel.Now().Add(-cc.readIdle)) // a ping that is due goes now
	net.kept = append(net.kept, cc)
	cc.kept = kept{len(net.kept), trip, net.dc.kernel.Cause()}
	cc.pinged = false
	return true
}

// unkeep takes the connection off the list.
func (cc *clientConn) unkeep() {
	if cc.kept.place == 0 {
		return
	}
	net := cc.conn.net
	last := len(net.kept) - 1
	moved := net.kept[last]
	net.kept[cc.kept.place-1] = moved
	moved.kept.place = cc.kept.place
	net.kept[last] = nil
	net.kept = net.kept[:last]
	cc.kept.place = 0
}

// catchUp notes the last byte of the answers to pings that were not sent.
func (cc *clientConn) catchUp() {
	conn := cc.conn
	period := cc.readIdle + cc.kept.trip
	pings := conn.net.dc.kernel.Now().Sub(conn.received) / period
	if pings == 0 {
		return
	}
	conn.received = conn.received.Add(pings * period)
	half := conn.received.Add(-cc.kept.trip / 2)
	for end := conn; end.peer.next != nil; end = end.peer.next {
		end.peer.received = max(end.peer.received, half)
		end.peer.next.received = max(end.peer.next.received, half)
	}
}

// disturb is called before something happens that nobody is told of.
func (n *network) disturb() {
	n.settle()
	k := n.dc.kernel
	cause, list := k.Cause(), n.kept
	n.kept = nil
	for _, cc := range list {
		k.Because(cc.kept.cause)
		cc.catchUp()
		cc.kept.place = 0
		if wait := cc.conn.received.Add(cc.readIdle).Sub(k.Now()); wait > 0 {
			cc.health = cc.conn.scope.AfterRun(wait, "read idle", cc)
		} else { // a ping is on its way: it is sent again
			cc.ping()
		}
	}
	k.Because(cause)
	clear(list)
	n.kept = list[:0]
}

// Received returns when the last message arrived, or when the connection was made. A client's pings count.
func (c *Conn) Received() sim.Time {
	if cc, ok := c.peer.receiver.(*clientConn); ok && cc.kept.place > 0 {
		cc.catchUp()
	}
	return c.received
}
