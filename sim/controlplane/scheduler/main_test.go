package scheduler

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/controlplane/internal/fakeapi"
	"ksim/sim/hardware"
)

// control is a data centre with one API server and machines that run kube-scheduler.
type control struct {
	*world
	dc  *hardware.Datacenter
	api *hardware.Process
}

func newControl(t *testing.T, seed uint64, schedulers ...string) *control {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	c := &control{world: &world{t: t, kernel: k, server: fakeapi.New(k)},
		dc: hardware.New(k, hardware.NetworkConfig{Latency: time.Millisecond})}
	lb := c.dc.AddMachine(hardware.MachineSpec{Name: "lb-1"})
	lb.PowerOn()
	c.api = lb.Start("kube-apiserver", c.serve)
	for _, name := range schedulers {
		m := c.dc.AddMachine(hardware.MachineSpec{Name: name})
		m.PowerOn()
		m.Disk().WriteFileSync("/etc/kubernetes/scheduler.conf",
			controlplane.Kubeconfig("https://lb-1:6443", "system:kube-scheduler"))
	}
	c.put(node("worker-1", "a"))
	return c
}

// serve answers HTTP-like calls from the fake API server.
func (c *control) serve(p *hardware.Process) {
	client := &binder{c.server.Client(p.Scope()), c.world}
	_, err := p.Serve(6443, func(call *hardware.Call) {
		r := call.Request.(*api.Request)
		if r.Verb == api.Watch {
			call.OnCancel(client.Watch(r, func(e api.WatchEvent) { call.Send(&e) }, func(err error) {
				if err != nil {
					call.Fail(err)
				} else {
					call.Reply(nil)
				}
			}))
			return
		}
		client.Start(r, func(resp *api.Response, err error) {
			if err != nil {
				call.Fail(err)
			} else {
				call.Reply(resp)
			}
		})
	})
	require.NoError(c.t, err)
}

func (c *control) start(machine, version string, args ...string) (p *hardware.Process, ended *hardware.ExitStatus) {
	argv := append([]string{"--kubeconfig=/etc/kubernetes/scheduler.conf", "--leader-elect=true"}, args...)
	p = c.dc.Machine(machine).Start("kube-scheduler", func(p *hardware.Process) { Main(p, argv, version) })
	ended = &hardware.ExitStatus{Code: -100}
	p.Wait(c.kernel.Root(), func(s hardware.ExitStatus) { *ended = s })
	return p, ended
}

func (c *control) holder() string {
	lease, ok := c.server.Get(api.Leases, "kube-system", "kube-scheduler").(*coordinationv1.Lease)
	if !ok || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

func leads(p *hardware.Process) bool {
	view, ok := p.View().(*View)
	return ok && view.IsLeader()
}

func TestSIGTERMHandsTheLeaseOver(t *testing.T) {
	c := newControl(t, 1, "cp-1", "cp-2")
	first, ended := c.start("cp-1", "v1.36")
	c.run(5 * time.Second)
	second, _ := c.start("cp-2", "v1.36")
	c.run(10 * time.Second)
	require.True(t, leads(first))
	require.False(t, leads(second))
	first.Signal(hardware.SIGTERM)
	c.run(100 * time.Millisecond)
	assert.Equal(t, 0, ended.Code)
	assert.Empty(t, c.holder(), "released")
	c.run(4400 * time.Millisecond)
	assert.True(t, leads(second), "at its next look, at most 4.4 s later")
	c.put(pod("web-1", 100))
	c.run(time.Second)
	assert.Equal(t, "worker-1", c.nodeOf("web-1"))
}

func TestSIGTERMBeforeV122KeepsTheLease(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	p, ended := c.start("cp-1", "v1.21")
	c.run(5 * time.Second)
	p.Signal(hardware.SIGTERM)
	c.run(time.Second)
	assert.Equal(t, 143, ended.Code, "it does not handle the signal")
	assert.NotEmpty(t, c.holder())
}

// apiserver pkg/server/signal.go: the second signal exits directly.
func TestASecondSIGTERMEndsTheReleaseOfTheLease(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	p, ended := c.start("cp-1", "v1.36")
	c.run(5 * time.Second)
	c.server.Hang = func(*api.Request) bool { return true }
	p.Signal(hardware.SIGTERM)
	c.run(time.Second)
	require.True(t, p.Alive(), "it tries to release for 5 s")
	p.Signal(hardware.SIGTERM)
	c.run(time.Second)
	assert.Equal(t, 1, ended.Code)
}

// K@1.36:cmd/kube-scheduler/app/server.go Run: an error after the scheduler has run is what it returns.
func TestSIGTERMWithoutLeaderElectionIsAnError(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	p, ended := c.start("cp-1", "v1.36", "--leader-elect=false")
	c.run(5 * time.Second)
	require.True(t, leads(p))
	p.Signal(hardware.SIGTERM)
	c.run(time.Second)
	assert.Equal(t, hardware.ExitStatus{Code: 1, Why: "finished without leader elect"}, *ended)
}

func TestKilledSchedulersLeaseMustExpire(t *testing.T) {
	c := newControl(t, 1, "cp-1", "cp-2")
	first, _ := c.start("cp-1", "v1.36")
	c.run(5 * time.Second)
	second, _ := c.start("cp-2", "v1.36")
	c.run(10 * time.Second)
	first.Signal(hardware.SIGKILL)
	c.put(pod("web-1", 100))
	c.run(12 * time.Second)
	require.False(t, leads(second))
	require.Empty(t, c.nodeOf("web-1"))
	c.run(12 * time.Second)
	assert.True(t, leads(second))
	assert.Equal(t, "worker-1", c.nodeOf("web-1"), "what was created meanwhile is scheduled at once")
	var told sim.Event
	for _, e := range c.kernel.Trace().Events() {
		if e.Reason == "Scheduled" {
			told = e
		}
	}
	lead := c.kernel.Trace().Event(c.causeNamed(told.Seq, "LeaderElection"))
	assert.Equal(t, "cp-2", lead.Machine, "it waited for a scheduler to lead")
}

// causeNamed follows an event's causes to one of that reason.
func (c *control) causeNamed(id sim.EventID, reason string) sim.EventID {
	for id != 0 {
		e := c.kernel.Trace().Event(id)
		if e.Reason == reason {
			return id
		}
		id = e.Cause
	}
	require.Fail(c.t, "no cause "+reason)
	return 0
}

// The API server is gone: renewals are tried for 10 s, releasing takes 5 s more, then the process ends with 1.
func TestLostLeaseExitsWithOne(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	p, ended := c.start("cp-1", "v1.36")
	c.run(5 * time.Second)
	require.True(t, leads(p))
	c.server.Hang = func(*api.Request) bool { return true }
	c.run(9 * time.Second)
	require.True(t, p.Alive())
	c.run(10 * time.Second)
	assert.Equal(t, 1, ended.Code)
	assert.Equal(t, "Leaderelection lost", ended.Why)
}

// Caches are filled before the lease is competed for: a scheduler that cannot list does not lead.
func TestCachesComeBeforeTheLease(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	c.server.Hang = func(r *api.Request) bool { return r.Verb == api.List && r.Resource == api.StorageClasses }
	p, _ := c.start("cp-1", "v1.36")
	c.run(time.Minute)
	assert.False(t, leads(p))
	assert.Empty(t, c.holder())
}

func TestFlagsOfScheduler(t *testing.T) {
	for _, tc := range []struct {
		version, flag, why string
	}{
		{"v1.36", "--nonsense", "Error: unknown flag: --nonsense"},
		{"v1.23", "--pod-max-in-unschedulable-pods-duration=1m",
			"Error: unknown flag: --pod-max-in-unschedulable-pods-duration"},
		{"v1.36", "--kube-api-qps=many",
			`Error: invalid argument "many" for "--kube-api-qps" flag: strconv.ParseFloat: parsing "many": invalid syntax`},
		{"v1.36", "--config=/none", "open /none: "},
	} {
		c := newControl(t, 1, "cp-1")
		_, ended := c.start("cp-1", tc.version, tc.flag)
		c.run(time.Second)
		assert.Equal(t, 1, ended.Code, tc.flag)
		assert.Contains(t, ended.Why, tc.why)
	}
	modelled, accepted := Flags(api.ReleaseOf(36))
	assert.Contains(t, modelled, "leader-elect")
	assert.Contains(t, accepted, "feature-gates")
}

func TestConfigurationFile(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	require.NoError(t, c.dc.Machine("cp-1").Disk().WriteFileSync("/etc/kubernetes/scheduler.yaml", []byte(`
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: /etc/kubernetes/scheduler.conf}
leaderElection: {leaderElect: false}
podMaxBackoffSeconds: 3
`)))
	p := c.dc.Machine("cp-1").Start("kube-scheduler", func(p *hardware.Process) {
		Main(p, []string{"--config=/etc/kubernetes/scheduler.yaml"}, "v1.36")
	})
	c.put(pod("web-1", 100))
	c.run(2 * time.Second)
	assert.Equal(t, "worker-1", c.nodeOf("web-1"))
	assert.Empty(t, c.holder())
	assert.Equal(t, 3*time.Second, p.View().(*View).Scheduler.options.PodMaxBackoff)
}

// What the events.k8s.io API makes of a scheduler's events: no source, a reporting instance, a series for repetitions.
func TestEventObjects(t *testing.T) {
	c := newControl(t, 1, "cp-1")
	c.start("cp-1", "v1.36")
	c.run(5 * time.Second)
	c.put(pod("web-1", 100))
	c.put(pod("nowhere", 0, nodeSelector("nobody", "here")))
	c.run(time.Second)
	for range 3 {
		c.update(node("worker-1", "a", tainted("x", corev1.TaintEffectPreferNoSchedule)))
		c.run(12 * time.Second)
		c.update(node("worker-1", "a"))
		c.run(12 * time.Second)
	}
	kinds := map[string]int{}
	for _, obj := range c.server.List(api.Events) {
		e := obj.(*corev1.Event)
		if e.Reason == "LeaderElection" {
			assert.Equal(t, "default-scheduler", e.Source.Component)
			continue
		}
		kinds[e.Reason+" "+e.Action]++
		assert.Equal(t, "default-scheduler", e.ReportingController)
		assert.Equal(t, "default-scheduler-cp-1", e.ReportingInstance)
		assert.Empty(t, e.Source.Component)
		assert.False(t, e.EventTime.IsZero())
		assert.True(t, e.LastTimestamp.IsZero())
		assert.NotEmpty(t, e.InvolvedObject.ResourceVersion)
		if e.Series != nil {
			kinds["series"]++
			assert.Equal(t, int32(2), e.Series.Count, "later ones are counted in memory")
		}
	}
	// The first refusal changes the pod; what is said of the new version is another event, then a series of it.
	assert.Equal(t, map[string]int{"Scheduled Binding": 1, "FailedScheduling Scheduling": 2, "series": 1}, kinds)
}
