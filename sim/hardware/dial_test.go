package hardware

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
)

// podRig is two machines, the pods of the second one, and what dials of the first have met.
type podRig struct {
	t       *testing.T
	k       *sim.Kernel
	dc      *Datacenter
	a, b    *Machine
	client  *Process
	pods    map[string]Socket
	sockets *Sockets
	scope   *sim.Scope
	server  *Server
}

func newPodRig(t *testing.T) *podRig {
	k := sim.New(1)
	t.Cleanup(k.Close)
	r := &podRig{t: t, k: k, dc: New(k, NetworkConfig{Latency: time.Millisecond}), pods: map[string]Socket{}}
	r.a, r.b = r.dc.AddMachine(MachineSpec{Name: "a"}), r.dc.AddMachine(MachineSpec{Name: "b"})
	r.b.Route(netip.MustParsePrefix("10.244.2.0/24"), func(address string, _ int) (Socket, bool) {
		s, known := r.pods[address]
		return s, known || address == ""
	})
	r.a.PowerOn()
	r.b.PowerOn()
	r.client = r.a.Start("client", func(*Process) {})
	r.scope = r.b.Scope().Child("container")
	r.server = NewServer(func(c *Call) {
		if c.Request != "hang" {
			c.Reply("fine")
		}
	})
	r.sockets = r.b.NewSockets(r.scope)
	r.pods["10.244.2.7"] = Socket{r.sockets, r.server.Accept}
	run(t, k, 10*time.Millisecond)
	return r
}

// ask sends a request and returns the answer, how long it took, and the error.
func (r *podRig) ask(addr, request string, within time.Duration) (resp any, took time.Duration, err error) {
	began, ended := r.k.Now(), sim.Time(-1)
	t := NewTransport(r.client, TransportConfig{DialTimeout: within})
	t.Start(addr, request, within, func(a any, e error) { resp, err, ended = a, e, r.k.Now() })
	require.NoError(r.t, r.k.RunUntil(began.Add(within+time.Second)))
	require.GreaterOrEqual(r.t, ended, began)
	t.Close()
	return resp, ended.Sub(began), err
}

func TestAnAddressBehindAMachineIsReachedThroughIt(t *testing.T) {
	r := newPodRig(t)
	resp, took, err := r.ask("10.244.2.7:80", "hello", 10*time.Second)
	require.NoError(t, err)
	assert.Equal(t, "fine", resp)
	assert.Equal(t, 4*time.Millisecond, took)

	r.pods["10.244.2.8"] = Socket{}
	_, took, err = r.ask("10.244.2.8:80", "hello", 10*time.Second)
	require.EqualError(t, err, "dial tcp 10.244.2.8:80: connect: connection refused")
	assert.Equal(t, 2*time.Millisecond, took)

	_, took, err = r.ask("10.0.0.12:80", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrRefused, "beside the pods, nobody listens at the machine's own address")
	assert.Equal(t, 2*time.Millisecond, took)
}

func TestAnAddressThatNobodyHasMeetsSilence(t *testing.T) {
	r := newPodRig(t)
	_, took, err := r.ask("10.96.0.1:443", "hello", 10*time.Second)
	require.EqualError(t, err, "dial tcp 10.96.0.1:443: i/o timeout")
	assert.Equal(t, 10*time.Second, took)
	_, _, err = r.ask("web:80", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrNoRoute)
}

func TestAPodThatIsGoneIsUnreachableOnceItsNodeGivesUpToAskForIt(t *testing.T) {
	r := newPodRig(t)
	_, took, err := r.ask("10.244.2.9:80", "hello", 10*time.Second)
	require.EqualError(t, err, "dial tcp 10.244.2.9:80: connect: no route to host")
	assert.Equal(t, 3*time.Second+2*time.Millisecond, took)
	var second time.Duration
	began := r.k.Now()
	r.client.Dial("10.244.2.9:80", time.Minute, func(*Conn, error) {})
	r.client.Scope().After(2*time.Second, "later", func() {
		r.client.Dial("10.244.2.9:80", time.Minute, func(*Conn, error) { second = r.k.Now().Sub(began) })
	})
	require.NoError(t, r.k.RunUntil(began.Add(time.Minute)))
	assert.Equal(t, 3*time.Second+2*time.Millisecond, second, "who comes later waits for the same answer")

	r.b.PowerOff()
	_, _, err = r.ask("10.244.2.9:80", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrDialTimeout, "a node that is off says nothing")
}

func TestRequestsUnderWayAreBrokenOffWhenTheirContainerEnds(t *testing.T) {
	r := newPodRig(t)
	r.k.Root().After(time.Second, "dies", func() {
		r.sockets.Close()
		r.scope.Kill("exited")
	})
	_, took, err := r.ask("10.244.2.7:80", "hang", 10*time.Second)
	require.ErrorIs(t, err, ErrReset)
	assert.Equal(t, time.Second+time.Millisecond, took)
}

func TestCutsOfMachinesHoldForTheirPods(t *testing.T) {
	r := newPodRig(t)
	r.dc.Cut(r.a, r.b, false)
	_, _, err := r.ask("10.244.2.7:80", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrDialTimeout)
	r.dc.Heal()
	r.k.Root().After(time.Second, "rejected", func() {
		r.dc.Cut(r.a, r.b, true)
		r.dc.Cut(r.b, r.a, true)
	})
	_, took, err := r.ask("10.244.2.7:80", "hang", 10*time.Second)
	require.ErrorIs(t, err, ErrReset)
	assert.Less(t, took, 1100*time.Millisecond)
	_, _, err = r.ask("10.244.2.7:80", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrRefused)
}

func TestAMachinesPacketFilterIsAskedForAddressesThatNoMachineHas(t *testing.T) {
	r := newPodRig(t)
	verdicts := map[string]Verdict{"10.96.0.1": Translated, "10.96.0.2": Rejected, "10.96.0.3": Dropped}
	r.a.Translate(func(host string, port int) (string, Verdict) {
		assert.Equal(t, 443, port)
		return "10.244.2.7:80", verdicts[host]
	})
	resp, _, err := r.ask("10.96.0.1:443", "hello", 10*time.Second)
	require.NoError(t, err)
	assert.Equal(t, "fine", resp)
	_, took, err := r.ask("10.96.0.2:443", "hello", 10*time.Second)
	require.EqualError(t, err, "dial tcp 10.96.0.2:443: connect: connection refused")
	assert.Less(t, took, time.Millisecond)
	_, _, err = r.ask("10.96.0.3:443", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrDialTimeout)
	_, _, err = r.ask("10.96.0.4:443", "hello", 10*time.Second)
	require.ErrorIs(t, err, ErrDialTimeout, "no rule: the packets go nowhere")
}
