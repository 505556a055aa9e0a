package hardware

import "ksim/sim"

// passing is a frame that was sent to a proxy, which sends it on. While nothing is wrong both ways are known when it
// is sent, so that it is one event, at its end. What could stop or delay it at the proxy calls settle first, which
// has every frame that has not come there yet arrive there as any other: the outcome is the same to the nanosecond.
type passing struct {
	delivery *delivery
	timer    sim.Timer
	cause    sim.EventID
	proxy    *Conn    // the end that it comes to first
	at       sim.Time // when it comes there
	before   sim.Time // arrival at the last end before it was sent
}

// passings are those on their way, in the order in which they were sent; those before first are beyond their proxy.
type passings struct {
	list  []passing
	first int
}

func (q *passings) push(p passing, now sim.Time) {
	for q.first < len(q.list) && q.list[q.first].at <= now {
		q.first++
	}
	if 2*q.first >= len(q.list) {
		q.list = q.list[:copy(q.list, q.list[q.first:])]
		q.first = 0
	}
	q.list = append(q.list, p)
}

// passes reports whether what arrives next at an end will go on from there without delay, as far as one can know. What
// was sent before and stops at the end must not be overtaken.
func (n *network) passes(c *Conn) bool {
	next, now := c.next, n.dc.kernel.Now()
	return next != nil && c.staged < now && n.settled < now && !next.closed && !next.peer.closed && c.scope.Alive() &&
		!c.scope.Frozen() && n.clear(next.machine, next.peer.machine)
}

// clear reports whether nothing is wrong on the way from one machine to another.
func (n *network) clear(from, to *Machine) bool {
	return n.cuts == 0 && len(n.faults) == 0 || !n.cut(from, to) && n.fault(from, to) == nil
}

// pass sends a frame through the proxy whose end it comes to at the time of that end's arrival.
func (n *network) pass(proxy *Conn, d *delivery) {
	from := proxy.next
	to, at := from.peer, proxy.arrival
	takes := from.latency
	if !from.local {
		takes = n.disturbed(takes, from.machine, to.machine)
	}
	p := passing{delivery: d, cause: n.dc.kernel.Cause(), proxy: proxy, at: at, before: to.arrival}
	proxy.received = at
	to.arrival = max(to.arrival, at.Add(takes))
	d.to = to
	p.timer = to.scope.AtRun(to.arrival, "packet", d)
	n.passing.push(p, n.dc.kernel.Now())
}

// settle has what is on its way to a proxy stop there.
func (n *network) settle() {
	k := n.dc.kernel
	now, cause := k.Now(), k.Cause()
	n.settled = now
	list := n.passing.list[n.passing.first:]
	for i := len(list) - 1; i >= 0; i-- { // backwards: each takes back what it did to the last end's arrival
		if p := &list[i]; p.at <= now || !p.timer.Stop() {
			p.proxy = nil
		} else {
			p.delivery.to.arrival = p.before
		}
	}
	for i := range list {
		p := &list[i]
		if p.proxy == nil {
			continue
		}
		p.delivery.to, p.proxy.staged = p.proxy, max(p.proxy.staged, p.at)
		k.Because(p.cause)
		p.proxy.scope.AtRun(p.at, "packet", p.delivery)
	}
	k.Because(cause)
	clear(n.passing.list)
	n.passing = passings{list: n.passing.list[:0]}
}
