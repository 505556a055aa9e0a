package controlplane

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane/internal/fakeapi"
	"ksim/sim/hardware"
)

// contest is an API server and machines that compete for one lock.
type contest struct {
	t      *testing.T
	kernel *sim.Kernel
	server *fakeapi.Server
	dc     *hardware.Datacenter
	config LeaderElectionConfig
}

func newContest(t *testing.T, seed uint64) *contest {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	return &contest{t, k, fakeapi.New(k), hardware.New(k, hardware.NetworkConfig{}),
		DefaultLeaderElection("kube-controller-manager")}
}

func (c *contest) join(name string) *hardware.Process {
	m := c.dc.Machine(name)
	if m == nil {
		m = c.dc.AddMachine(hardware.MachineSpec{Name: name})
		m.PowerOn()
	}
	return m.Start("kube-controller-manager", func(p *hardware.Process) {
		elector, err := NewLeaderElector(p, c.server.Client(p.Scope()), c.config)
		require.NoError(c.t, err)
		p.Go("election", func(proc *sim.Proc) {
			elector.Run(proc, func(*sim.Proc) {})
			p.Exit(1, "leaderelection lost/stopped")
		})
	})
}

func (c *contest) holder() string {
	lease, ok := c.server.Get(api.Leases, "kube-system", "kube-controller-manager").(*coordinationv1.Lease)
	if !ok || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return ""
	}
	return (*lease.Spec.HolderIdentity)[:4]
}

func (c *contest) at(d time.Duration) { require.NoError(c.t, c.kernel.RunUntil(sim.Time(d))) }

// runUntil steps by 10 ms until the condition holds and returns when.
func (c *contest) runUntil(cond func() bool) time.Duration {
	for !cond() {
		c.at(c.kernel.Now().Duration() + 10*time.Millisecond)
		require.Less(c.t, c.kernel.Now().Duration(), 10*time.Minute)
	}
	return c.kernel.Now().Duration()
}

// Measured on two real controller managers: the other holds the lease 14.4 to 20.8 s after a SIGKILL of the holder,
// 18.2 s in the median. It looks every 2 to 4.4 s and waits 15 s from when it saw the last renewal.
func TestHandOverAfterSIGKILLTakesThirteenToTwentyFourSeconds(t *testing.T) {
	var sum time.Duration
	const runs = 40
	for seed := range uint64(runs) {
		c := newContest(t, seed)
		first := c.join("cp-1")
		c.at(time.Second)
		c.join("cp-2")
		c.at(30*time.Second + time.Duration(seed)*50*time.Millisecond)
		require.Equal(t, "cp-1", c.holder())
		first.Signal(hardware.SIGKILL)
		killed := c.kernel.Now().Duration()
		took := c.runUntil(func() bool { return c.holder() == "cp-2" }) - killed
		assert.True(t, took >= 13*time.Second && took <= 24*time.Second, "seed %d: %s", seed, took)
		sum += took
	}
	mean := sum / runs
	assert.True(t, mean > 16500*time.Millisecond && mean < 19500*time.Millisecond, "mean %s", mean)
}

// Measured: a manager started when the record names a dead holder waits 15.5 to 17.9 s, however old the record is.
func TestRestartedHolderIsAStrangerToItsOwnLease(t *testing.T) {
	c := newContest(t, 1)
	c.join("cp-1").Signal(hardware.SIGKILL)
	c.at(time.Second)
	first := c.join("cp-1")
	c.at(10 * time.Second)
	first.Signal(hardware.SIGKILL)
	c.at(10 * time.Minute)
	c.join("cp-1")
	var again bool
	c.kernel.Observe(func(e sim.Event) { again = again || e.Reason == "LeaderElection" })
	start := c.kernel.Now().Duration()
	for !again {
		c.at(c.kernel.Now().Duration() + 10*time.Millisecond)
	}
	took := c.kernel.Now().Duration() - start
	assert.True(t, took >= 15*time.Second && took <= 20*time.Second, "%s", took)
}

func TestLeaseHolderExitsWhenRenewalsTimeOut(t *testing.T) {
	for _, how := range []string{"hang", "refuse"} {
		c := newContest(t, 3)
		p := c.join("cp-1")
		c.at(20 * time.Second)
		var exited time.Duration
		p.Wait(c.kernel.Root(), func(s hardware.ExitStatus) {
			exited = c.kernel.Now().Duration()
			assert.Equal(t, 1, s.Code)
		})
		if how == "hang" {
			c.server.Hang = func(*api.Request) bool { return true }
		} else {
			c.server.Fail = func(*api.Request) error { return hardware.ErrRefused }
		}
		c.at(60 * time.Second)
		took := exited - 20*time.Second
		assert.True(t, took >= 10*time.Second && took <= 12100*time.Millisecond, "%s: %s", how, took)
	}
}

func TestReleasedLockIsTakenAtTheNextLook(t *testing.T) {
	c := newContest(t, 5)
	m := c.dc.AddMachine(hardware.MachineSpec{Name: "cp-1"})
	m.PowerOn()
	m.Start("kube-scheduler", func(p *hardware.Process) {
		elector, err := NewLeaderElector(p, c.server.Client(p.Scope()), c.config)
		require.NoError(t, err)
		run := p.Scope().Child("election")
		run.Go("election", func(proc *sim.Proc) { elector.Run(proc, func(*sim.Proc) {}) })
		p.OnTerm(func() {
			run.Kill("SIGTERM")
			p.Go("release", func(proc *sim.Proc) { elector.Release(proc); p.Exit(0, "released") })
		})
	})
	c.at(time.Second)
	c.join("cp-2")
	c.at(20 * time.Second)
	m.Processes()[0].Signal(hardware.SIGTERM)
	took := c.runUntil(func() bool { return c.holder() == "cp-2" }) - 20*time.Second
	assert.LessOrEqual(t, took, 4500*time.Millisecond)
}

func TestAtMostOneHolderUnderEveryLock(t *testing.T) {
	for _, lock := range []string{"leases", "endpoints", "configmaps", "endpointsleases"} {
		c := newContest(t, 7)
		c.config.ResourceLock, c.config.FastPath = lock, lock == "leases"
		leading := 0
		c.kernel.Observe(func(e sim.Event) {
			if e.Reason == "LeaderElection" {
				leading++
			}
		})
		for _, name := range []string{"cp-1", "cp-2", "cp-3"} {
			c.join(name)
		}
		c.at(2 * time.Minute)
		assert.Equal(t, 1, leading, lock)
	}
}

func TestTakeoverIsExplainedByTheFaultThatSilencedTheHolder(t *testing.T) {
	c := newContest(t, 9)
	c.join("cp-1")
	c.at(time.Second)
	c.join("cp-2")
	c.at(30 * time.Second)
	fault := c.kernel.Root().Emit(sim.Event{Level: sim.Fault, Reason: "Crash", Object: "machine/cp-1"})
	c.dc.Machine("cp-1").PowerOff()
	c.runUntil(func() bool { return c.holder() == "cp-2" })
	c.at(c.kernel.Now().Duration() + time.Second)
	var takeover sim.Event
	for _, e := range c.kernel.Trace().Events() {
		if e.Reason == "LeaderElection" && e.Machine == "cp-2" {
			takeover = e
		}
	}
	assert.Equal(t, "leaseDurationSeconds", takeover.Setting)
	assert.Equal(t, 15*time.Second, takeover.Wait)
	assert.NotZero(t, takeover.Since)
	write := c.kernel.Trace().Event(takeover.Cause)
	assert.Equal(t, "lease/kube-system/kube-controller-manager", write.Object)
	assert.Equal(t, fault, write.Cause)
}
