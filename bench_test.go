package ksim_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/cmd/ksim/memory"
	"ksim/scenarios"
	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// The budgets of docs/performance.md. `go test -bench . -run '^$' .` measures them all.

// BenchmarkKernelEvent is one event of the kernel: scheduled, queued among a thousand, run.
func BenchmarkKernelEvent(b *testing.B) {
	k := sim.New(1)
	defer k.Close()
	for i := range 1000 {
		k.Root().After(time.Duration(i+1)*time.Hour, "later", func() {})
	}
	n := 0
	var next func()
	next = func() {
		if n++; n < b.N {
			k.Root().After(time.Microsecond, "next", next)
		}
	}
	next()
	b.ReportAllocs()
	b.ResetTimer()
	require.NoError(b, k.RunUntil(sim.Time(b.N)*sim.Time(time.Microsecond)))
}

// BenchmarkKernelTimers is one event of the kernel as a cluster has them: a packet of half a millisecond sets a
// time-out of ten seconds or more, among thousands, and stops an earlier one.
func BenchmarkKernelTimers(b *testing.B) {
	k := sim.New(1)
	defer k.Close()
	random := k.Rand("benchmark")
	var pending [5000]sim.Timer
	never := func() { b.Fail() }
	n := 0
	var next func()
	next = func() {
		if n++; n >= b.N {
			return
		}
		t := &pending[random.IntN(len(pending))]
		t.Stop()
		*t = k.Root().After(10*time.Second+time.Duration(random.IntN(30_000))*time.Millisecond, "time-out", never)
		k.Root().After(500*time.Microsecond+time.Duration(random.IntN(200_000)), "packet", next)
	}
	for range 20 { // packets on the wires
		next()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n < b.N {
		if _, err := k.Step(); err != nil { // require costs more than the event
			b.Fatal(err)
		}
	}
}

// BenchmarkCall is one request and its answer between two machines, on a connection that is there.
func BenchmarkCall(b *testing.B) {
	k := sim.New(1)
	defer k.Close()
	dc := hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
	machine := func(name string, main func(*hardware.Process)) {
		m := dc.AddMachine(hardware.MachineSpec{Name: name})
		m.PowerOn()
		m.Start(name, main)
	}
	machine("server", func(p *hardware.Process) {
		_, err := p.Serve(80, func(c *hardware.Call) { c.Reply(c.Request) })
		require.NoError(b, err)
	})
	answered := 0
	machine("client", func(p *hardware.Process) {
		t := hardware.NewTransport(p, hardware.TransportConfig{})
		var next func(any, error)
		next = func(any, error) {
			if answered++; answered <= b.N {
				t.Start("server:80", "hello", 10*time.Second, next)
			}
		}
		next(nil, nil)
	})
	b.ReportAllocs()
	b.ResetTimer()
	for answered <= b.N {
		if _, err := k.Step(); err != nil { // require costs more than the event
			b.Fatal(err)
		}
	}
}

// group is three etcd members and a client process on a fourth machine.
func group(b *testing.B) (*sim.Kernel, *raft.Client) {
	k := sim.New(1)
	b.Cleanup(k.Close)
	dc := hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond})
	members := "m1=https://m1:2380,m2=https://m2:2380,m3=https://m3:2380"
	for _, name := range []string{"m1", "m2", "m3"} {
		m := dc.AddMachine(hardware.MachineSpec{Name: name, Fsync: time.Millisecond})
		m.PowerOn()
		m.Start("etcd", func(p *hardware.Process) {
			raft.Main(p, []string{"--name=" + name, "--data-dir=/var/lib/etcd", "--initial-cluster=" + members,
				"--initial-advertise-peer-urls=https://" + name + ":2380", "--listen-peer-urls=https://" + name + ":2380",
				"--listen-client-urls=https://" + name + ":2379", "--advertise-client-urls=https://" + name + ":2379"})
		})
	}
	admin := dc.AddMachine(hardware.MachineSpec{Name: "admin"})
	admin.PowerOn()
	var client *raft.Client
	admin.Start("client", func(p *hardware.Process) {
		client = raft.NewClient(p, raft.ClientConfig{Endpoints: []string{"m1:2379"}})
	})
	require.NoError(b, k.RunUntil(sim.Time(10*time.Second)))
	return k, client
}

// BenchmarkRaftCommit is one write of 500 bytes through three members, from the client's call to its answer.
func BenchmarkRaftCommit(b *testing.B) {
	k, client := group(b)
	value := make([]byte, 500)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		done := false
		client.Start(&raft.PutRequest{Key: []byte("/registry/leases/kube-node-lease/worker-1"), Value: value}, time.Minute,
			func(_ any, err error) {
				require.NoError(b, err)
				done = true
			})
		for !done {
			if _, err := k.Step(); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkNodeFailure is a whole run of the scenario, and, as x-bare-raft, how many times its three members alone
// cost for the same virtual time.
func BenchmarkNodeFailure(b *testing.B) {
	source, err := scenarios.Builtin("node-failure")
	require.NoError(b, err)
	scenario, err := scenarios.Parse(source)
	require.NoError(b, err)
	var virtual time.Duration
	b.ReportAllocs()
	began := cpuTime()
	for b.Loop() {
		run, result, err := scenarios.Play(scenario, scenarios.Options{})
		require.NoError(b, err)
		require.Equal(b, "pass", string(result.Verdict))
		virtual = run.Kernel.Now().Duration()
	}
	whole := (cpuTime() - began) / time.Duration(b.N)
	k, _ := group(b)
	const rounds = 10
	began = cpuTime()
	require.NoError(b, k.RunUntil(k.Now().Add(rounds*virtual)))
	bare := (cpuTime() - began) / rounds
	b.ReportMetric(float64(whole)/float64(bare), "x-bare-raft")
	b.ReportMetric(virtual.Seconds()*float64(time.Second)/float64(whole), "x-life")
}

// BenchmarkZoneLoss500 is 500 nodes with 10,000 pods in five zones that come up, lose a zone with all its machines (a
// control plane among them) and settle: every pod runs elsewhere. It reports the rate against life, and the memory that
// the process holds in the end.
func BenchmarkZoneLoss500(b *testing.B) { zoneLoss(b, 500, 10_000) }

// BenchmarkZoneLoss5000 is the largest cluster that Kubernetes supports: 5,000 nodes, 150,000 pods.
func BenchmarkZoneLoss5000(b *testing.B) {
	if testing.Short() {
		b.Skip("takes minutes")
	}
	zoneLoss(b, 5000, 150_000)
}

func zoneLoss(b *testing.B, nodes, pods int) {
	keeper := memory.Keep()
	for b.Loop() {
		began := cpuTime()
		k := sim.New(1)
		c, err := cluster.New(k, largeSpec(nodes))
		require.NoError(b, err)
		step := func(within time.Duration, done func() bool) {
			limit := k.Now().Add(within)
			for !done() {
				for range 60 {
					require.NoError(b, k.RunUntil(k.Now().Add(time.Second)))
					keeper.Look()
				}
				require.Less(b, k.Now(), limit)
			}
		}
		step(10*time.Minute, func() bool { return countNodes(c) == nodes+3 })
		createDeployments(b, c, pods)
		step(30*time.Minute, func() bool { return countRunning(c) == pods })
		for _, m := range c.Spec().Machines() {
			if c.Machine(m.Name).Zone == "a" {
				require.NoError(b, c.Faults().Crash(m.Name))
			}
		}
		step(time.Hour, func() bool { return countRunning(c) == pods })
		cost := cpuTime() - began
		var memory runtime.MemStats
		runtime.ReadMemStats(&memory)
		b.ReportMetric(float64(k.Now())/float64(cost), "x-life")
		b.ReportMetric(float64(memory.Sys)/(1<<20), "MiB")
		k.Close()
	}
}

func largeSpec(nodes int) *spec.Cluster {
	s := &spec.Cluster{Kubernetes: "v1.36", Install: spec.Kubeadm, Topology: spec.Stacked, ControlPlanes: 3,
		Zones:        []string{"a", "b", "c", "d", "e"},
		LoadBalancer: &spec.LoadBalancer{Check: "/healthz", Inter: 2 * time.Second, Fall: 3, Rise: 2, Timeout: time.Hour},
		Network:      spec.Network{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond}, Fsync: time.Millisecond}
	for i := range nodes {
		s.Workers = append(s.Workers, spec.Worker{Name: fmt.Sprintf("worker-%d", i+1), CPU: "32", Memory: "64Gi"})
	}
	return s
}

// createDeployments makes ten Deployments with that many pods in all.
func createDeployments(b *testing.B, c *cluster.Cluster, pods int) {
	done := 0
	c.Machine(spec.Admin).Start("kubectl", func(process *hardware.Process) {
		client := c.Client(process, "https://lb-1:6443", "kubernetes-admin", "kubectl/v1.36.0")
		for i := range 10 {
			name, replicas := fmt.Sprintf("app-%d", i), int32(pods/10)
			labels := map[string]string{"app": name}
			surge := intstr.FromInt32(0)
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
				Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
					Strategy: appsv1.DeploymentStrategy{RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: &surge}},
					Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
						Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.local/app:1"}}}}}}
			client.Start(&api.Request{Verb: api.Create, Resource: api.Deployments, Namespace: "default", Name: name, Object: d},
				func(_ *api.Response, err error) {
					require.NoError(b, err)
					done++
				})
		}
	})
	for done < 10 {
		_, err := c.Kernel().Step()
		require.NoError(b, err)
	}
}

func countNodes(c *cluster.Cluster) int {
	n := 0
	for _, object := range c.World().Objects(api.Nodes) {
		for _, condition := range object.(*corev1.Node).Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}

// countRunning counts the pods that run on machines that are up, as far as the API knows, and are wanted.
func countRunning(c *cluster.Cluster) int {
	n := 0
	for _, object := range c.World().Objects(api.Pods) {
		pod := object.(*corev1.Pod)
		if pod.Namespace == "default" && pod.Status.Phase == corev1.PodRunning && pod.DeletionTimestamp == nil &&
			c.Machine(pod.Spec.NodeName).Up() {
			n++
		}
	}
	return n
}
