package raft

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

// group is etcd members on machines of their own, and a machine for clients.
type group struct {
	t        testing.TB
	k        *sim.Kernel
	dc       *hardware.Datacenter
	machines []*hardware.Machine
	members  []*hardware.Process
	operator *hardware.Process
	extra    []string // flags
	clients  []*Client
}

func newGroup(t testing.TB, seed uint64, n int, extra ...string) *group {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	g := &group{t: t, k: k, extra: extra}
	g.dc = hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond})
	for i := range n {
		g.addMachine(fmt.Sprintf("m%d", i+1))
	}
	operator := g.dc.AddMachine(hardware.MachineSpec{Name: "operator"})
	operator.PowerOn()
	g.operator = operator.Start("etcdctl", func(*hardware.Process) {})
	g.run(time.Second)
	for i := range n {
		g.start(i, "new", g.names()...)
	}
	return g
}

func (g *group) addMachine(name string) {
	m := g.dc.AddMachine(hardware.MachineSpec{Name: name, Fsync: 2 * time.Millisecond})
	m.PowerOn()
	g.machines = append(g.machines, m)
	g.members = append(g.members, nil)
}

func (g *group) names() (names []string) {
	for _, m := range g.machines {
		names = append(names, m.Name)
	}
	return names
}

func (g *group) start(i int, state string, names ...string) {
	name := g.machines[i].Name
	var cluster []string
	for _, n := range names {
		cluster = append(cluster, n+"=https://"+n+":2380")
	}
	argv := append([]string{"--name=" + name, "--data-dir=/var/lib/etcd", "--listen-peer-urls=https://0.0.0.0:2380",
		"--listen-client-urls=https://0.0.0.0:2379", "--listen-metrics-urls=http://127.0.0.1:2381",
		"--advertise-client-urls=https://" + name + ":2379", "--initial-advertise-peer-urls=https://" + name + ":2380",
		"--initial-cluster=" + strings.Join(cluster, ","), "--initial-cluster-state=" + state}, g.extra...)
	g.members[i] = g.machines[i].Start("etcd", func(p *hardware.Process) { Main(p, argv) })
}

func (g *group) restart(i int) { g.start(i, "new", g.names()...) }

func (g *group) run(d time.Duration) {
	g.t.Helper()
	require.NoError(g.t, g.k.RunUntil(g.k.Now().Add(d)))
}

func (g *group) server(i int) *Server {
	if g.members[i] == nil {
		return nil
	}
	s, _ := g.members[i].View().(*Server)
	return s
}

func (g *group) leader() int {
	for i := range g.members {
		if s := g.server(i); s != nil && s.Role() == "leader" {
			return i
		}
	}
	return -1
}

func (g *group) client(names ...string) *Client {
	var endpoints []string
	for _, n := range names {
		endpoints = append(endpoints, n+":2379")
	}
	c := NewClient(g.operator, ClientConfig{Endpoints: endpoints, KeepAliveTime: 30 * time.Second,
		KeepAliveTimeout: 10 * time.Second})
	g.clients = append(g.clients, c)
	return c
}

// ask sends one request and runs until it is answered.
func (g *group) ask(c *Client, request any, within time.Duration) (any, error) {
	g.t.Helper()
	done := false
	var response any
	var err error
	c.Start(request, within, func(r any, e error) { response, err, done = r, e, true })
	for !done {
		_, stepErr := g.k.Step()
		require.NoError(g.t, stepErr)
	}
	return response, err
}

func (g *group) put(c *Client, key, value string) error {
	_, err := g.ask(c, &PutRequest{Key: []byte(key), Value: []byte(value)}, 5*time.Second)
	return err
}

func (g *group) get(c *Client, key string) (string, error) {
	r, err := g.ask(c, &RangeRequest{Key: []byte(key)}, 5*time.Second)
	if err != nil {
		return "", err
	}
	if kvs := r.(*RangeResponse).Kvs; len(kvs) > 0 {
		return string(kvs[0].Value()), nil
	}
	return "", nil
}
