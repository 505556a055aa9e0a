package condition

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/cluster/truth"
)

func observe(w *world, l *Language) *Observer {
	return l.Bind(&Observer{World: w, Now: func() time.Duration { return 65 * time.Second },
		Traffic: func() map[string]TrafficView {
			return map[string]TrafficView{"web": {OK: 5, Failed: 1, Up: true, LongestOutage: 2 * time.Second}}
		}})
}

func TestEveryNameOfTheLanguageCanBeUsed(t *testing.T) {
	l := New(Names{})
	o := observe(newWorld(), l)
	for _, text := range []string{
		`t > duration("1m") && t < duration("2m")`,
		`nodes["worker-1"].ready == "Unknown"`,
		`nodes["worker-1"].metadata.name == "worker-1"`,
		`"worker-1" in nodes && !("worker-2" in nodes) && nodes.size() == 1`,
		`nodes.all(n, nodes[n].ready != "True")`,
		`machines["worker-1"].up && machines["worker-1"].zone == "a"`,
		`machines["worker-1"].containers.exists(c, c.pod == "web-1-a" && c.running && c.restarts == 2 && c.namespace == "default")`,
		`"kubelet" in machines["worker-1"].processes`,
		`pods.size() == 3 && size(pods) == 3`,
		`podsOf("web").size() == 2 && podsOf("default/web").size() == 2 && podsOf("shop/web").size() == 0`,
		`podsOf("web-1").ready().size() == 2`,
		`pods.on("worker-1").size() == 1 && pods.on("worker-1")[0].metadata.name == "web-1-a"`,
		`pods.running().size() == 2 && pods.pending().size() == 1 && pods.terminating().size() == 1`,
		`podsOf("web").on("worker-2").terminating().size() == 1`,
		`pods.filter(p, p.metadata.name.startsWith("web")).on("worker-2").size() == 1`,
		`pods.exists(p, p.status.phase == "Pending" && p.metadata.name == "lonely")`,
		`pods.exists(p, has(p.metadata.deletionTimestamp))`,
		`pods.exists_one(p, has(p.metadata.deletionTimestamp) && p.metadata.deletionTimestamp < timestamp("2027-01-01T00:00:00Z"))`,
		`pods.all(p, p.metadata.labels["app"] == "web" && p.metadata.labels.app == "web")`,
		`pods.all(p, p.spec.containers[0].image == "nginx")`,
		`!has(pods[0].spec.nodeName)`,
		`pods[1].spec.nodeName != null`,
		`deployments[0].spec.replicas == 3`,
		`deployments.exists(d, d.metadata.name == "web" && d.spec.replicas - 1 == 2)`,
		`services.size() == 0 && statefulsets.size() + daemonsets.size() + endpointslices.size() + leases.size() == 0`,
		`pdbs.size() + configmaps.size() + events.size() == 0`,
		`etcd.leader == "cp-1" && etcd.term == 4 && etcd.quorum && etcd.revision >= 100 && etcd.clusterID == ""`,
		`etcd.members["cp-1"].role == "leader" && etcd.members["cp-1"].up && etcd.members["cp-1"].applied == etcd.members["cp-1"].commit`,
		`leaders("kube-scheduler").size() == 1 && leaders("kube-scheduler")[0] == "cp-2"`,
		`holder("kube-controller-manager") == "cp-1"`,
		`api.ready["cp-1"]`, `api.ready.exists(m, api.ready[m])`,
		`traffic["web"].ok == 5 && traffic["web"].failed == 1 && traffic["web"].up && traffic["web"].longestOutage == duration("2s")`,
	} {
		c, issues := l.Compile(text)
		require.Empty(t, issues, text)
		value, changed := c.Evaluate(o)
		assert.Equal(t, Value{Holds: true}, value, text)
		assert.True(t, changed)
	}
}

func TestMistakesAreFoundBeforeTheRunWithTheirPlace(t *testing.T) {
	l := New(Names{Machines: []string{"cp-1", "worker-1"}, Nodes: []string{"cp-1", "worker-1"}, Traffic: []string{"web"},
		Servers: []string{"cp-1"}})
	for _, test := range []struct {
		text   string
		offset int
		says   string
	}{
		{`pods.size( == 2`, 11, `extraneous input '=='`},
		{`pod.size() == 2`, 0, `undeclared reference to 'pod' (did you mean 'pods'?)`},
		{`nodes["worker-1"].raedy == "True"`, 17, `undefined field 'raedy' (did you mean "ready"?)`},
		{`pods.all(p, p.spec.nodename == "x")`, 18, `undefined field 'nodename' (did you mean "nodeName"?)`},
		{`pods.size() == "2"`, 12, `found no matching overload for '_==_' applied to '(int, string)'`},
		{`pods.on(1).size() == 2`, 7, `found no matching overload for 'on'`},
		{`pods.size()`, 0, `the expression is a number, want a condition: true or false`},
		{`machines["worker-9"].up`, 9, `no machine "worker-9" (did you mean "worker-1"?); there are: cp-1, worker-1`},
		{`t > duration("1m") && pods.on("wroker-1").size() == 0`, 30, `no machine "wroker-1" (did you mean "worker-1"?)`},
		{`leaders("kube-schedular").size() > 0`, 8,
			`no component with a lock "kube-schedular" (did you mean "kube-scheduler"?)`},
		{`traffic["wob"].ok > 1`, 8, `no traffic "wob"`},
		{`api.ready["worker-1"]`, 10, `no API server on "worker-1"`},
		{`leaders(2).size() > 0`, 7, `found no matching overload for 'leaders' applied to '(int)'`},
		{"true &&\n  foo", 10, `undeclared reference to 'foo'`},
		{``, 0, ``},
	} {
		c, issues := l.Compile(test.text)
		require.Nil(t, c, test.text)
		require.NotEmpty(t, issues, test.text)
		assert.Contains(t, issues[0].Message, test.says, test.text)
		if test.says != "" {
			assert.Equal(t, test.offset, issues[0].Offset, test.text)
		}
	}
}

func TestWhatFailsWhileRunningIsFalseAndSaysWhy(t *testing.T) {
	l := New(Names{})
	o := observe(newWorld(), l)
	for text, why := range map[string]string{ // any order: independent
		`nodes["worker-2"].ready == "True"`:               "no such key: worker-2",
		`pods[0].spec.nodeName == "worker-1"`:             "no such key: nodeName",
		`pods[7].spec.nodeName == "worker-1"`:             "index out of bounds: 7",
		`!nodes["worker-1"].spec.unschedulable`:           "no such key: unschedulable",
		`pods[0].metadata.deletionTimestamp == null`:      "no such key: deletionTimestamp",
		`pods[0].status.containerStatuses[0].ready`:       "no such key: containerStatuses",
		`pods[0].metadata.labels["tier"] == "x"`:          "no such key: tier",
		`deployments[0].status.readyReplicas == 0`:        "no such key: readyReplicas",
		`timestamp("nonsense") > timestamp("more of it")`: "",
	} {
		c, issues := l.Compile(text)
		require.Empty(t, issues, text)
		value, _ := c.Evaluate(o)
		assert.False(t, value.Holds, text)
		assert.NotEmpty(t, value.Err, text)
		assert.Contains(t, value.Err, why, text)
		assert.Contains(t, c.Explain(o), why)
	}
}

func TestVariableOfAMacroHidesTheNameOfAnInput(t *testing.T) {
	l := New(Names{})
	c, issues := l.Compile(`nodes.exists(n, has(nodes[n].spec.taints) && nodes[n].spec.taints.exists(t, t.key == "x"))`)
	require.Empty(t, issues)
	assert.False(t, c.Clock, "t is a taint here")
	assert.Equal(t, []truth.Input{truth.Nodes}, c.Inputs)
	c, issues = l.Compile(`pods.filter(t, t.metadata.name == "x").size() == 0 && t > duration("1m")`)
	require.Empty(t, issues)
	assert.True(t, c.Clock)
}

func TestConditionIsEvaluatedOnlyWhenAnInputChanged(t *testing.T) {
	l := New(Names{})
	w := newWorld()
	o := observe(w, l)
	c, issues := l.Compile(`podsOf("web").size() == 2 && etcd.quorum`)
	require.Empty(t, issues)
	assert.Equal(t, []truth.Input{truth.Pods, truth.ReplicaSets, truth.EtcdState}, c.Inputs)
	_, changed := c.Evaluate(o)
	require.True(t, changed)
	w.changes.Touch(truth.Nodes)
	_, changed = c.Evaluate(o)
	assert.False(t, changed)
	w.objects["pods"] = w.objects["pods"][:2]
	w.changes.Touch(truth.Pods)
	value, changed := c.Evaluate(o)
	assert.True(t, changed)
	assert.False(t, value.Holds)
	left, issues := l.Compile(`podsOf("web").size() == 2`)
	require.Empty(t, issues)
	left.Evaluate(o)
	assert.Equal(t, "1", left.Explain(o))
	clock, issues := l.Compile(`t > duration("1s")`)
	require.Empty(t, issues)
	clock.Evaluate(o)
	_, changed = clock.Evaluate(o)
	assert.True(t, changed, "time always moves")
}

func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		New(Names{})
	}
}

func BenchmarkCompile(b *testing.B) {
	l := New(Names{})
	for b.Loop() {
		l.Compile(`nodes["worker-1"].ready == "Unknown" && pods.on("worker-1").all(p, p.status.phase == "Running")`)
	}
}

func BenchmarkEvaluate(b *testing.B) {
	l := New(Names{})
	w := newWorld()
	o := observe(w, l)
	c, _ := l.Compile(`podsOf("web").ready().size() == 2`)
	for b.Loop() {
		w.changes.Touch(truth.Pods)
		c.Evaluate(o)
	}
}
