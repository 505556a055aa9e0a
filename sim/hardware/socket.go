package hardware

import (
	"net/netip"
	"slices"
	"time"

	"ksim/sim"
)

// Sockets are the connections of one owner: an operating-system process, or a container.
type Sockets struct {
	machine *Machine
	scope   *sim.Scope
	ends    []*Conn
}

// NewSockets makes those of a container, in whose scope its side of connections is called.
func (m *Machine) NewSockets(scope *sim.Scope) *Sockets {
	s := &Sockets{machine: m, scope: scope}
	m.sockets = append(m.sockets, s)
	return s
}

// Close is what the kernel does when the container has ended: its connections are reset, if the machine still runs.
func (s *Sockets) Close() {
	if i := slices.Index(s.machine.sockets, s); i >= 0 {
		s.machine.sockets = slices.Delete(s.machine.sockets, i, i+1)
	}
	s.abandon()
}

func (s *Sockets) abandon() {
	ends := s.ends
	s.ends = nil
	for _, c := range ends {
		c.abandon()
	}
}

// resetTo resets the connections to a machine.
func (s *Sockets) resetTo(m *Machine) {
	for _, c := range append([]*Conn(nil), s.ends...) {
		if c.peer.machine == m {
			for _, end := range [...]*Conn{c, c.peer} {
				end.scope.After(loopback, "rejected", func() { end.fail(ErrReset) })
			}
		}
	}
}

// Socket is what listens at an address and port.
type Socket struct {
	Owner  *Sockets // nil: nobody listens
	Accept func(*Conn)
}

// Subnet says what listens at an address behind a machine, and beside the processes at the machine's own (address "").
// known is false when nobody has the address.
type Subnet func(address string, port int) (s Socket, known bool)

// Route has the network bring packets for a range of addresses to the machine, as it does for the pods of a node.
func (m *Machine) Route(prefix netip.Prefix, behind Subnet) {
	prefix = prefix.Masked()
	sim.Assert(m.dc.subnets[prefix] == nil, "%s lies behind two machines", prefix)
	m.behind, m.dc.subnets[prefix] = behind, m
	if !slices.Contains(m.dc.subnetBits, prefix.Bits()) {
		m.dc.subnetBits = append(m.dc.subnetBits, prefix.Bits())
	}
}

// routeTo returns the machine that an address lies behind, nil if there is none.
func (d *Datacenter) routeTo(ip netip.Addr) *Machine {
	for _, bits := range d.subnetBits {
		if prefix, err := ip.Prefix(bits); err == nil && d.subnets[prefix] != nil {
			return d.subnets[prefix]
		}
	}
	return nil
}

// socket returns what listens at a port of the machine, or of an address behind it.
func (m *Machine) socket(behind string, port int) (s Socket, known bool) {
	if behind == "" {
		if l := m.listeners[port]; l != nil {
			return Socket{&l.process.sockets, l.accept}, true
		}
		if m.behind == nil {
			return Socket{}, true
		}
	}
	return m.behind(behind, port)
}

// arpTime is how long Linux asks for a neighbour that does not answer: mcast_solicit 3, retrans_time 1 s (arp(7)).
// chosen: the neighbour is not known from before; what is remembered of one that has just gone costs longer silence.
const arpTime = 3 * time.Second

// resolve asks for the neighbour that has an address, unless that is under way, and returns when it gives up.
func (m *Machine) resolve(address string) sim.Time {
	now := m.dc.kernel.Now()
	if until := m.unresolved[address]; until > now {
		return until
	}
	if m.unresolved == nil {
		m.unresolved = map[string]sim.Time{}
	}
	until := now.Add(arpTime)
	m.unresolved[address] = until
	return until
}

// Verdict is what a machine's packet filter does with a connection that one of its processes opens.
type Verdict uint8

// The verdicts.
const (
	Passed     Verdict = iota // no rule speaks of it
	Translated                // it goes to another address
	Rejected                  // refused at once
	Dropped
)

// Translate sets the machine's packet filter: fn is asked for connections to addresses that no machine has.
func (m *Machine) Translate(fn func(host string, port int) (to string, verdict Verdict)) {
	m.translate = fn
}
