package hardware

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
)

// relay joins each connection to port 80 of its machine with one to "server:80", by forward.
func relay(t *testing.T, m *Machine, forward func(from, to *Conn), note func(what string)) *Process {
	return m.Start("relay", func(p *Process) {
		_, err := p.Listen(80, func(client *Conn) {
			var server *Conn
			client.OnClose(func(err error) {
				note(fmt.Sprint("relay: client ", err))
				if server != nil {
					server.Close()
				}
			})
			p.Dial("server:80", time.Second, func(conn *Conn, err error) {
				if err != nil {
					client.Abort()
					return
				}
				server = conn
				server.OnClose(func(err error) {
					note(fmt.Sprint("relay: server ", err))
					client.Close()
				})
				forward(server, client)
				forward(client, server)
			})
		})
		require.NoError(t, err)
	})
}

type met struct {
	what string
	at   sim.Time
}

// rig is a client, a proxy and a server, and what each of them has met and when.
type rig struct {
	k         *sim.Kernel
	dc        *Datacenter
	log       []met
	processes [3]*Process
	transport *Transport
	stream    *Call
	asked     int
}

func newRig(t *testing.T, forward func(from, to *Conn)) *rig {
	k := sim.New(1)
	t.Cleanup(k.Close)
	r := &rig{k: k, dc: New(k, NetworkConfig{Latency: time.Millisecond})}
	for _, name := range [...]string{"client", "proxy", "server"} {
		r.dc.AddMachine(MachineSpec{Name: name}).PowerOn()
	}
	r.start(t, forward)
	return r
}

func (r *rig) note(what string) {
	r.log = append(r.log, met{fmt.Sprintf("%s because of %d", what, r.k.Cause()), r.k.Now()})
}

// start starts what does not run.
func (r *rig) start(t *testing.T, forward func(from, to *Conn)) {
	for i, m := range r.dc.Machines() {
		m.PowerOn()
		if p := r.processes[i]; p != nil && p.Alive() {
			continue
		}
		switch m.Name {
		case "client":
			r.processes[i] = m.Start("client", func(*Process) {})
			r.transport = NewTransport(r.processes[i], TransportConfig{})
		case "proxy":
			r.processes[i] = relay(t, m, forward, r.note)
		case "server":
			r.processes[i] = m.Start("server", func(p *Process) {
				_, err := p.Serve(80, func(c *Call) {
					r.note(fmt.Sprint("server: ", c.Request))
					if c.Request == "stream" {
						r.stream = c
						return
					}
					c.Reply(c.Request)
				})
				require.NoError(t, err)
			})
		}
	}
}

// act does one thing that may happen to a connection.
func (r *rig) act(t *testing.T, what int, forward func(from, to *Conn)) {
	machines := r.dc.Machines()
	m := machines[what%3]
	p := r.processes[what%3]
	switch what / 3 {
	default:
		r.asked++
		id := fmt.Sprint("request ", r.asked)
		r.transport.Start("proxy:80", id, 0, func(resp any, err error) { r.note(fmt.Sprint("client: ", id, resp, err)) })
	case 1:
		r.transport.Stream("proxy:80", "stream", func(msg any) { r.note(fmt.Sprint("client: ", msg)) },
			func(err error) { r.note(fmt.Sprint("client: stream ", err)) })
	case 2:
		if r.stream != nil {
			r.stream.Send(fmt.Sprint("message at ", r.k.Now()))
		}
	case 3:
		m.Freeze()
	case 4:
		p.Signal(SIGSTOP)
	case 5:
		r.dc.Isolate(m)
	case 6:
		r.dc.Cut(m, machines[(what+1)%3], false)
	case 7:
		r.dc.SlowLink(m, machines[(what+2)%3], 300*time.Microsecond, 0)
	case 8:
		p.Signal(SIGKILL)
	case 9:
		m.PowerOff()
	case 10, 11, 12, 13:
		for i, m := range machines {
			m.Thaw()
			r.processes[i].Signal(SIGCONT)
		}
		r.dc.Heal()
		r.start(t, forward)
	}
}

// stepwise forwards as if nobody knew that it is a proxy: each frame stops there, and pings are sent.
func stepwise(from, to *Conn) { from.deliverTo((*forwarder)(to)) }

func TestWhatIsComputedEndsAsWhatIsSent(t *testing.T) {
	for seed := range uint64(200) {
		var logs [2][]met
		var steps [2]uint64
		for i, forward := range [...]func(from, to *Conn){stepwise, (*Conn).Forward} {
			r, random := newRig(t, forward), rand.New(rand.NewPCG(seed, 1))
			at := 10 * time.Millisecond
			for n := range 150 {
				switch random.IntN(12) {
				case 0:
					at += time.Duration(random.Int64N(int64(80 * time.Second)))
				case 1, 2:
					at += time.Duration(random.Int64N(int64(5 * time.Millisecond)))
				default:
					at += time.Duration(random.Int64N(int64(500 * time.Microsecond)))
				}
				what, calm := random.IntN(42), random.IntN(100) < 60
				if calm {
					what = []int{0, 0, 3, 6, 6, 6, 30}[what%7]
				}
				run(t, r.k, at)
				r.k.Root().After(0, "act", func() {
					r.k.Because(sim.EventID(1000 + n))
					r.act(t, what, forward)
				})
				run(t, r.k, at)
			}
			run(t, r.k, at+10*time.Minute)
			logs[i], steps[i] = r.log, r.k.Steps()
			slices.SortStableFunc(r.log, func(a, b met) int { return strings.Compare(a.what, b.what) })
		}
		require.Len(t, logs[1], len(logs[0]), "seed %d", seed)
		for i, one := range logs[0] { // the answer to a ping that was on its way may come later by a round trip
			other := logs[1][i]
			require.Equal(t, one.what, other.what, "seed %d", seed)
			require.LessOrEqual(t, other.at.Sub(one.at).Abs(), 5*time.Millisecond, "seed %d: %s", seed, one.what)
		}
		require.LessOrEqual(t, steps[1], steps[0])
	}
}
