package containerd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

// bench is a machine with containerd, and a scope that calls it, as the kubelet does.
type bench struct {
	t       *testing.T
	kernel  *sim.Kernel
	machine *hardware.Machine
	runtime *Runtime
	daemon  *hardware.Process
}

func newBench(t *testing.T) *bench {
	k := sim.New(1)
	t.Cleanup(k.Close)
	b := &bench{t: t, kernel: k}
	b.machine = hardware.New(k, hardware.NetworkConfig{}).AddMachine(hardware.MachineSpec{Name: "m"})
	b.runtime = New(b.machine, Options{PodCIDR: "10.244.3.0/24"})
	b.machine.OnBoot(func() {
		b.daemon = b.machine.Start("containerd", func(p *hardware.Process) { b.runtime.Main(p, nil) })
	})
	b.machine.PowerOn()
	b.run(time.Second)
	return b
}

func (b *bench) run(d time.Duration) { require.NoError(b.t, b.kernel.RunUntil(b.kernel.Now().Add(d))) }

// call runs body as a process of the machine's.
func (b *bench) call(body func(p *sim.Proc)) { b.machine.Scope().Go("caller", body) }

// start runs a container and returns it.
func (b *bench) start(config Config) *Container {
	var started *Container
	b.call(func(p *sim.Proc) {
		s, err := b.runtime.RunPodSandbox(p, Sandbox{PodUID: "u", Namespace: "default", Name: "p"})
		require.NoError(b.t, err)
		config.PodUID, config.SandboxID, config.Name, config.Pod, config.Namespace = "u", s.ID, "c", "p", "default"
		started, err = b.runtime.CreateContainer(p, config)
		require.NoError(b.t, err)
		require.NoError(b.t, b.runtime.StartContainer(p, started))
	})
	b.run(100 * time.Millisecond)
	return started
}

func (b *bench) stop(c *Container, timeout time.Duration) (took time.Duration, err error) {
	b.call(func(p *sim.Proc) {
		began := p.Now()
		err = b.runtime.StopContainer(p, c, timeout)
		took = p.Now().Sub(began)
	})
	b.run(timeout + time.Second)
	return took, err
}

func TestServerEndsSoonAfterSIGTERM(t *testing.T) {
	b := newBench(t)
	c := b.start(Config{})
	assert.Equal(t, Running, c.State)
	assert.True(t, c.Accepts(b.kernel.Now()))
	took, err := b.stop(c, 30*time.Second)
	require.NoError(t, err)
	assert.Less(t, took, time.Second)
	assert.Equal(t, 0, c.ExitCode)
	assert.Equal(t, "Completed", c.Reason)
}

func TestShellIgnoresSIGTERMUntilItIsKilled(t *testing.T) {
	b := newBench(t)
	c := b.start(Config{Argv: []string{"sh", "-c", "echo here; sleep 3600"}})
	took, err := b.stop(c, 10*time.Second)
	require.NoError(t, err)
	assert.Equal(t, 10*time.Second, took)
	assert.Equal(t, 137, c.ExitCode)
	require.Len(t, c.Log, 1)
	assert.Equal(t, "here", c.Log[0].Text)
}

func TestContainersOutliveTheDaemonButNotTheMachine(t *testing.T) {
	b := newBench(t)
	c := b.start(Config{})
	b.daemon.Exit(137, "fault")
	b.call(func(p *sim.Proc) {
		_, err := b.runtime.RunPodSandbox(p, Sandbox{PodUID: "v"})
		assert.ErrorIs(t, err, ErrUnavailable)
	})
	b.run(time.Second)
	assert.Equal(t, Running, c.State)
	b.machine.PowerOff()
	assert.False(t, b.runtime.Containers()[0].Running)
	b.machine.PowerOn()
	b.run(time.Second)
	assert.Equal(t, Exited, c.State)
	assert.Equal(t, 255, c.ExitCode)
	assert.Equal(t, "Unknown", c.Reason)
	status, err := b.runtime.Status("u")
	require.NoError(t, err)
	assert.False(t, status.Sandboxes[0].Ready)
}

func TestCallUnderWayFailsWhenTheDaemonEnds(t *testing.T) {
	b := newBench(t)
	var err error
	b.call(func(p *sim.Proc) { _, err = b.runtime.PullImage(p, "image", Behaviour{Pulls: time.Minute}) })
	b.run(time.Second)
	b.daemon.Exit(137, "fault")
	b.run(time.Second)
	assert.ErrorIs(t, err, ErrEOF)
}

func TestLostDiskForgetsContainers(t *testing.T) {
	b := newBench(t)
	b.start(Config{})
	b.machine.PowerOff()
	b.machine.Disk().Lose()
	b.machine.PowerOn()
	b.run(time.Second)
	assert.Empty(t, b.runtime.Containers())
}

func TestAddressesAreHandedOutRoundTheRange(t *testing.T) {
	b := newBench(t)
	seen := map[string]bool{}
	b.call(func(p *sim.Proc) {
		for range 300 {
			s, err := b.runtime.RunPodSandbox(p, Sandbox{PodUID: "u"})
			require.NoError(t, err)
			seen[s.IP] = true
			require.NoError(t, b.runtime.StopPodSandbox(p, s.ID))
			require.NoError(t, b.runtime.RemovePodSandbox(p, s.ID))
		}
	})
	b.run(time.Minute)
	assert.Len(t, seen, 253)
	assert.True(t, seen["10.244.3.2"])
}
