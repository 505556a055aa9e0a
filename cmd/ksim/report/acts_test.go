package report

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
)

// acts is a run in which a zone is crashed, links are cut and the zones' state is told.
func acts() *Run {
	run := &Run{Name: "acts", Source: "acts", Seed: 1, Duration: 3 * time.Minute, Passed: true, Steps: []Step{
		{Name: "cut", Command: "fault partition worker-1,worker-2 cp-1", T: time.Minute},
		{Name: "get", Command: "kubectl get nodes", Stdout: "NAME     STATUS\nworker-1 Ready\n", T: 90 * time.Second},
		{Name: "zone", Command: "fault isolate zone/a", T: 2 * time.Minute}}}
	add := func(t time.Duration, e sim.Event) {
		e.T, e.Seq = sim.Time(t), sim.EventID(len(run.Trace)+1)
		run.Trace = append(run.Trace, e)
	}
	add(0, sim.Event{Level: sim.Story, Reason: "Ready", Object: "scenario/acts", Message: "the cluster is ready"})
	cut := func(t time.Duration, message string, machines ...string) {
		for _, m := range machines {
			add(t, sim.Event{Level: sim.Fault, Reason: "Cut", Object: "machine/" + m, Machine: m, Message: message, Cause: 1})
		}
	}
	cut(time.Minute, "worker-1, worker-2 and cp-1 cannot reach each other", "worker-1", "worker-2", "cp-1")
	cut(2*time.Minute, "zone a is cut off", "worker-3", "worker-4")
	add(150*time.Second, sim.Event{Level: sim.Story, Reason: "ZoneStateChanged", Machine: "cp-1", Cause: 2,
		Component: "kube-controller-manager", Object: "controller/node-lifecycle-controller",
		Message: "zone a is in FullDisruption"})
	return run
}

func TestFaultIsToldOnceAndNotWhereTheCommandNamesIt(t *testing.T) {
	var text bytes.Buffer
	Text(&text, acts(), Style{Width: 80})
	assert.NotContains(t, text.String(), "cannot reach", "the command says it already")
	assert.Equal(t, 1, bytes.Count(text.Bytes(), []byte("zone a is cut off")), text.String())
	assert.Contains(t, text.String(), "  NAME     STATUS\n", "a table keeps its columns")
	assert.Contains(t, text.String(), "2:30  controllers  zone a is in FullDisruption")
}

func TestHintAsksForWhatHasACause(t *testing.T) {
	hints := Hints(acts())
	require.Len(t, hints, 1)
	assert.Equal(t, "ksim why acts controller/node-lifecycle-controller", hints[0].Command)
}

func TestEvictionByTimeoutSpeaksOfNoTaint(t *testing.T) {
	run := acts()
	run.Trace = append(run.Trace, sim.Event{Seq: sim.EventID(len(run.Trace) + 1), T: sim.Time(170 * time.Second),
		Level: sim.Story, Reason: "NodeControllerEviction", Object: "pod/default/p", Related: "node/worker-1", Cause: 2,
		Since: 1, Wait: 5 * time.Minute, Setting: "pod-eviction-timeout", Component: "kube-controller-manager"})
	var text bytes.Buffer
	Text(&text, run, Style{Width: 120})
	assert.Contains(t, text.String(), "nothing had been heard of the node for 300 s (pod-eviction-timeout)")
	assert.NotContains(t, text.String(), "tolerated")
}
