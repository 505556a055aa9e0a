package scenarios

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
	"ksim/sim/shell"
)

// notFaked panics.
type notFaked struct{ shell.Faults }

// fakeCluster is machines without Kubernetes: what crashes is down, and everything else is as one wants to have it.
type fakeCluster struct {
	notFaked
	kernel  *sim.Kernel
	spec    *spec.Cluster
	dc      *hardware.Datacenter
	changes truth.Changes
}

func buildFake(k *sim.Kernel, s *spec.Cluster) (shell.Cluster, error) {
	c := &fakeCluster{kernel: k, spec: s, dc: hardware.New(k, hardware.NetworkConfig{Latency: time.Millisecond})}
	for _, m := range s.Machines() {
		c.dc.AddMachine(hardware.MachineSpec{Name: m.Name, Zone: m.Zone}).PowerOn()
	}
	k.Root().After(10*time.Second, "ready", func() { c.changes.Touch(truth.EtcdState) })
	return c, nil
}

func (c *fakeCluster) Kernel() *sim.Kernel                   { return c.kernel }
func (c *fakeCluster) Spec() *spec.Cluster                   { return c.spec }
func (c *fakeCluster) World() truth.World                    { return c }
func (c *fakeCluster) Machine(name string) *hardware.Machine { return c.dc.Machine(name) }
func (c *fakeCluster) Faults() shell.Faults                  { return c }
func (c *fakeCluster) Client(*hardware.Process, string, string, string) api.Client {
	panic("no API in a fake cluster")
}
func (c *fakeCluster) Changes() *truth.Changes            { return &c.changes }
func (c *fakeCluster) Objects(*api.Resource) []api.Object { return nil }
func (c *fakeCluster) Leaders(string) []string            { return []string{"cp-1"} }
func (c *fakeCluster) Holder(string) string               { return "cp-1" }
func (c *fakeCluster) APIReady() []truth.Ready            { return []truth.Ready{{Machine: "cp-1", Ready: true}} }
func (c *fakeCluster) Machines() []truth.Machine {
	var all []truth.Machine
	for _, m := range c.dc.Machines() {
		all = append(all, truth.Machine{Name: m.Name, Up: m.Up()})
	}
	return all
}

func (c *fakeCluster) Etcd() truth.Etcd {
	if c.kernel.Now() < sim.Time(10*time.Second) {
		return truth.Etcd{}
	}
	return truth.Etcd{Leader: "cp-1", Quorum: true}
}

func (c *fakeCluster) act(machine, reason string, do func(m *hardware.Machine)) error {
	m := c.dc.Machine(machine)
	c.kernel.Root().Emit(sim.Event{Level: sim.Fault, Reason: reason, Object: "machine/" + machine})
	do(m)
	c.changes.Touch(truth.Machines)
	return nil
}

func (c *fakeCluster) Crash(machine string) error {
	if !c.dc.Machine(machine).Up() {
		return fmt.Errorf("%s is off", machine)
	}
	return c.act(machine, "Crash", (*hardware.Machine).PowerOff)
}

func (c *fakeCluster) Start(machine string) error {
	return c.act(machine, "Start", (*hardware.Machine).PowerOn)
}

func (c *fakeCluster) Reboot(machine string, away time.Duration) error {
	c.kernel.Root().After(away, "on", func() { _ = c.Start(machine) })
	return c.Crash(machine)
}

func play(t *testing.T, text string, options Options) *Result {
	t.Helper()
	s, err := Parse(Source{Name: "t.yaml", Data: []byte(text)})
	require.NoError(t, err)
	options.Build = buildFake
	_, result, err := Play(s, options)
	require.NoError(t, err)
	return result
}

// Systemd control planes are no Nodes, so the fake cluster is ready without any.
const head = "ksim: 1\nname: t\ncluster: {install: systemd, workers: 0}\n"

const machines = "ksim: 1\nname: t\ncluster: {install: systemd, topology: external, controlPlanes: 1, etcd: 3, workers: 0, zones: [a, b]}\n"

func verdicts(r *Result) string {
	var b strings.Builder
	for _, e := range r.Expectations {
		fmt.Fprintf(&b, "%s %s %s\n", e.Name, e.Verdict, e.Detail)
	}
	return b.String()
}

func TestExpectationsAreJudgedByTheirWindows(t *testing.T) {
	r := play(t, machines+`
duration: 10m
steps:
  - {name: off, at: 1m, run: fault crash etcd-1}
  - {name: "on", at: 3m, run: fault start etcd-1}
expect:
  - {name: inside, eventually: '!machines["etcd-1"].up', between: [1m, 2m]}
  - {name: too early, eventually: '!machines["etcd-1"].up', between: [2m, 3m]}
  - {name: too late, eventually: '!machines["etcd-1"].up', between: [0s, 59s]}
  - {name: whenever, eventually: '!machines["etcd-1"].up'}
  - {name: up to the crash, always: 'machines["etcd-1"].up', between: [0s, 1m]}
  - {name: all the time off, always: '!machines["etcd-1"].up', between: [1m, 3m]}
  - {name: not always up, always: 'machines["etcd-1"].up'}
  - {name: never off, never: '!machines["etcd-1"].up'}
  - {name: never off later, never: '!machines["etcd-1"].up', between: [3m, 10m]}
  - {name: back, finally: 'machines["etcd-1"].up'}
  - {name: half way, at: 2m, that: 'machines.filter(m, machines[m].up).size() == 4'}
  - {name: no such key, finally: 'traffic.size() > 0 || etcd.members["x"].up'}
  - {name: clock, eventually: 't >= duration("5m")', between: [5m, 5m]}
`, Options{})
	require.Equal(t, `inside pass 1:00, wanted 1:00 to 2:00
too early fail already at 1:00, wanted 2:00 to 3:00
too late fail not by 0:59, wanted 0:00 to 0:59
whenever pass 1:00
up to the crash pass from 0:00 to 1:00
all the time off pass from 1:00 to 3:00
not always up fail not any more at 1:00, wanted to the end
never off fail held at 1:00, wanted never
never off later pass not once by 10:00
back pass 10:00
half way pass 2:00 (4)
no such key fail not at 10:00 (no such key: x)
clock pass 5:00, wanted 5:00 to 5:00
`, verdicts(r))
	require.Equal(t, Fail, r.Verdict)
	require.Equal(t, Seconds(600), r.Duration)
}

func TestStepsRunInOrderAtTheirTimes(t *testing.T) {
	r := play(t, head+`
steps:
  - {name: a, after: 30s, run: "sleep 10 && date +%T > now && cat now"}
  - {name: b, after: 5s, run: fault reboot cp-1 --for 1m, background: false}
  - {name: c, when: 'machines["cp-1"].up && t > duration("50s")', run: "echo back; exit 3", exit: 3, output: ^back}
  - {name: d, run: sleep 1000, background: true}
  - {name: e, after: 1s, run: "false"}
  - {name: f, when: "etcd.term == 7", timeout: 5s, run: "true"}
`, Options{})
	var told []string
	for _, s := range r.Steps {
		told = append(told, fmt.Sprintf("%s %v %d %s", s.Name, float64(s.T), s.Exit, s.Stdout))
	}
	require.Equal(t, []string{"a 30 0 00:00:50\n", "b 45 0 ", "c 105 3 back\n", "d 105 -1 ", "e 106 1 "}, told)
	require.Equal(
		t,
		"step e fail 1:46 exited 1, wanted 0: \nstep f fail 1:51 did not begin: its condition did not hold within 5s (0)\n",
		verdicts(r),
	)
	require.Equal(t, Seconds(111+120), r.Duration, "two minutes after the last step should have begun")
}

func TestEveryStepIsAnActOfTheOutsideWorldAndCausesItsFaults(t *testing.T) {
	r := play(t, machines+`
steps:
  - {name: first, at: 1m, run: fault crash etcd-1 etcd-2}
  - {name: second, at: 2m, run: fault crash etcd-1, exit: 1, output: etcd-1 is off}
  - {name: third, at: 3m, run: fault start zone/b}
`, Options{})
	require.Equal(t, Pass, r.Verdict, verdicts(r))
	causes := map[uint64]EventResult{}
	var acts []string
	for _, e := range r.Events {
		causes[e.Seq] = e
		if e.T <= 0 {
			continue
		}
		acts = append(acts, fmt.Sprintf("%v %s %s <- %s", float64(e.T), e.Reason, e.Object, causes[e.Cause].Object))
	}
	require.Equal(
		t,
		[]string{"60 Step step/first <- ", "60 Crash machine/etcd-1 <- step/first", "60 Crash machine/etcd-2 <- step/first",
			"120 Step step/second <- ", "180 Step step/third <- ", "180 Start machine/etcd-2 <- step/third"},
		acts,
	)
}

func TestSameScenarioAndSeedGiveTheSameBytes(t *testing.T) {
	text := head + "steps:\n  - {name: a, at: 1m, run: fault crash cp-1}\n"
	first, err := json.Marshal(play(t, text, Options{}))
	require.NoError(t, err)
	again, err := json.Marshal(play(t, text, Options{Progress: func(time.Duration) bool { return true }}))
	require.NoError(t, err)
	require.Equal(t, string(first), string(again))
	require.Contains(
		t,
		string(first),
		`{"scenario":"t","seed":1,"kubernetes":"v1.36","duration":180.0,"verdict":"pass","digest":"`,
	)
	require.Contains(
		t,
		string(first),
		`"steps":[{"name":"a","t":60.0,"command":"fault crash cp-1","exit":0,"stdout":"","stderr":""}]`,
	)
}

func TestRunThatIsEndedEarlyLeavesTheRestOpen(t *testing.T) {
	r := play(t, head+`
duration: 10m
steps: [{name: a, at: 5m, run: fault crash cp-1}]
expect:
  - {name: later, eventually: '!machines["cp-1"].up', between: [5m, 6m]}
  - {name: always, always: 'machines["admin"].up'}
  - {name: early, at: 1m, that: 'machines["cp-1"].up'}
`, Options{Until: 2 * time.Minute})
	require.Equal(
		t,
		"later open the run was ended at 2:00\nalways open the run was ended at 2:00\nearly pass 1:00\n",
		verdicts(r),
	)
	require.Equal(t, Pass, r.Verdict)
	require.Equal(t, Seconds(120), r.Duration)
}

func TestClusterThatNeverGetsReadyIsStuckAndSaysWhatItLacks(t *testing.T) {
	s, err := Parse(Source{Name: "t.yaml", Data: []byte("ksim: 1\nname: t\ncluster: {workers: 1}\n")})
	require.NoError(t, err)
	_, _, err = Play(s, Options{Build: buildFake})
	require.EqualError(t, err,
		"stuck: the cluster is not ready after 15m: node cp-1 is not Ready; node worker-1 is not Ready")
}
