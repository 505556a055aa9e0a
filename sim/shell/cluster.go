package shell

import (
	"time"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// Cluster is what commands are typed into: a running cluster.
type Cluster interface {
	Kernel() *sim.Kernel
	Spec() *spec.Cluster
	World() truth.World
	// Machine returns nil for a name that does not exist.
	Machine(name string) *hardware.Machine
	Faults() Faults
	// Client makes an API client in process p, as a kubeconfig says: server "https://lb-1:6443", user
	// "kubernetes-admin", user agent "kubectl/v1.36.0". Each has connections of its own; they end with the process.
	Client(p *hardware.Process, server, user, userAgent string) api.Client
}

// Faults is what the outside world can do to machines, processes and the network. Each acts at once and emits its own
// trace events at the level of a fault (object machine/NAME), caused by the current cause. Names are names of machines
// that exist. An error says why there is nothing to do it to ("worker-1 is off", "no process etcd on worker-1");
// nothing has happened then.
type Faults interface {
	Crash(machine string) error // power off
	Start(machine string) error // power on
	Reboot(machine string, away time.Duration) error

	Kill(component, machine string) error                   // SIGKILL
	KillPod(namespace, name string) error                   // its containers crash
	Pause(component, machine string, d time.Duration) error // SIGSTOP, then SIGCONT; component "": the whole machine

	Isolate(machine string) error
	// Partition cuts between the groups: silence, or resets and refusals if reject; only from a to b if oneWay.
	Partition(a, b []string, oneWay, reject bool) error
	SlowLink(a, b string, latency, jitter time.Duration) error
	DropLink(a, b string, perMillion int64) error

	SlowDisk(machine string, fsync time.Duration) error
	FullDisk(machine string) error
	LoseDisk(machine string) error
	SkewClock(machine string, d time.Duration) error

	Heal(machines []string) error // ends network, disk and clock faults there; none named: all
}
