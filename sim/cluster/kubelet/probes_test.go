package kubelet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/hardware"
)

func httpProbe(period, failures int32) *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: period, TimeoutSeconds: 1, FailureThreshold: failures, SuccessThreshold: 1,
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}}}
}

// times returns when the kubelet recorded a reason about a pod, in seconds since t.
func (b *bench) times(object, reason string, since sim.Time) []float64 {
	var list []float64
	for _, e := range b.kernel.Trace().Events() {
		if e.Object == object && e.Reason == reason && e.Component == "kubelet" && e.T >= since {
			list = append(list, e.T.Sub(since).Seconds())
		}
	}
	return list
}

// Recorded in truth/kubelet 10: default probes, failing from 31.2 s: failures at 40.4, 50.4, 60.4, then Killing, and
// the restart right at the exit.
func TestLivenessProbeThatFailsThreeTimesRestartsTheContainer(t *testing.T) {
	b := newBench(t, 1)
	b.run(15 * time.Second)
	pod := testPod("live", "", "healthy=31s stops=2s")
	pod.Spec.Containers[0].LivenessProbe = httpProbe(10, 3)
	at := b.kernel.Now()
	b.put(pod)
	b.run(66 * time.Second)
	unhealthy := b.times("pod/default/live", "Unhealthy", at)
	require.Len(t, unhealthy, 3)
	for i, want := range []float64{40.33, 50.33, 60.33} {
		assert.InDelta(t, want, unhealthy[i], 0.1)
	}
	killing := b.times("pod/default/live", "Killing", at)
	require.Len(t, killing, 1)
	assert.InDelta(t, 60.35, killing[0], 0.1)
	started := b.times("pod/default/live", "Started", at)
	require.Len(t, started, 2)
	assert.InDelta(t, 62.42, started[1], 0.1)
	assert.Equal(t, int32(1), b.pod("live").Status.ContainerStatuses[0].RestartCount)
}

// Recorded in truth/kubelet 10 (liveign, http): the back-off counts from the end of the container before.
func TestBackOffOfALivenessKillCountsFromTheContainerBefore(t *testing.T) {
	b := newBench(t, 1)
	b.run(15 * time.Second)
	pod := testPod("live", "", "healthy=1ms stops=10s")
	pod.Spec.Containers[0].LivenessProbe = httpProbe(5, 1)
	at := b.kernel.Now()
	b.put(pod)
	b.run(3 * time.Minute)
	started := b.times("pod/default/live", "Started", at)
	require.GreaterOrEqual(t, len(started), 5)
	for i := 1; i < 4; i++ {
		assert.InDelta(t, 15, started[i]-started[i-1], 0.6, "%v", started)
	}
	assert.Greater(t, started[4]-started[3], 34.0, "%v", started)
}

func TestReadinessFollowsItsProbe(t *testing.T) {
	b := newBench(t, 1)
	b.run(15 * time.Second)
	pod := testPod("ready", "", "ready=25s")
	pod.Spec.Containers[0].ReadinessProbe = httpProbe(10, 3)
	at := b.kernel.Now()
	b.put(pod)
	b.run(60 * time.Second)
	b.requireLife("ready", at, line{0, 0, "Pending"}, line{0, 0.05, creating}, line{0.3, 0.35, sandbox},
		line{0.36, 0.5, unready + "c#0:running"}, line{25, 36, runs + "c#0:running"})
}

func TestStartupProbeHoldsTheOthersBack(t *testing.T) {
	b := newBench(t, 1)
	b.run(15 * time.Second)
	pod := testPod("slow", "", "ready=33s")
	pod.Spec.Containers[0].StartupProbe = httpProbe(5, 10)
	pod.Spec.Containers[0].LivenessProbe = httpProbe(5, 1)
	pod.Spec.Containers[0].ReadinessProbe = httpProbe(10, 3)
	at := b.kernel.Now()
	b.put(pod)
	b.run(60 * time.Second)
	assert.Empty(t, b.times("pod/default/slow", "Killing", at))
	assert.Len(t, b.times("pod/default/slow", "Unhealthy", at), 6)
	life := b.life("slow", at)
	assert.Regexp(t, `^35\.3\d `+runs, life[len(life)-1])
}

// A component is asked over the machine's network; an answer of 500 counts as failure.
func TestProgramsAreProbedForReal(t *testing.T) {
	b := newBench(t, 1)
	healthy := true
	program := func(p *hardware.Process, _ []string) {
		_, err := p.Serve(8080, func(c *hardware.Call) {
			status := 200
			if !healthy {
				status = 500
			}
			c.Reply(&api.Response{Status: status})
		})
		require.NoError(t, err)
	}
	b.runtime = containerd.New(b.machine, containerd.Options{Programs: map[string]containerd.Program{"app": program}})
	b.run(15 * time.Second)
	pod := testPod("program", "", "")
	pod.Spec.HostNetwork = true
	pod.Spec.Containers[0].LivenessProbe = httpProbe(10, 8)
	pod.Spec.Containers[0].ReadinessProbe = httpProbe(1, 3)
	at := b.kernel.Now()
	b.put(pod)
	b.run(30 * time.Second)
	assert.Regexp(t, `^0\.\d+ `+runs, b.life("program", at)[4])
	healthy = false
	at = b.kernel.Now()
	b.run(100 * time.Second)
	life := b.life("program", at)
	assert.Regexp(t, `^[23]\.\d+ `+unready, life[0])
	killing := b.times("pod/default/program", "Killing", at)
	require.Len(t, killing, 1)
	assert.InDelta(t, 75, killing[0], 6, "8 failures, 10 s apart")
	assert.NotEmpty(t, b.times("pod/default/program", "Started", at))
}

// What cannot change is not asked: an hour of a pod with three probes costs a few events.
func TestProbesOfAHealthyServerCostNothing(t *testing.T) {
	b := newBench(t, 1)
	b.run(15 * time.Second)
	b.run(time.Hour)
	idle := b.kernel.Steps()
	b.run(time.Hour)
	idle = b.kernel.Steps() - idle
	pod := testPod("app", "", "")
	pod.Spec.Containers[0].LivenessProbe, pod.Spec.Containers[0].ReadinessProbe = httpProbe(1, 3), httpProbe(1, 3)
	b.put(pod)
	b.run(time.Minute)
	steps := b.kernel.Steps()
	b.run(time.Hour)
	assert.Less(t, b.kernel.Steps()-steps, idle+200)
}
