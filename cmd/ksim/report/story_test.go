package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
)

var update = flag.Bool("update", false, "write the golden files anew; read the difference before keeping it")

// nodeFailure is a run made by hand: one worker loses power, its pods move, it comes back empty.
func nodeFailure() *Run {
	web := func(name, node string) PodState {
		return PodState{Name: "pod/default/web-7c9d-" + name, Node: node, Owner: "replicaset/default/web-7c9d",
			Workload: "web", Ready: true}
	}
	agent := func(name, node string) PodState {
		return PodState{Name: "pod/default/agent-" + name, Node: node, Owner: "daemonset/default/agent",
			Workload: "agent", Ready: true}
	}
	run := &Run{
		Name: "node-failure", Title: "A worker dies, and its pods move five minutes later", Seed: 1,
		Cluster: "v1.36, 3 stacked control planes, 4 workers in zones a b c",
		Lesson:  "A node's death costs **two** waits, not one:\n\n1. until it is noticed\n2. until its pods are given up",
		Start:   sim.Time(time.Minute), Duration: 12 * time.Minute, Wall: 90 * time.Millisecond, Passed: true,
		Before: &Snapshot{EtcdLeader: "cp-2",
			Holders: []Holder{{"kube-controller-manager", "cp-1"}, {"kube-scheduler", "cp-3"}},
			Nodes:   []NodeState{{"worker-1", "True"}, {"worker-2", "True"}, {"worker-3", "True"}, {"worker-4", "True"}},
			Pods: []PodState{web("x2k9p", "worker-1"), web("aaaaa", "worker-2"), web("bbbbb", "worker-3"),
				web("ccccc", "worker-4"), {Name: "pod/default/lonely", Node: "worker-1", Workload: "lonely", Ready: true},
				agent("k4f2z", "worker-1"), agent("22222", "worker-2"), agent("33333", "worker-3"),
				agent("44444", "worker-4")}},
		Steps: []Step{{Name: "worker-1 loses power", Command: "fault crash worker-1", T: time.Minute},
			{Name: "it returns", Command: "fault start worker-1", T: 8 * time.Minute}},
		Expectations: []Expectation{
			{Name: "NotReady comes a grace period after the last heartbeat", Passed: true, T: 110 * time.Second,
				Detail: "1:50, wanted 1:43 to 1:55"},
			{Name: "the ReplicaSet's pod is replaced", Passed: true, T: 412 * time.Second,
				Detail: "after 5 min 50 s without it"}},
	}
	at := func(t time.Duration) sim.Time { return run.Start.Add(t) }
	for _, p := range run.Before.Pods {
		life := &PodLife{PodState: p, Created: run.Start, Scheduled: run.Start, Ready: run.Start, Marked: never, Gone: never}
		if name := short(p.Name); name == "web-7c9d-x2k9p" || name == "lonely" {
			life.Marked, life.Gone = at(410100*time.Millisecond), at(512*time.Second)
		}
		run.Pods = append(run.Pods, life)
	}
	run.Pods = append(run.Pods, &PodLife{PodState: web("q8s4n", "worker-3"), Created: at(410120 * time.Millisecond),
		Scheduled: at(410200 * time.Millisecond), Ready: at(412 * time.Second), Marked: never, Gone: never})
	run.Changes = []Change{{run.Start, "leader", "etcd", "cp-2"}, {run.Start, "leader", "kube-scheduler", "cp-3"},
		{at(time.Minute), "machine", "worker-1", "down"}, {at(110 * time.Second), "node", "worker-1", "Unknown"},
		{at(8 * time.Minute), "machine", "worker-1", "up"}, {at(511 * time.Second), "node", "worker-1", "True"}}
	add := func(t time.Duration, e sim.Event) sim.EventID {
		e.T, e.Seq = run.Start.Add(t), sim.EventID(len(run.Trace)+1)
		run.Trace = append(run.Trace, e)
		return e.Seq
	}
	kcm := func(e sim.Event) sim.Event {
		e.Machine, e.Component = "cp-1", "kube-controller-manager"
		return e
	}
	heartbeat := add(59300*time.Millisecond, sim.Event{Level: sim.Routine, Reason: "Updated", Machine: "cp-2",
		Component: "kube-apiserver", Object: "lease/kube-node-lease/worker-1"})
	crash := add(time.Minute, sim.Event{Level: sim.Fault, Reason: "MachineCrashed", Object: "machine/worker-1",
		Machine: "worker-1", Message: "worker-1 lost power"})
	unknown := add(110*time.Second, kcm(sim.Event{Level: sim.Story, Reason: "NodeNotReady", Object: "node/worker-1",
		Message: "Node worker-1 status is now: NodeNotReady: no heartbeat seen",
		Cause:   crash, Since: heartbeat,
		Wait: 50 * time.Second, Setting: "node-monitor-grace-period"}))
	add(110*time.Second, kcm(sim.Event{Level: sim.Story, Reason: "PodsMarkedNotReady", Object: "node/worker-1",
		Message: "3 pods on worker-1 no longer counted as ready", Cause: unknown}))
	taint := add(110100*time.Millisecond, kcm(sim.Event{Level: sim.Story, Reason: "TaintAdded", Object: "node/worker-1",
		Message: "taint node.kubernetes.io/unreachable:NoExecute added: the patience of its pods starts to run",
		Cause:   unknown}))
	for _, pod := range []string{"web-7c9d-x2k9p", "lonely"} {
		evicted := add(410100*time.Millisecond, kcm(sim.Event{Level: sim.Story, Reason: "TaintManagerEviction",
			Object: "pod/default/" + pod, Message: "Marking for deletion Pod default/" + pod, Cause: taint, Since: taint,
			Wait: 300 * time.Second, Setting: "tolerationSeconds"}))
		if pod != "lonely" {
			add(410120*time.Millisecond, kcm(sim.Event{Level: sim.Story, Reason: "SuccessfulCreate", Cause: evicted,
				Object: "replicaset/default/web-7c9d", Related: "pod/default/web-7c9d-q8s4n",
				Message: "Created pod: web-7c9d-q8s4n"}))
		}
	}
	add(410200*time.Millisecond, sim.Event{Level: sim.Story, Reason: "Scheduled", Object: "pod/default/web-7c9d-q8s4n",
		Machine: "cp-3", Component: "kube-scheduler", Related: "node/worker-3",
		Message: "Successfully assigned default/web-7c9d-q8s4n to worker-3"})
	start := add(480*time.Second, sim.Event{Level: sim.Fault, Reason: "MachineStarted", Object: "machine/worker-1",
		Machine: "worker-1", Message: "worker-1 is powered on"})
	ready := add(511*time.Second, sim.Event{Level: sim.Story, Reason: "NodeReady", Object: "node/worker-1", Cause: start,
		Machine: "worker-1", Component: "kubelet", Message: "node worker-1 is ready: kubelet is posting ready status"})
	add(513*time.Second, kcm(sim.Event{Level: sim.Story, Reason: "TaintRemoved", Object: "node/worker-1", Cause: ready,
		Message: "taint node.kubernetes.io/unreachable:NoExecute removed: the node is Ready again"}))
	add(600*time.Second, kcm(sim.Event{Level: sim.Story, Reason: "SomethingNobodyForesaw", Object: "pod/default/lonely",
		Message: "a thing happened."}))
	return run
}

// TestStoryOfANodeFailure: the whole report at 80 columns, without colour. Read it aloud.
func TestStoryOfANodeFailure(t *testing.T) {
	for name, style := range map[string]Style{"node-failure.txt": {Width: 80}, "node-failure-wide.txt": {Width: 120},
		"node-failure-narrow.txt": {Width: 44}, "node-failure-color.txt": {Width: 80, Color: true}} {
		var out bytes.Buffer
		Text(&out, nodeFailure(), style)
		golden(t, name, out.Bytes())
		if !style.Color {
			for _, line := range bytes.Split(out.Bytes(), []byte("\n")) {
				if !bytes.Contains(line, []byte("ksim why")) { // commands are for copying
					assert.LessOrEqual(t, len([]rune(string(line))), style.Width, "%s: %s", name, line)
				}
			}
		}
	}
}

// TestWhyReachesTheFault: from the deletion of a pod back to the power loss, with the waits between.
func TestWhyReachesTheFault(t *testing.T) {
	run := nodeFailure()
	event, ok := EventOf(run, "pod/default/web-7c9d-x2k9p", 7*time.Minute)
	require.True(t, ok)
	var out bytes.Buffer
	WhyText(&out, run, Why(run, event.Seq, false), Style{Width: 80})
	golden(t, "why.txt", out.Bytes())
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), name)
}

// TestFindSubjectIsLoose: people name objects in full, without the namespace, by name alone, or by a beginning.
func TestFindSubjectIsLoose(t *testing.T) {
	subjects := []string{"node/worker-1", "pod/default/web-1", "pod/default/web-10", "machine/worker-1"}
	assert.Equal(t, []string{"pod/default/web-1"}, FindSubject("pod/default/web-1", subjects))
	assert.Equal(t, []string{"pod/default/web-1"}, FindSubject("pod/web-1", subjects))
	assert.Equal(t, []string{"pod/default/web-1"}, FindSubject("web-1", subjects))
	assert.Equal(t, []string{"pod/default/web-1", "pod/default/web-10"}, FindSubject("pod/web", subjects))
	assert.Equal(t, []string{"node/worker-1", "machine/worker-1"}, FindSubject("worker-1", subjects))
	assert.Empty(t, FindSubject("db", subjects))
}

func TestSpansReadAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		3 * time.Millisecond: "3 ms", 300 * time.Millisecond: "0.3 s", 50 * time.Second: "50 s",
		50700 * time.Millisecond: "50.7 s", 300 * time.Second: "300 s", 350 * time.Second: "5 min 50 s",
		12 * time.Minute: "12 min", 125 * time.Minute: "2 h 5 min"} {
		assert.Equal(t, want, spanText(d))
	}
	assert.Equal(t, "worker-1..4", ranges([]string{"worker-1", "worker-2", "worker-3", "worker-4"}))
	assert.Equal(t, "worker-1, worker-2 and worker-4", ranges([]string{"worker-1", "worker-2", "worker-4"}))
	assert.Equal(t, "8,100", thousands(significant(8123)))
}
