package cluster

import (
	"fmt"
	"strings"
	"time"

	"ksim/sim"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// faults is the outside world: what can be done to machines, processes and the network. Each fault acts at once and
// is an event of the trace that everything which follows has as its cause. An error says why there is nothing to do
// it to.
type faults struct {
	cluster *Cluster
	scope   *sim.Scope
}

func newFaults(c *Cluster) *faults {
	return &faults{cluster: c, scope: c.kernel.Root().Child("faults")}
}

// Faults returns what can be done to the cluster.
func (c *Cluster) Faults() *faults { return c.faults }

// happen records a fault and makes it the cause of what follows.
func (f *faults) happen(object, reason, format string, args ...any) {
	f.cluster.kernel.Because(f.scope.Emit(sim.Event{Level: sim.Fault, Reason: reason, Object: object,
		Message: fmt.Sprintf(format, args...)}))
	f.cluster.world.changes.Touch(truth.Machines)
}

// machine finds a machine that must be up.
func (f *faults) machine(name string) (*hardware.Machine, error) {
	m := f.cluster.dc.Machine(name)
	switch {
	case m == nil:
		return nil, fmt.Errorf("no machine %q", name)
	case !m.Up():
		return nil, fmt.Errorf("%s is off", name)
	}
	return m, nil
}

// Crash takes a machine's power away. One that is off stays off, and nothing has happened.
func (f *faults) Crash(machine string) error {
	m := f.cluster.dc.Machine(machine)
	switch {
	case m == nil:
		return fmt.Errorf("no machine %q", machine)
	case !m.Up():
		return nil
	}
	f.happen("machine/"+machine, "MachineCrashed", "%s loses power", machine)
	m.PowerOff()
	return nil
}

// Start switches a machine on. One that is on stays on, and nothing has happened.
func (f *faults) Start(machine string) error {
	m := f.cluster.dc.Machine(machine)
	switch {
	case m == nil:
		return fmt.Errorf("no machine %q", machine)
	case m.Up():
		return nil
	}
	f.happen("machine/"+machine, "MachineStarted", "%s is switched on", machine)
	m.PowerOn()
	return nil
}

// Reboot shuts a machine down cleanly and starts it that long after the command.
func (f *faults) Reboot(machine string, away time.Duration) error {
	m, err := f.machine(machine)
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "MachineRebooting", "%s shuts down, to be started again %s later", machine, away)
	due := f.scope.Now().Add(away)
	m.Shutdown(func() {
		f.cluster.world.changes.Touch(truth.Machines)
		f.scope.At(due, "start after reboot", func() {
			if !m.Up() {
				f.happen("machine/"+machine, "MachineStarted", "%s is switched on", machine)
				m.PowerOn()
			}
		})
	})
	return nil
}

// process finds a component's process on a machine.
func (f *faults) process(component, machine string) (*hardware.Process, error) {
	m, err := f.machine(machine)
	if err != nil {
		return nil, err
	}
	for _, p := range m.Processes() {
		if p.Name == component {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no process %s on %s", component, machine)
}

// Kill sends a component SIGKILL; its supervisor restarts it.
func (f *faults) Kill(component, machine string) error {
	p, err := f.process(component, machine)
	if err != nil {
		return err
	}
	f.happen("process/"+machine+"/"+component, "ProcessKilled", "%s on %s is killed (SIGKILL)", component, machine)
	p.Signal(hardware.SIGKILL)
	return nil
}

// KillPod crashes the running containers of a pod.
func (f *faults) KillPod(namespace, name string) error {
	for _, h := range f.cluster.hosts {
		if h.runtime == nil || !h.machine.Up() {
			continue
		}
		for _, c := range h.runtime.Containers() {
			if c.Namespace == namespace && c.Pod == name && c.Running {
				f.happen("pod/"+namespace+"/"+name, "ContainerKilled", "the containers of pod %s on %s are killed", name, h.Name)
				h.runtime.Crash(namespace, name)
				return nil
			}
		}
	}
	return fmt.Errorf("no container of pod %s/%s runs on any machine", namespace, name)
}

// Pause stops a component, or the whole machine if component is "", for d.
func (f *faults) Pause(component, machine string, d time.Duration) error {
	if component == "" {
		m, err := f.machine(machine)
		if err != nil {
			return err
		}
		f.happen("machine/"+machine, "MachinePaused", "%s is frozen for %s", machine, d)
		m.Freeze()
		f.scope.After(d, "thaw", func() {
			if m.Frozen() {
				f.happen("machine/"+machine, "MachineResumed", "%s goes on after %s", machine, d)
				m.Thaw()
			}
		})
		return nil
	}
	p, err := f.process(component, machine)
	if err != nil {
		return err
	}
	f.happen("process/"+machine+"/"+component, "ProcessPaused", "%s on %s is stopped (SIGSTOP) for %s", component,
		machine, d)
	p.Signal(hardware.SIGSTOP)
	f.scope.After(d, "SIGCONT", func() {
		if p.Alive() {
			f.happen("process/"+machine+"/"+component, "ProcessResumed", "%s on %s goes on (SIGCONT)", component, machine)
			p.Signal(hardware.SIGCONT)
		}
	})
	return nil
}

// Isolate cuts a machine from every other one.
func (f *faults) Isolate(machine string) error {
	m, err := f.machine(machine)
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "MachineIsolated", "%s is cut from every other machine", machine)
	f.cluster.dc.Isolate(m)
	return nil
}

// Partition cuts between two groups of machines.
func (f *faults) Partition(a, b []string, oneWay, reject bool) error {
	left, err := f.known(a)
	if err != nil {
		return err
	}
	right, err := f.known(b)
	if err != nil {
		return err
	}
	how := "silently"
	if reject {
		how = "with resets and refusals"
	}
	between := "cannot reach each other"
	if oneWay {
		between = "are cut one way: what the first send to the second is lost"
	}
	for _, name := range append(append([]string(nil), a...), b...) {
		f.happen("machine/"+name, "NetworkPartitioned", "%s and %s %s, %s", strings.Join(a, ", "), strings.Join(b, ", "),
			between, how)
	}
	for _, from := range left {
		for _, to := range right {
			f.cluster.dc.Cut(from, to, reject)
			if !oneWay {
				f.cluster.dc.Cut(to, from, reject)
			}
		}
	}
	return nil
}

// known finds machines that may be off.
func (f *faults) known(names []string) ([]*hardware.Machine, error) {
	machines := make([]*hardware.Machine, 0, len(names))
	for _, name := range names {
		m := f.cluster.dc.Machine(name)
		if m == nil {
			return nil, fmt.Errorf("no machine %q", name)
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// SlowLink adds latency between two machines, both ways.
func (f *faults) SlowLink(a, b string, latency, jitter time.Duration) error {
	m, err := f.known([]string{a, b})
	if err != nil {
		return err
	}
	f.happen("machine/"+a, "LinkSlowed", "%s more between %s and %s, each way", latency, a, b)
	f.cluster.dc.SlowLink(m[0], m[1], latency, jitter)
	f.cluster.dc.SlowLink(m[1], m[0], latency, jitter)
	return nil
}

// DropLink loses a share of the messages between two machines, both ways.
func (f *faults) DropLink(a, b string, perMillion int64) error {
	m, err := f.known([]string{a, b})
	if err != nil {
		return err
	}
	f.happen("machine/"+a, "LinkLossy", "%d.%02d %% of the packets between %s and %s are lost", perMillion/10000,
		perMillion/100%100, a, b)
	f.cluster.dc.DropLink(m[0], m[1], perMillion)
	f.cluster.dc.DropLink(m[1], m[0], perMillion)
	return nil
}

// SlowDisk sets how long an fsync takes.
func (f *faults) SlowDisk(machine string, fsync time.Duration) error {
	m, err := f.known([]string{machine})
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "DiskSlowed", "an fsync on %s takes %s", machine, fsync)
	m[0].Disk().SetSlow(fsync)
	return nil
}

// FullDisk makes writes fail for want of space.
func (f *faults) FullDisk(machine string) error {
	m, err := f.known([]string{machine})
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "DiskFull", "the disk of %s is full", machine)
	m[0].Disk().SetFull(true)
	return nil
}

// LoseDisk takes the content of the data disk away: what programs have stored. What is installed stays, as on a
// machine whose data volume was replaced.
func (f *faults) LoseDisk(machine string) error {
	m, err := f.known([]string{machine})
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "DiskLost", "the content of the disk of %s is gone", machine)
	disk := m[0].Disk()
	config, err := disk.ReadFile(kubeletConfig)
	disk.Remove("/var/lib")
	if err == nil {
		return disk.WriteFileSync(kubeletConfig, config)
	}
	return nil
}

// SkewClock makes a machine's wall clock jump.
func (f *faults) SkewClock(machine string, d time.Duration) error {
	m, err := f.known([]string{machine})
	if err != nil {
		return err
	}
	f.happen("machine/"+machine, "ClockJumped", "the wall clock of %s jumps by %s", machine, d)
	m[0].Clock().Skew(d)
	return nil
}

// Heal ends network, disk and clock faults of the machines, of all if none is named.
func (f *faults) Heal(machines []string) error {
	chosen, err := f.known(machines)
	if err != nil {
		return err
	}
	object, whom := "cluster/faults", "everywhere"
	if len(machines) > 0 {
		object, whom = "machine/"+machines[0], "of "+strings.Join(machines, ", ")
	}
	f.happen(object, "Healed", "network, disks and clocks are healed %s", whom)
	f.cluster.dc.Heal(chosen...)
	if len(chosen) == 0 {
		chosen = f.cluster.dc.Machines()
	}
	for _, m := range chosen {
		m.Disk().SetSlow(0)
		m.Disk().SetFull(false)
		m.Clock().Skew(-m.Clock().SkewNow())
	}
	return nil
}
