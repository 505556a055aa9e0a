package containerd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

// ask sends a request to a port of the pod's address and returns what became of it within two seconds.
func (b *bench) ask(port string) error {
	status, err := b.runtime.Status("u")
	require.NoError(b.t, err)
	outcome := error(hardware.ErrConnectionLost)
	client := b.machine.Start("client", func(p *hardware.Process) {
		t := hardware.NewTransport(p, hardware.TransportConfig{DialTimeout: 2 * time.Second})
		t.Start(status.Sandboxes[0].IP+":"+port, "hello", 2*time.Second, func(resp any, err error) {
			if outcome = err; err == nil {
				code, _ := resp.(hardware.HTTPAnswer).HTTPStatus()
				assert.Equal(b.t, 200, code)
			}
		})
	})
	b.run(2500 * time.Millisecond)
	client.Exit(0, "done")
	return outcome
}

func TestServerListensOnItsPortsOnceItIsReady(t *testing.T) {
	b := newBench(t)
	b.start(Config{Ports: []int{80, 8080}, Behaviour: Behaviour{Ready: 4 * time.Second}})
	require.ErrorIs(t, b.ask("80"), hardware.ErrRefused, "it runs, and is not ready yet")
	b.run(2 * time.Second)
	require.NoError(t, b.ask("80"))
	require.NoError(t, b.ask("8080"))
	require.ErrorIs(t, b.ask("443"), hardware.ErrRefused)
}

func TestServerWithoutDeclaredPortsListensOnAny(t *testing.T) {
	b := newBench(t)
	b.start(Config{})
	require.NoError(t, b.ask("80"))
	require.NoError(t, b.ask("9090"))
}

func TestServerThatHangsAcceptsAndDoesNotAnswer(t *testing.T) {
	b := newBench(t)
	b.start(Config{Behaviour: Behaviour{Healthy: 3 * time.Second}})
	require.NoError(t, b.ask("80"))
	b.run(time.Second)
	require.ErrorIs(t, b.ask("80"), sim.ErrTimeout)
}

func TestServerServesUntilItHasStopped(t *testing.T) {
	b := newBench(t)
	c := b.start(Config{Behaviour: Behaviour{Stops: 4 * time.Second, StopsSet: true}})
	b.machine.Scope().After(0, "SIGTERM", func() { b.runtime.terminate(c) })
	require.NoError(t, b.ask("80"))
	require.True(t, c.Stopping)
	b.run(2 * time.Second)
	require.ErrorIs(t, b.ask("80"), hardware.ErrRefused, "its sandbox is still there")
}

func TestPlayedCommandListensNowhere(t *testing.T) {
	b := newBench(t)
	b.start(Config{Argv: []string{"sleep", "3600"}})
	require.ErrorIs(t, b.ask("80"), hardware.ErrRefused)
}

func TestRequestUnderWayIsBrokenOffWhenTheContainerDies(t *testing.T) {
	b := newBench(t)
	b.start(Config{Behaviour: Behaviour{Healthy: time.Millisecond}})
	b.machine.Scope().After(time.Second, "crash", func() { b.runtime.Crash("default", "p") })
	require.ErrorIs(t, b.ask("80"), hardware.ErrReset)
}

func TestAnEarlierBootsPodsHaveNoAddress(t *testing.T) {
	b := newBench(t)
	b.start(Config{})
	require.NoError(t, b.ask("80"))
	b.machine.PowerOff()
	b.machine.PowerOn()
	b.machine.Scope().After(0, "ask", func() {
		_, known := b.runtime.socket("10.244.3.2", 80)
		assert.False(t, known, "containerd has not even looked yet")
		_, known = b.runtime.socket("", 80)
		assert.True(t, known)
	})
	b.run(time.Second)
}
