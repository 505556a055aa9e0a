package hardware

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
)

// pairOf makes two running machines with a fixed latency of 1 ms.
func pairOf(t *testing.T) (*sim.Kernel, *Datacenter, *Machine, *Machine) {
	k := sim.New(1)
	t.Cleanup(k.Close)
	d := New(k, NetworkConfig{Latency: time.Millisecond})
	a := d.AddMachine(MachineSpec{Name: "a", Fsync: time.Millisecond})
	b := d.AddMachine(MachineSpec{Name: "b", Fsync: time.Millisecond})
	a.PowerOn()
	b.PowerOn()
	return k, d, a, b
}

// outcome is what a request came to, and when.
type outcome struct {
	at   sim.Time
	resp any
	err  error
}

// ask sends a request from a client process at once and records its outcome.
func ask(k *sim.Kernel, t *Transport, addr string, within time.Duration) *outcome {
	o := &outcome{at: -1}
	t.Start(addr, "hello", within, func(resp any, err error) { *o = outcome{k.Now(), resp, err} })
	return o
}

// echo starts a server on the machine that answers each request with itself.
func echo(m *Machine) *Process {
	return m.Start("echo", func(p *Process) {
		_, err := p.Serve(80, func(c *Call) { c.Reply(c.Request) })
		sim.Assert(err == nil, "serve: %v", err)
	})
}

func run(t *testing.T, k *sim.Kernel, until time.Duration) {
	require.NoError(t, k.RunUntil(sim.Time(until)))
}

func TestRequestTakesADialAndARoundTrip(t *testing.T) {
	k, _, a, b := pairOf(t)
	echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	first := ask(k, transport, "b:80", time.Second)
	run(t, k, 100*time.Millisecond)
	require.NoError(t, first.err)
	require.Equal(t, "hello", first.resp)
	require.Equal(t, sim.Time(14*time.Millisecond), first.at)
	second := ask(k, transport, "b:80", time.Second)
	run(t, k, time.Second)
	require.Equal(t, sim.Time(102*time.Millisecond), second.at, "the connection is kept")
}

func TestDialIsRefusedWhereNobodyListensAndTimesOutInSilence(t *testing.T) {
	k, _, a, b := pairOf(t)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	refused := ask(k, NewTransport(client, TransportConfig{}), "b:80", 0)
	run(t, k, time.Second)
	require.ErrorIs(t, refused.err, ErrRefused)
	require.EqualError(t, refused.err, "dial tcp 10.0.0.12:80: connect: connection refused")
	b.PowerOff()
	silent := ask(k, NewTransport(client, TransportConfig{}), "b:80", 0)
	run(t, k, time.Minute)
	require.ErrorIs(t, silent.err, ErrDialTimeout)
	require.Equal(t, sim.Time(31*time.Second), silent.at)
}

func TestDeathOfTheServerProcessIsNoticedOneLatencyLater(t *testing.T) {
	k, _, a, b := pairOf(t)
	server := b.Start("mute", func(p *Process) { _, _ = p.Serve(80, func(*Call) {}) })
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	o := ask(k, NewTransport(client, TransportConfig{}), "b:80", 0)
	run(t, k, time.Second)
	server.Signal(SIGKILL)
	run(t, k, 2*time.Second)
	require.ErrorIs(t, o.err, ErrReset)
	require.Equal(t, sim.Time(1001*time.Millisecond), o.at)
}

func TestSilentServerIsGivenUp45SecondsAfterItsLastByte(t *testing.T) {
	for name, silence := range map[string]func(*Datacenter, *Machine, *Process){
		"power loss": func(_ *Datacenter, b *Machine, _ *Process) { b.PowerOff() },
		"isolated":   func(d *Datacenter, b *Machine, _ *Process) { d.Isolate(b) },
		"frozen":     func(_ *Datacenter, b *Machine, _ *Process) { b.Freeze() },
		"SIGSTOP":    func(_ *Datacenter, _ *Machine, p *Process) { p.Signal(SIGSTOP) },
	} {
		t.Run(name, func(t *testing.T) {
			k, d, a, b := pairOf(t)
			server := echo(b)
			client := a.Start("client", func(*Process) {})
			run(t, k, 10*time.Millisecond)
			transport := NewTransport(client, TransportConfig{})
			ask(k, transport, "b:80", 0)
			run(t, k, 100*time.Millisecond)
			silence(d, b, server)
			o := ask(k, transport, "b:80", 0)
			run(t, k, time.Minute)
			require.ErrorIs(t, o.err, ErrConnectionLost)
			require.Equal(t, sim.Time(45*time.Second+14*time.Millisecond), o.at)
		})
	}
}

func TestIdleButHealthyConnectionStaysOpen(t *testing.T) {
	k, _, a, b := pairOf(t)
	echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	ask(k, transport, "b:80", 0)
	run(t, k, time.Hour)
	require.True(t, transport.Connected("b:80"))
}

func TestWhatACutHeldFlowsOnHealing(t *testing.T) {
	k, d, a, b := pairOf(t)
	echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	ask(k, transport, "b:80", 0)
	run(t, k, 100*time.Millisecond)
	d.Cut(b, a, false)
	o := ask(k, transport, "b:80", 0)
	run(t, k, 20*time.Second)
	require.Equal(t, sim.Time(-1), o.at)
	d.Heal()
	run(t, k, 21*time.Second)
	require.NoError(t, o.err)
	require.Equal(t, sim.Time(20*time.Second+time.Millisecond), o.at)
}

func TestOldConnectionToARebootedMachineIsResetByItsNextPacket(t *testing.T) {
	k, _, a, b := pairOf(t)
	echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	ask(k, transport, "b:80", 0)
	run(t, k, 100*time.Millisecond)
	b.PowerOff()
	b.PowerOn()
	o := ask(k, transport, "b:80", 0)
	run(t, k, time.Second)
	require.ErrorIs(t, o.err, ErrReset)
}

func TestRejectingPartitionResetsAndRefuses(t *testing.T) {
	k, d, a, b := pairOf(t)
	echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	ask(k, transport, "b:80", 0)
	run(t, k, 100*time.Millisecond)
	d.Cut(a, b, true)
	run(t, k, 200*time.Millisecond)
	require.False(t, transport.Connected("b:80"))
	o := ask(k, transport, "b:80", 0)
	run(t, k, 300*time.Millisecond)
	require.ErrorIs(t, o.err, ErrRefused)
}

func TestFrozenProcessAnswersAfterSIGCONT(t *testing.T) {
	k, _, a, b := pairOf(t)
	server := echo(b)
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	server.Signal(SIGSTOP)
	late := ask(k, transport, "b:80", 0)
	gone := ask(k, transport, "b:80", 2*time.Second)
	run(t, k, 10*time.Second)
	require.ErrorIs(t, gone.err, sim.ErrTimeout)
	server.Signal(SIGCONT)
	run(t, k, 11*time.Second)
	require.NoError(t, late.err)
	require.Equal(t, sim.Time(10*time.Second+time.Millisecond), late.at)
}

func TestDrainingServerFinishesWhatItHasAndTakesNothingNew(t *testing.T) {
	k, _, a, b := pairOf(t)
	var server *Server
	var open *Call
	b.Start("slow", func(p *Process) { server, _ = p.Serve(80, func(c *Call) { open = c }) })
	client := a.Start("client", func(*Process) {})
	run(t, k, 10*time.Millisecond)
	transport := NewTransport(client, TransportConfig{})
	first := ask(k, transport, "b:80", 0)
	run(t, k, 100*time.Millisecond)
	server.Drain()
	run(t, k, 200*time.Millisecond)
	second := ask(k, transport, "b:80", 0)
	run(t, k, 300*time.Millisecond)
	require.ErrorIs(t, second.err, ErrRefused)
	open.Reply("done")
	run(t, k, 400*time.Millisecond)
	require.Equal(t, "done", first.resp)
}
