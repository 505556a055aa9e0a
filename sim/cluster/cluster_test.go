package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
)

// specOf makes a spec with the defaults of the scenario format.
func specOf(topology spec.Topology, install spec.Install, workers int) *spec.Cluster {
	s := &spec.Cluster{Kubernetes: "v1.36", Install: install, Topology: topology, ControlPlanes: 3,
		Zones:        []string{"a", "b", "c"},
		LoadBalancer: &spec.LoadBalancer{Check: "/healthz", Inter: 2 * time.Second, Fall: 3, Rise: 2, Timeout: time.Hour},
		Network: spec.Network{Latency: 500 * time.Microsecond, Jitter: 200 * time.Microsecond,
			BetweenZones: time.Millisecond},
		Fsync: time.Millisecond}
	if topology == spec.Single {
		s.ControlPlanes, s.LoadBalancer = 1, nil
	}
	if topology == spec.External {
		s.Etcd = 3
	}
	for i := 1; i <= workers; i++ {
		s.Workers = append(s.Workers, spec.Worker{Name: fmt.Sprintf("worker-%d", i)})
	}
	return s
}

// settled reports what a cluster still lacks to be ready: etcd's leader, API servers, locks, Ready nodes; "" nothing.
func settled(c *Cluster) string {
	w := c.World()
	if e := w.Etcd(); e.Leader == "" {
		return "no etcd leader"
	}
	for _, r := range w.APIReady() {
		if !r.Ready {
			return "API server of " + r.Machine + " not ready"
		}
	}
	for _, component := range electedComponents {
		if len(w.Leaders(component)) == 0 {
			return "no leader of " + component
		}
	}
	ready := 0
	for _, object := range w.Objects(api.Nodes) {
		for _, condition := range object.(*corev1.Node).Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	want := len(c.spec.Workers)
	if c.spec.Install == spec.Kubeadm {
		want += c.spec.ControlPlanes
	}
	if ready < want {
		return fmt.Sprintf("%d of %d nodes ready", ready, want)
	}
	return ""
}

// start runs a new cluster until it is ready.
func start(t testing.TB, seed uint64, s *spec.Cluster) *Cluster {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	c, err := New(k, s)
	require.NoError(t, err)
	changes := c.World().Changes()
	last := ^uint64(0)
	lacks := "nothing was looked at"
	for k.Now() < sim.Time(10*time.Minute) {
		_, err := k.Step()
		require.NoError(t, err)
		if changes.Total == last {
			continue
		}
		last = changes.Total
		if lacks = settled(c); lacks == "" {
			return c
		}
	}
	dump(t, k, 0)
	require.Empty(t, lacks, "after %s", k.Now())
	return c
}

// dump logs the trace from an event on.
func dump(t testing.TB, k *sim.Kernel, from sim.EventID) {
	for _, e := range k.Trace().Events() {
		if e.Seq >= from && e.Level != sim.Routine {
			t.Logf("%s %d<-%d %s/%s %s %s %s", e.T, e.Seq, e.Cause, e.Machine, e.Component, e.Reason, e.Object, e.Message)
		}
	}
}

func TestEveryTopologyAndInstallationComesUp(t *testing.T) {
	for _, topology := range []spec.Topology{spec.Single, spec.Stacked, spec.External} {
		for _, install := range []spec.Install{spec.Kubeadm, spec.Systemd} {
			t.Run(string(topology)+"/"+string(install), func(t *testing.T) {
				c := start(t, 1, specOf(topology, install, 2))
				require.Less(t, c.kernel.Now().Duration(), 3*time.Minute)
			})
		}
	}
}

var _ truth.World = (*world)(nil)

// Under systemd without a balancer nobody asks an API server for its health; what an observer sees follows etcd all the
// same, both ways.
func TestReadinessOfAServerThatNobodyAsksFollowsEtcd(t *testing.T) {
	s := specOf(spec.External, spec.Systemd, 0)
	s.ControlPlanes, s.LoadBalancer = 1, nil
	c := start(t, 1, s)
	ready := func() bool { return c.World().APIReady()[0].Ready }
	runFor(t, c, 30*time.Second)
	require.True(t, ready())
	require.NoError(t, c.faults.Crash("etcd-1"))
	require.NoError(t, c.faults.Crash("etcd-2"))
	runFor(t, c, 10*time.Second)
	require.False(t, ready())
	require.NoError(t, c.faults.Start("etcd-1"))
	runFor(t, c, time.Minute)
	require.True(t, ready())
}
