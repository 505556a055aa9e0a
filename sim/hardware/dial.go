package hardware

import (
	"fmt"
	"net/netip"
	"time"

	"ksim/sim"
)

// Dial connects to "machine:port"; done is called once in the process's scope. A dial takes a round trip. It is refused
// when the machine is up and nobody listens; in silence the SYN is repeated after 1, 1, 1, 1, 1, 2, 4, 8 ... s
// (Linux 6.5 and later: net.ipv4.tcp_syn_linear_timeouts 4) until within has passed: ErrDialTimeout. So is it when
// nobody has the address, unless that lies behind a machine (Route): ErrUnreachable.
func (p *Process) Dial(addr string, within time.Duration, done func(*Conn, error)) (cancel func()) {
	return p.dial(addr, within, nil, done)
}

func (p *Process) dial(addr string, within time.Duration, routed func(*Machine), done func(*Conn, error)) func() {
	d := &dialing{process: p, done: done, addr: addr}
	err := d.find()
	if routed != nil {
		routed(d.to)
	}
	if err != nil {
		p.scope.After(loopback, "dial", func() { d.finish(nil, err) })
		return d.cancel
	}
	if within >= 0 {
		d.deadline = p.scope.After(within, "dial time-out", func() { d.finish(nil, d.error(ErrDialTimeout)) })
	}
	d.syn()
	return d.cancel
}

type dialing struct {
	process  *Process
	addr     string // as dialled
	ip       string // of it
	port     int
	to       *Machine // where its packets go; nil: nowhere
	behind   string   // the address behind that machine; "": its own
	toPort   int
	attempts int
	deadline sim.Timer
	retry    sim.Timer
	done     func(*Conn, error)
}

// find sets where the packets go: the address is looked up, and translated if nobody has it. The translation stays for
// all SYNs of the connection.
func (d *dialing) find() error {
	m := d.process.machine
	host, port, err := SplitAddress(d.addr)
	if err != nil {
		return fmt.Errorf("dial tcp: %w", err)
	}
	d.port, d.toPort = port, port
	if host == "127.0.0.1" || host == "localhost" || host == "::1" {
		host = m.ip
	}
	if d.to = m.dc.byName[host]; d.to != nil {
		d.ip = d.to.ip
		return nil
	}
	if d.ip = host; m.translate != nil {
		to, verdict := m.translate(host, port)
		switch verdict {
		case Rejected:
			return d.error(ErrRefused)
		case Dropped:
			return nil
		case Translated:
			host, d.toPort, _ = SplitAddress(to) // cannot fail: a rule's
			if d.to = m.dc.byName[host]; d.to != nil {
				return nil
			}
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return fmt.Errorf("dial tcp: lookup %s: %w", host, ErrNoRoute)
	}
	if d.to = m.dc.routeTo(ip); d.to != nil {
		d.behind = host
	}
	return nil
}

func (d *dialing) error(err error) error {
	return fmt.Errorf("dial tcp %s:%d: %w", d.ip, d.port, err)
}

func (d *dialing) cancel() {
	d.done = nil
	d.deadline.Stop()
	d.retry.Stop()
}

func (d *dialing) finish(c *Conn, err error) {
	done := d.done
	if done == nil {
		return
	}
	d.cancel()
	done(c, err)
}

// syn sends one SYN. The network carries it, so neither end's freezing or death holds it up.
func (d *dialing) syn() {
	p := d.process
	net, from, to := &p.machine.dc.net, p.machine, d.to
	if to == nil {
		return
	}
	wait := time.Second // linear time-outs, then doubling
	if d.attempts >= 5 {
		wait = time.Second << min(d.attempts-4, 7)
	}
	d.attempts++
	d.retry = p.scope.After(wait, "SYN", d.syn)
	if net.rejects(from, to) || net.rejects(to, from) {
		p.scope.After(net.delay(from, from), "refused", func() { d.finish(nil, d.error(ErrRefused)) })
		return
	}
	if net.cut(from, to) {
		return
	}
	net.dc.kernel.Root().After(net.delay(from, to), "SYN", d.arrive)
}

// arrive is what the SYN meets at the machine.
func (d *dialing) arrive() {
	p, to := d.process, d.to
	net, from := &to.dc.net, p.machine
	if d.done == nil || !p.alive || !to.answers() {
		return
	}
	socket, known := to.socket(d.behind, d.toPort)
	if !known {
		d.unresolved()
		return
	}
	if net.cut(to, from) {
		return
	}
	back := net.delay(to, from)
	if socket.Owner == nil {
		p.scope.After(back, "refused", func() { d.finish(nil, d.error(ErrRefused)) })
		return
	}
	local, remote := connect(&p.sockets, socket.Owner, d.addr)
	socket.Owner.scope.After(0, "accept", func() {
		if !remote.closed {
			socket.Accept(remote)
		}
	})
	p.scope.After(back, "connected", func() {
		if d.done == nil { // the dialler has given up, or an earlier SYN got through
			local.Close()
			return
		}
		d.finish(local, nil)
	})
	d.retry.Stop()
}

// unresolved has the dialler told that nobody has the address, once the machine has given up to ask for it.
func (d *dialing) unresolved() {
	p, to := d.process, d.to
	net := &to.dc.net
	net.dc.kernel.Root().At(to.resolve(d.behind), "ARP", func() {
		if d.done == nil || !to.answers() || net.cut(to, p.machine) {
			return
		}
		p.scope.After(net.delay(to, p.machine), "unreachable", func() { d.finish(nil, d.error(ErrUnreachable)) })
	})
}
