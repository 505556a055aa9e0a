package shell

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// lab is machines with nothing on them; faults are written down.
type lab struct {
	kernel *sim.Kernel
	spec   *spec.Cluster
	dc     *hardware.Datacenter
	acts   []string
}

func newLab() *lab {
	l := &lab{kernel: sim.New(1), spec: &spec.Cluster{Kubernetes: "v1.36", Topology: spec.Stacked, ControlPlanes: 3,
		Workers: []spec.Worker{{Name: "worker-1"}, {Name: "worker-2"}}, Zones: []string{"a", "b", "c"}}}
	l.dc = hardware.New(l.kernel, hardware.NetworkConfig{Latency: time.Millisecond})
	for _, m := range l.spec.Machines() {
		l.dc.AddMachine(hardware.MachineSpec{Name: m.Name}).PowerOn()
	}
	return l
}

func (l *lab) Kernel() *sim.Kernel                                   { return l.kernel }
func (l *lab) Spec() *spec.Cluster                                   { return l.spec }
func (l *lab) World() truth.World                                    { return l }
func (l *lab) Machine(name string) *hardware.Machine                 { return l.dc.Machine(name) }
func (l *lab) Faults() Faults                                        { return l }
func (l *lab) Client(_ *hardware.Process, _, _, _ string) api.Client { panic("no API here") }
func (l *lab) Changes() *truth.Changes                               { return &truth.Changes{} }
func (l *lab) Objects(*api.Resource) []api.Object                    { return nil }
func (l *lab) Machines() []truth.Machine                             { return nil }
func (l *lab) Leaders(string) []string                               { return nil }
func (l *lab) APIReady() []truth.Ready                               { return nil }
func (l *lab) Holder(component string) string {
	return map[string]string{"kube-scheduler": "cp-3"}[component]
}
func (l *lab) Etcd() truth.Etcd {
	return truth.Etcd{Leader: "cp-2", Members: []truth.Member{{Name: "cp-1", Machine: "cp-1", Up: true},
		{Name: "cp-2", Machine: "cp-2", Up: true}, {Name: "cp-3", Machine: "cp-3"}}}
}

func (l *lab) note(format string, args ...any) error {
	l.acts = append(l.acts, fmt.Sprintf(format, args...))
	return nil
}

func (l *lab) Crash(m string) error {
	if m == "worker-2" {
		return fmt.Errorf("worker-2 is off")
	}
	l.dc.Machine(m).PowerOff()
	return l.note("crash %s", m)
}
func (l *lab) Start(m string) error                      { return l.note("start %s", m) }
func (l *lab) Reboot(m string, away time.Duration) error { return l.note("reboot %s %s", m, away) }
func (l *lab) Kill(c, m string) error                    { return l.note("kill %s %s", c, m) }
func (l *lab) KillPod(ns, name string) error             { return l.note("kill pod %s/%s", ns, name) }
func (l *lab) Pause(c, m string, d time.Duration) error  { return l.note("pause %q %s %s", c, m, d) }
func (l *lab) Isolate(m string) error                    { return l.note("isolate %s", m) }
func (l *lab) SlowLink(a, b string, d, j time.Duration) error {
	return l.note("slow %s %s %s %s", a, b, d, j)
}
func (l *lab) DropLink(a, b string, perMillion int64) error {
	return l.note("drop %s %s %d", a, b, perMillion)
}
func (l *lab) SlowDisk(m string, d time.Duration) error  { return l.note("slow-disk %s %s", m, d) }
func (l *lab) FullDisk(m string) error                   { return l.note("full-disk %s", m) }
func (l *lab) LoseDisk(m string) error                   { return l.note("lose-disk %s", m) }
func (l *lab) SkewClock(m string, d time.Duration) error { return l.note("skew %s %s", m, d) }
func (l *lab) Heal(machines []string) error              { return l.note("heal %v", machines) }
func (l *lab) Partition(a, b []string, oneWay, reject bool) error {
	return l.note("partition %v %v %t %t", a, b, oneWay, reject)
}

// typed runs a script on a machine and returns how it ended.
func (l *lab) typed(t *testing.T, s *Session, text string) Result {
	t.Helper()
	done := s.Run(text)
	require.NoError(t, l.kernel.RunUntil(l.kernel.Now().Add(time.Hour)))
	require.True(t, done.Done(), "the script has not ended: %s", text)
	var result Result
	done.Then(l.kernel.Root(), func(r Result, _ error) { result = r })
	require.NoError(t, l.kernel.RunUntil(l.kernel.Now()))
	return result
}

func TestShellDoesWhatBashDoes(t *testing.T) {
	for _, test := range []struct {
		script, stdout, stderr string
		exit                   int
	}{
		{script: `echo a "b  c" 'd $X' # comment`, stdout: "a b  c d $X\n"},
		{script: "X=1; export Y='2 3'; echo $X-${Y}-\"$Y\" ${Z:-none}", stdout: "1-2 3-2 3 none\n"},
		{script: "false || echo no && echo yes; false && echo never", stdout: "no\nyes\n", exit: 1},
		{script: "! false; echo $?", stdout: "0\n"},
		{script: "echo one \\\n  two", stdout: "one two\n"},
		{script: "echo hello > f; echo again >> f; cat f | wc -l; cat ~/f", stdout: "2\nhello\nagain\n"},
		{script: "cat <<EOF > g\na $HOME\nb\nEOF\ngrep b g; grep -c . g; grep -q x g || echo none", stdout: "b\n2\nnone\n"},
		{script: "echo $(echo inner | tail -1) x", stdout: "inner x\n"},
		{script: "printf x", stderr: "bash: printf: command not found\n", exit: 127},
		{script: "cat missing", stderr: "cat: missing: No such file or directory\n", exit: 1},
		{script: "echo a; exit 3; echo b", stdout: "a\n", exit: 3},
		{script: "cat nope 2>/dev/null || echo gone", stdout: "gone\n"},
		{script: "ls nope 2>&1 | head -n 1", stdout: "ls: cannot access 'nope': No such file or directory\n"},
		{script: "echo x > /etc/a.conf; cp /etc/a.conf b; mv b c; ls; rm c; cat c", stdout: "c\n",
			stderr: "cat: c: No such file or directory\n", exit: 1},
		{script: "for i in a; do echo; done", stderr: "bash: loops are not part of the command language\n", exit: 2},
		{script: "cd /etc; pwd; hostname", stderr: "bash: cd: /etc: No such file or directory\n", stdout: "/root\nadmin\n"},
		{script: "echo 'a", stderr: "bash: 1:6: reached EOF without closing quote `'`\n", exit: 2},
		{script: "date -u +%T; sleep 1m30s; date +%T", stdout: "00:00:00\n00:01:30\n"},
	} {
		l := newLab()
		got := l.typed(t, NewSession(l, "admin"), test.script)
		assert.Equal(t, Result{test.exit, test.stdout, test.stderr}, got, test.script)
	}
}

func TestFaultsBefallTheirTargets(t *testing.T) {
	for script, acts := range map[string][]string{ // any order: independent
		"fault crash worker-1":                              {"crash worker-1"},
		"fault crash zone/c":                                {"crash cp-3"},
		"fault crash role/worker":                           {"crash worker-1"},
		"fault start role/control-plane":                    {"start cp-1", "start cp-2", "start cp-3"},
		"fault reboot worker-1":                             {"reboot worker-1 1m30s"},
		"fault reboot worker-1 --for 10s":                   {"reboot worker-1 10s"},
		"fault kill etcd@etcd/leader":                       {"kill etcd cp-2"},
		"fault kill pod/web-1 -n shop":                      {"kill pod shop/web-1"},
		"fault kill kubelet@worker-1 kube-proxy@worker-1":   {"kill kubelet worker-1", "kill kube-proxy worker-1"},
		"fault pause cp-1 --for 60s":                        {`pause "" cp-1 1m0s`},
		"fault pause kubelet@worker-1 --for 1m":             {`pause "kubelet" worker-1 1m0s`},
		"fault isolate holder/kube-scheduler":               {"isolate cp-3"},
		"fault partition cp-1,cp-2 role/worker --one-way":   {"partition [cp-1 cp-2] [worker-1 worker-2] true false"},
		"fault partition cp-1 cp-2 --reject":                {"partition [cp-1] [cp-2] false true"},
		"fault slow-link cp-1 worker-1 200ms --jitter 50ms": {"slow cp-1 worker-1 200ms 50ms"},
		"fault drop-link cp-1 worker-1 20%":                 {"drop cp-1 worker-1 200000"},
		"fault slow-disk etcd/followers 500ms":              {"slow-disk cp-1 500ms"},
		"fault full-disk cp-1; fault lose-disk cp-1":        {"full-disk cp-1", "lose-disk cp-1"},
		"fault skew-clock worker-1 -30s":                    {"skew worker-1 -30s"},
		"fault heal":                                        {"heal []"},
		"fault heal worker-1 worker-2":                      {"heal [worker-1 worker-2]"},
	} {
		l := newLab()
		require.Empty(t, Check(script, l.spec), script)
		l.typed(t, NewSession(l, "admin"), script)
		assert.Equal(t, acts, l.acts, script)
	}
}

func TestFaultSaysWhatItCannotDo(t *testing.T) {
	for script, says := range map[string]string{ // any order: independent
		"fault crash worker-2":                         "fault crash: worker-2 is off\n",
		"fault isolate holder/kube-controller-manager": "fault isolate: nobody holds the lock of kube-controller-manager now\n",
		"fault partition cp-1,cp-2 cp-2":               "fault partition: cp-2 is in both groups\n",
		"fault crash $X":                               "fault crash: no target; usage: fault crash TARGET...\n",
		"fault pause cp-1":                             "fault pause: --for is missing or below 0; usage: fault pause COMPONENT@TARGET|TARGET --for 60s\n",
		"fault kill worker-1":                          "fault kill: \"worker-1\": fault kill wants COMPONENT@TARGET or pod/NAME; to power a machine off: fault crash\n",
	} {
		l := newLab()
		got := l.typed(t, NewSession(l, "admin"), script)
		assert.Equal(t, says, got.Stderr, script)
		assert.NotZero(t, got.Exit, script)
	}
}

func TestScriptEndsWithItsMachine(t *testing.T) {
	l := newLab()
	session := NewSession(l, "cp-1")
	got := l.typed(t, session, "echo before; fault crash cp-1; echo after")
	assert.Equal(t, Result{255, "before\n", "Connection to cp-1 closed by remote host.\n"}, got)
	got = l.typed(t, session, "echo x")
	assert.Equal(t, Result{Exit: 255, Stderr: "ssh: connect to host cp-1 port 22: No route to host\n"}, got)
	got = l.typed(t, session, "fault start cp-1")
	assert.Equal(t, Result{}, got, "faults are not typed on the machine")
}

func TestEveryFaultVerbHasAnExampleThatChecks(t *testing.T) {
	for _, v := range faultVerbs() {
		assert.Contains(t, v.usage, "fault "+v.name)
		assert.NotEmpty(t, v.help)
	}
	for _, c := range commands() {
		assert.NotEmpty(t, c.usage, c.name)
		assert.NotEmpty(t, c.help, c.name)
	}
}
