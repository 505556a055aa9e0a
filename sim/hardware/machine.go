package hardware

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"ksim/sim"
)

// Datacenter is all machines and the network between them.
type Datacenter struct {
	kernel   *sim.Kernel
	machines []*Machine
	byName   map[string]*Machine // by name and by address
	net      network
	subnets  map[netip.Prefix]*Machine
	changes  uint64     // of power and processes
	changed  []*Process // that say that what they publish has changed
	spare    []*Process

	subnetBits []int // lengths of their prefixes
}

// NetworkConfig says how the network behaves without faults. Times are one-way.
type NetworkConfig struct {
	Latency        time.Duration
	Jitter         time.Duration // a message takes up to that much longer, uniformly
	BetweenZones   time.Duration // latency between machines of different zones; 0: as Latency
	LossPerMillion int64         // of messages that are lost and sent again by TCP
}

// MachineSpec describes a machine.
type MachineSpec struct {
	Name, Zone string
	Fsync      time.Duration // of its disk
	BootMin    time.Duration // from power on to the start of init's services, drawn uniformly
	BootMax    time.Duration
}

// New makes an empty data centre.
func New(k *sim.Kernel, config NetworkConfig) *Datacenter {
	d := &Datacenter{kernel: k, byName: map[string]*Machine{}, subnets: map[netip.Prefix]*Machine{}}
	d.net = newNetwork(d, config)
	return d
}

// Kernel returns the kernel.
func (d *Datacenter) Kernel() *sim.Kernel { return d.kernel }

// Changes counts, for observers, changes of power and processes. While it stays the same, so do Up and Processes.
func (d *Datacenter) Changes() uint64 { return d.changes }

// Changed returns the processes that have said since the last call that something changed inside them
// (Process.Changed). There is one observer at most. The slice is used again by the next call.
func (d *Datacenter) Changed() []*Process {
	changed := d.changed
	if len(changed) == 0 { // as after nearly every event
		return nil
	}
	d.changed, d.spare = d.spare[:0], changed
	for _, p := range changed {
		p.changed = false
	}
	return changed
}

// AddMachine adds a machine, switched off. Names are unique.
func (d *Datacenter) AddMachine(spec MachineSpec) *Machine {
	sim.Assert(d.byName[spec.Name] == nil, "two machines named %q", spec.Name)
	n := len(d.machines)
	m := &Machine{Name: spec.Name, Zone: spec.Zone, spec: spec, index: n, dc: d,
		ip: fmt.Sprintf("10.0.%d.%d", n/200, 11+n%200)}
	m.scope = d.kernel.Root().Child(spec.Name)
	m.scope.Kill("never switched on")
	m.clock = &Clock{kernel: d.kernel}
	m.disk = newDisk(m, spec.Fsync)
	d.machines = append(d.machines, m)
	d.byName[m.Name], d.byName[m.ip] = m, m
	return m
}

// Machine returns the machine of that name or address, nil if there is none.
func (d *Datacenter) Machine(name string) *Machine { return d.byName[name] }

// Machines returns all machines in the order in which they were added.
func (d *Datacenter) Machines() []*Machine { return d.machines }

// Machine is a computer: power, a disk, a clock, a network address, and processes while it is up.
type Machine struct {
	Name, Zone string

	spec       MachineSpec
	dc         *Datacenter
	index      int
	ip         string
	up         bool
	stopping   bool
	frozen     bool
	isolated   bool
	boots      int
	scope      *sim.Scope
	disk       *Disk
	clock      *Clock
	onBoot     []func()
	onShutdown func(done func())
	processes  []*Process
	listeners  map[int]*Listener
	sockets    []*Sockets // of containers
	behind     Subnet
	translate  func(host string, port int) (to string, verdict Verdict)
	unresolved map[string]sim.Time // addresses behind it that nobody has: when it gives up asking
	pids       int
	bootTime   sim.Time
}

// Up reports whether the machine is switched on.
func (m *Machine) Up() bool { return m.up }

// Scope is the lifetime of the present boot; it is dead while the machine is off.
func (m *Machine) Scope() *sim.Scope { return m.scope }

// Datacenter returns where the machine stands.
func (m *Machine) Datacenter() *Datacenter { return m.dc }

// IP returns the machine's address.
func (m *Machine) IP() string { return m.ip }

// Disk returns the machine's disk, which outlives its boots.
func (m *Machine) Disk() *Disk { return m.disk }

// Clock returns the machine's wall clock.
func (m *Machine) Clock() *Clock { return m.clock }

// Boots returns how often the machine was switched on.
func (m *Machine) Boots() int { return m.boots }

// BootTime returns when the present boot began.
func (m *Machine) BootTime() sim.Time { return m.bootTime }

// BootID returns the identity of the present boot, in the form of /proc/sys/kernel/random/boot_id.
func (m *Machine) BootID() string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", m.dc.kernel.Seed()&0xffffffff, m.index, m.boots, m.index,
		uint64(m.boots)<<24|uint64(m.index))
}

// touch counts a change of what an observer can see.
func (m *Machine) touch() { m.dc.changes++ }

// OnBoot adds to what the machine's init does at every boot, once the boot time has passed.
func (m *Machine) OnBoot(fn func()) { m.onBoot = append(m.onBoot, fn) }

// OnShutdown sets what a clean shutdown does before the power goes off; it calls done when that is finished.
func (m *Machine) OnShutdown(fn func(done func())) { m.onShutdown = fn }

// PowerOn switches the machine on; init starts after the boot time. Switching on a machine that is up does nothing.
func (m *Machine) PowerOn() {
	if m.up {
		return
	}
	m.up, m.stopping, m.frozen = true, false, false
	m.boots++
	m.touch()
	m.bootTime = m.dc.kernel.Now()
	m.listeners, m.unresolved = map[int]*Listener{}, nil
	m.scope = m.dc.kernel.Root().Child(m.Name).Label(m.Name, "")
	boot := m.dc.kernel.Rand("boot/"+m.Name).Between(m.spec.BootMin, m.spec.BootMax)
	m.scope.After(boot, "boot", func() {
		for _, fn := range m.onBoot {
			fn()
		}
	})
}

// PowerOff takes the power away: memory is gone, unsynced files are gone, nobody is told.
func (m *Machine) PowerOff() {
	if !m.up {
		return
	}
	m.dc.net.disturb()
	m.up = false
	m.touch()
	processes := m.processes
	m.processes = nil
	m.scope.Kill("power lost")
	for _, p := range processes {
		p.ended(ExitStatus{Code: -1, Why: "power lost"})
	}
	m.disk.crash()
	m.listeners = nil
}

// Shutdown stops the machine as an administrator does: init ends its services, disks are synced, then the power goes
// off and done is called. done may be nil.
func (m *Machine) Shutdown(done func()) {
	if !m.up || m.stopping {
		return
	}
	m.stopping = true
	off := func() {
		m.disk.SyncAll()
		for _, p := range append([]*Process(nil), m.processes...) {
			p.Exit(137, "machine shut down")
		}
		m.PowerOff()
		if done != nil {
			done()
		}
	}
	if m.onShutdown == nil {
		off()
		return
	}
	m.onShutdown(off)
}

// Stopping reports whether a clean shutdown is under way.
func (m *Machine) Stopping() bool { return m.stopping }

// Freeze stops the whole machine as a paused virtual machine: it answers nothing and nothing on it runs.
func (m *Machine) Freeze() {
	if m.up && !m.frozen {
		m.dc.net.disturb()
		m.frozen = true
		m.touch()
		m.scope.Freeze()
	}
}

// Thaw ends Freeze.
func (m *Machine) Thaw() {
	if m.up && m.frozen {
		m.dc.net.disturb()
		m.frozen = false
		m.touch()
		m.scope.Thaw()
	}
}

// Frozen reports whether the machine is frozen.
func (m *Machine) Frozen() bool { return m.frozen }

// answers reports whether the machine's network stack works.
func (m *Machine) answers() bool { return m.up && !m.frozen }

// Clock is a machine's wall clock.
type Clock struct {
	kernel *sim.Kernel
	skew   time.Duration
}

// epoch is what every wall clock shows at virtual time 0. chosen: a round date in the life of v1.36.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// WallTime returns what a clock without skew shows at virtual time t.
func WallTime(t sim.Time) time.Time { return epoch.Add(t.Duration()) }

// Now returns what the clock shows.
func (c *Clock) Now() time.Time { return epoch.Add(c.kernel.Now().Duration() + c.skew) }

// Skew makes the clock jump by d.
func (c *Clock) Skew(d time.Duration) { c.skew += d }

// SkewNow returns by how much the clock is wrong.
func (c *Clock) SkewNow() time.Duration { return c.skew }

// SplitAddress splits "machine:port" and strips a scheme such as https://.
func SplitAddress(addr string) (host string, port int, err error) {
	if i := strings.Index(addr, "://"); i >= 0 {
		addr = addr[i+3:]
	}
	addr = strings.TrimSuffix(addr, "/")
	i := strings.LastIndexByte(addr, ':')
	if i < 0 {
		return "", 0, fmt.Errorf("address %s: missing port in address", addr)
	}
	for _, c := range addr[i+1:] {
		if c < '0' || c > '9' || port > 65535 {
			return "", 0, fmt.Errorf("address %s: invalid port", addr)
		}
		port = port*10 + int(c-'0')
	}
	return strings.Trim(addr[:i], "[]"), port, nil
}
