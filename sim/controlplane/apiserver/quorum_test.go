package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// plane is three machines with an etcd member and an API server each, and a client on another.
type plane struct {
	*bench
	members map[string]*hardware.Process
	servers map[string]*hardware.Process
	exits   map[string]hardware.ExitStatus
	exitsAt map[string]sim.Time
}

func newPlane(t testing.TB, n int) *plane {
	k := sim.New(1)
	t.Cleanup(k.Close)
	config := hardware.NetworkConfig{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond}
	pl := &plane{bench: &bench{t: t, k: k, dc: hardware.New(k, config), release: api.ReleaseOf(api.DefaultMinor)},
		members: map[string]*hardware.Process{}, servers: map[string]*hardware.Process{},
		exits: map[string]hardware.ExitStatus{}, exitsAt: map[string]sim.Time{}}
	for i := range n {
		pl.dc.AddMachine(hardware.MachineSpec{Name: fmt.Sprintf("cp-%d", i+1), Fsync: time.Millisecond}).PowerOn()
	}
	pl.dc.AddMachine(hardware.MachineSpec{Name: "admin"}).PowerOn()
	pl.user = pl.dc.Machine("admin").Start("kubectl", func(*hardware.Process) {})
	for i := range n {
		pl.startEtcd(i + 1)
	}
	pl.run(3 * time.Second)
	return pl
}

func (pl *plane) names() []string {
	var names []string
	for i := range len(pl.dc.Machines()) - 1 {
		names = append(names, fmt.Sprintf("cp-%d", i+1))
	}
	return names
}

func (pl *plane) startEtcd(i int) {
	name := fmt.Sprintf("cp-%d", i)
	var cluster []string
	for _, other := range pl.names() {
		cluster = append(cluster, other+"=https://"+other+":2380")
	}
	argv := []string{"--name=" + name, "--initial-advertise-peer-urls=https://" + name + ":2380",
		"--listen-peer-urls=https://" + name + ":2380", "--advertise-client-urls=https://" + name + ":2379",
		"--listen-client-urls=https://127.0.0.1:2379,https://" + name + ":2379", "--data-dir=/var/lib/etcd",
		"--initial-cluster=" + strings.Join(cluster, ",")}
	pl.members[name] = pl.dc.Machine(name).Start("etcd", func(p *hardware.Process) { raft.Main(p, argv) })
}

func (pl *plane) startServer(i int, argv ...string) *hardware.Process {
	name := fmt.Sprintf("cp-%d", i)
	argv = append([]string{"--etcd-servers=https://127.0.0.1:2379", "--service-cluster-ip-range=10.96.0.0/12"}, argv...)
	p := pl.dc.Machine(name).Start("kube-apiserver", func(p *hardware.Process) { Main(p, argv, pl.release.Version()) })
	p.Wait(pl.k.Root(), func(s hardware.ExitStatus) { pl.exits[name], pl.exitsAt[name] = s, pl.k.Now() })
	pl.servers[name] = p
	return p
}

func (pl *plane) clientOf(name string) api.Client {
	return controlplane.NewClient(pl.user, controlplane.ClientConfig{Server: "https://" + name + ":6443",
		User: "kubernetes-admin", UserAgent: "kubectl/v1.36.0"})
}

// leader names the machine of etcd's leader.
func (pl *plane) leader() string {
	for _, name := range pl.names() {
		if s, ok := pl.members[name].View().(*raft.Server); ok && s.Role() == "leader" {
			return name
		}
	}
	return ""
}

// loseQuorum kills all members but the leader and returns its machine.
func (pl *plane) loseQuorum() string {
	survivor := pl.leader()
	require.NotEmpty(pl.t, survivor)
	for _, name := range pl.names() {
		if name != survivor {
			pl.members[name].Signal(hardware.SIGKILL)
		}
	}
	return survivor
}

// timed sends a request and notes how long it took.
type timed struct {
	took time.Duration
	err  error
	done bool
	resp *api.Response
}

func (pl *plane) send(c api.Client, r *api.Request) *timed {
	began, result := pl.k.Now(), &timed{}
	c.Start(r, func(resp *api.Response, err error) {
		result.took, result.err, result.done, result.resp = pl.k.Now().Sub(began), err, true, resp
	})
	return result
}

func TestThreeServersShareOneStore(t *testing.T) {
	pl := newPlane(t, 3)
	for i := range 3 {
		pl.startServer(i + 1)
	}
	pl.run(8 * time.Second)
	for _, name := range pl.names() {
		require.True(t, pl.servers[name].View().(*View).Ready(), name)
	}
	one, two := pl.clientOf("cp-1"), pl.clientOf("cp-2")
	w := &collected{}
	two.Watch(&api.Request{Verb: api.Watch, Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: "0"},
		func(ev api.WatchEvent) { w.events = append(w.events, ev) }, func(error) {})
	pl.run(time.Second)
	pl.client = one
	resp, err := pl.create(newConfigMap("cm"))
	require.NoError(t, err)
	require.Len(t, w.events, 1)
	assert.Equal(t, pl.k.Trace().WriteOf(api.Revision(resp.Object)), w.events[0].Cause)
	assert.NotZero(t, w.events[0].Cause)
	ep := pl.send(two, &api.Request{Verb: api.Get, Resource: api.Endpoints, Namespace: "default", Name: "kubernetes"})
	pl.run(12 * time.Second)
	require.NoError(t, ep.err)
	ep = pl.send(two, &api.Request{Verb: api.Get, Resource: api.Endpoints, Namespace: "default", Name: "kubernetes"})
	pl.run(time.Second)
	assert.Len(t, endpointIPs(ep.resp.Object.(*corev1.Endpoints)), 3)
}

// The figures are those of truth 08: what each kind of request meets when two of three members are killed.
func TestQuorumLossTimings(t *testing.T) {
	pl := newPlane(t, 3)
	for i := range 3 {
		pl.startServer(i + 1)
	}
	pl.run(10 * time.Second)
	survivor := pl.leader()
	c := pl.clientOf(survivor)
	warm := pl.send(c, &api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	w := &collected{}
	c.Watch(&api.Request{Verb: api.Watch, Resource: api.Pods, ResourceVersion: "0"},
		func(ev api.WatchEvent) { w.events = append(w.events, ev) },
		func(err error) { w.ended, w.err, w.endedAt = true, err, pl.k.Now() })
	pl.run(time.Second)
	require.NoError(t, warm.err)
	t0 := pl.k.Now()
	pl.loseQuorum()
	pl.run(300 * time.Millisecond)
	early := pl.send(c, &api.Request{Verb: api.Create, Resource: api.ConfigMaps, Namespace: "default",
		Object: newConfigMap("a")})
	get := pl.send(c, &api.Request{Verb: api.Get, Resource: api.Pods, Namespace: "default", Name: "bare"})
	list := pl.send(c, &api.Request{Verb: api.List, Resource: api.Pods, Namespace: "default"})
	livez := pl.send(c, &api.Request{Verb: api.Get, Path: "/livez"})
	pl.run(15*time.Second - 300*time.Millisecond)
	late := pl.send(c, &api.Request{Verb: api.Create, Resource: api.ConfigMaps, Namespace: "default",
		Object: newConfigMap("b")})
	cached := pl.send(c, &api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	pl.run(17 * time.Second)
	still := pl.send(c, &api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	pl.run(3500 * time.Millisecond)
	gone := pl.rawTo(survivor, &api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	pl.run(60 * time.Second)

	assert.EqualError(t, early.err, "etcdserver: request timed out")
	assert.InDelta(t, 7.2, early.took.Seconds(), 0.5)
	const inTime = "the server was unable to return a response in the time allotted, but may still be processing the " +
		"request"
	assert.EqualError(t, get.err, inTime+" (get pods bare)")
	assert.InDelta(t, 60, get.took.Seconds(), 0.5)
	assert.EqualError(t, list.err, inTime+" (get pods)")
	assert.InDelta(t, 60, list.took.Seconds(), 0.5)
	require.NoError(t, livez.err)
	assert.Equal(t, 500, livez.resp.Status)
	assert.InDelta(t, 2, livez.took.Seconds(), 0.2)
	assert.EqualError(t, late.err,
		"Timeout: request did not complete within requested timeout - context deadline exceeded")
	assert.InDelta(t, 34, late.took.Seconds(), 0.5)
	require.NoError(t, cached.err)
	assert.Less(t, cached.took, time.Second)
	require.NoError(t, still.err, "32 s after the loss the cache still answers")
	assert.Less(t, still.took, time.Second)
	assert.True(t, apierrors.IsTooManyRequests(gone.err), "%v", gone.err)
	require.True(t, w.ended)
	require.NoError(t, w.err)
	assert.InDelta(t, 34.9, w.endedAt.Sub(t0).Seconds(), 1)
}

// rawTo sends a request without the retries of client-go.
func (pl *plane) rawTo(name string, r *api.Request) *timed {
	r.User = "kubernetes-admin"
	began, result := pl.k.Now(), &timed{}
	hardware.NewTransport(pl.user, hardware.TransportConfig{}).Start(name+":6443", r, 0, func(answer any, err error) {
		result.took, result.err, result.done = pl.k.Now().Sub(began), err, true
		result.resp, _ = answer.(*api.Response)
	})
	return result
}

// The figures are those of truth 16.
func TestServerWithoutAnyMemberExitsAfterTwentySeconds(t *testing.T) {
	pl := newPlane(t, 3)
	for _, name := range pl.names() {
		pl.members[name].Signal(hardware.SIGKILL)
	}
	pl.run(time.Second)
	began := pl.k.Now()
	pl.startServer(1)
	pl.run(time.Second)
	waiting := pl.send(pl.clientOf("cp-1"), &api.Request{Verb: api.Get, Resource: api.Pods, Namespace: "default",
		Name: "x"})
	pl.run(30 * time.Second)
	require.ErrorContains(t, waiting.err, "net/http: TLS handshake timeout", "the port is open, nobody shakes hands")
	assert.InDelta(t, 10, waiting.took.Seconds(), 0.1)
	assert.Equal(t, hardware.ExitStatus{Code: 1, Why: storageFactoryFailed}, pl.exits["cp-1"])
	assert.InDelta(t, 20.5, pl.exitsAt["cp-1"].Sub(began).Seconds(), 0.7)
}

func TestServerThatStartsWithoutQuorumExitsAfterAMinute(t *testing.T) {
	pl := newPlane(t, 3)
	survivor := pl.loseQuorum()
	pl.run(5 * time.Second)
	began := pl.k.Now()
	var number int
	_, err := fmt.Sscanf(survivor, "cp-%d", &number)
	require.NoError(t, err)
	pl.startServer(number)
	pl.run(8 * time.Second)
	livez := pl.send(pl.clientOf(survivor), &api.Request{Verb: api.Get, Path: "/livez"})
	pl.run(62 * time.Second)
	require.True(t, livez.done)
	assert.Equal(t, 500, livez.resp.Status)
	assert.Equal(t, hardware.ExitStatus{Code: 255, Why: repairFailed}, pl.exits[survivor])
	assert.InDelta(t, 62.5, pl.exitsAt[survivor].Sub(began).Seconds(), 2.5)
}

// A stacked server whose own member is dead answers from its caches and lets everything else hang (truth/ha 02a).
func TestServerWhoseOwnMemberIsDeadHangsButKeepsItsCaches(t *testing.T) {
	pl := newPlane(t, 3)
	for i := range 3 {
		pl.startServer(i + 1)
	}
	pl.run(10 * time.Second)
	c := pl.clientOf("cp-2")
	w := &collected{}
	c.Watch(&api.Request{Verb: api.Watch, Resource: api.Pods, ResourceVersion: "0"}, func(api.WatchEvent) {},
		func(err error) { w.ended = true })
	pl.run(time.Second)
	pl.members["cp-2"].Signal(hardware.SIGKILL)
	pl.run(time.Second)
	get := pl.send(c, &api.Request{Verb: api.Get, Resource: api.Pods, Namespace: "default", Name: "bare"})
	write := pl.send(c, &api.Request{Verb: api.Create, Resource: api.ConfigMaps, Namespace: "default",
		Object: newConfigMap("cm"), Within: 10 * time.Second})
	livez := pl.send(c, &api.Request{Verb: api.Get, Path: "/livez"})
	pl.run(70 * time.Second)
	assert.Equal(t, 500, livez.resp.Status)
	assert.InDelta(t, 2, livez.took.Seconds(), 0.5)
	assert.InDelta(t, 10, write.took.Seconds(), 0.1, "%v", write.err)
	assert.InDelta(t, 60, get.took.Seconds(), 0.5, "%v", get.err)
	cached := pl.send(c, &api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	pl.run(time.Second)
	require.NoError(t, cached.err)
	assert.False(t, w.ended, "open watches stay open and silent")
}
