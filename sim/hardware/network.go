package hardware

import (
	"time"

	"ksim/sim"
)

// network is the wires: latency, loss, and the faults between pairs of machines.
type network struct {
	dc      *Datacenter
	config  NetworkConfig
	random  *sim.Stream
	faults  map[pair]*linkFault // empty while nothing is wrong
	cuts    int                 // isolated machines and cut pairs; 0: nothing can be held
	holding []*Conn             // ends that have messages held by a cut, in order
	free    *delivery
	passing passings
	settled sim.Time      // when something last happened that could stop what passes a proxy
	kept    []*clientConn // whose pings are computed
}

type pair struct{ from, to int }

// linkFault is what is wrong with one direction between two machines.
type linkFault struct {
	cut            int // how many partitions cut it
	reject         int // how many of them answer with resets
	slow           time.Duration
	slowJitter     time.Duration
	lossPerMillion int64
}

// loopback is the one-way time between two processes of one machine. chosen.
const loopback = 20 * time.Microsecond

// retransmit is TCP's least retransmission time-out (Linux TCP_RTO_MIN); each further loss of a message doubles it.
const retransmit = 200 * time.Millisecond

func newNetwork(d *Datacenter, config NetworkConfig) network {
	return network{dc: d, config: config, random: d.kernel.Rand("network"), faults: map[pair]*linkFault{}}
}

func (n *network) fault(from, to *Machine) *linkFault {
	if len(n.faults) == 0 {
		return nil
	}
	return n.faults[pair{from.index, to.index}]
}

// cut reports whether nothing that from sends reaches to.
func (n *network) cut(from, to *Machine) bool {
	if n.cuts == 0 || from == to {
		return false
	}
	if from.isolated || to.isolated {
		return true
	}
	f := n.fault(from, to)
	return f != nil && f.cut > 0
}

// rejects reports whether a firewall between the two answers with resets.
func (n *network) rejects(from, to *Machine) bool {
	f := n.fault(from, to)
	return f != nil && f.reject > 0
}

// latency returns what a message takes at least between two machines while nothing is wrong.
func (n *network) latency(from, to *Machine) time.Duration {
	if from == to {
		return loopback
	}
	if n.config.BetweenZones > 0 && from.Zone != to.Zone {
		return n.config.BetweenZones
	}
	return n.config.Latency
}

// delay draws how long one message takes, retransmissions included.
func (n *network) delay(from, to *Machine) time.Duration {
	if from == to {
		return loopback
	}
	return n.disturbed(n.latency(from, to), from, to)
}

// disturbed adds to the latency between two machines what jitter, faults and losses cost one message.
func (n *network) disturbed(d time.Duration, from, to *Machine) time.Duration {
	if n.config.Jitter > 0 {
		d += time.Duration(n.random.Int64N(int64(n.config.Jitter)))
	}
	loss := n.config.LossPerMillion
	if f := n.fault(from, to); f != nil {
		d += f.slow
		if f.slowJitter > 0 {
			d += time.Duration(n.random.Int64N(int64(f.slowJitter)))
		}
		loss = max(loss, f.lossPerMillion)
	}
	for rto := retransmit; loss > 0 && rto < time.Minute && n.random.Chance(loss); rto *= 2 {
		d += rto
	}
	return d
}

// Reaches reports, to observers, whether what one machine sends arrives at another now.
func (d *Datacenter) Reaches(from, to *Machine) bool {
	return from.answers() && to.answers() && !d.net.cut(from, to)
}

// faultOf returns the fault record of a direction, making it if needed.
func (n *network) faultOf(from, to *Machine) *linkFault {
	key := pair{from.index, to.index}
	f := n.faults[key]
	if f == nil {
		f = &linkFault{}
		n.faults[key] = f
	}
	return f
}

// Isolate cuts a machine from every other one.
func (d *Datacenter) Isolate(m *Machine) {
	if !m.isolated {
		d.net.disturb()
		m.isolated = true
		d.net.cuts++
	}
}

// Isolated reports whether the machine is isolated.
func (m *Machine) Isolated() bool { return m.isolated }

// Cut loses everything that from sends to to, until Heal. With reject connections are reset and refused instead.
func (d *Datacenter) Cut(from, to *Machine, reject bool) {
	if from == to {
		return
	}
	d.net.disturb()
	f := d.net.faultOf(from, to)
	f.cut++
	d.net.cuts++
	if reject {
		f.reject++
		d.resetBetween(from, to)
	}
}

// SlowLink adds latency, and jitter up to that much, to what from sends to to.
func (d *Datacenter) SlowLink(from, to *Machine, latency, jitter time.Duration) {
	d.net.disturb()
	f := d.net.faultOf(from, to)
	f.slow, f.slowJitter = latency, jitter
}

// DropLink loses that share of the messages that from sends to to; TCP sends them again, later.
func (d *Datacenter) DropLink(from, to *Machine, perMillion int64) {
	d.net.disturb()
	d.net.faultOf(from, to).lossPerMillion = perMillion
}

// Heal ends the network faults that touch one of the machines, all if none is named. What was held flows again.
func (d *Datacenter) Heal(machines ...*Machine) {
	d.net.disturb()
	touched := make([]bool, len(d.machines))
	for _, m := range machines {
		touched[m.index] = true
	}
	for _, m := range d.machines {
		if m.isolated && (len(machines) == 0 || touched[m.index]) {
			m.isolated = false
			d.net.cuts--
		}
	}
	for key, f := range d.net.faults { // any order: each pair by itself
		if len(machines) == 0 || touched[key.from] || touched[key.to] {
			d.net.cuts -= f.cut
			delete(d.net.faults, key)
		}
	}
	d.net.flush()
}

// flush sends what was held and can flow again, in the order in which connections began to be held.
func (n *network) flush() {
	holding := n.holding
	n.holding = nil
	for _, c := range holding {
		held := c.held
		c.held = nil
		for _, h := range held {
			c.transmit(h)
		}
	}
}

// resetBetween resets every connection between two machines, as a rejecting firewall does with the next packet.
func (d *Datacenter) resetBetween(a, b *Machine) {
	for _, p := range a.processes {
		p.sockets.resetTo(b)
	}
	for _, s := range a.sockets {
		s.resetTo(b)
	}
}
