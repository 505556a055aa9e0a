package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane/internal/fakeapi"
	"ksim/sim/hardware"
)

// world is a scheduler before an API server that does what it is told.
type world struct {
	t      testing.TB
	kernel *sim.Kernel
	server *fakeapi.Server
	s      *Scheduler
	// bindError, when set, is asked before each binding.
	bindError func(pod string) error
	// deciding, when set, is told of each binding before it is sent.
	deciding func(pod string)
	bound    []string // pod -> node, in order
	uid      int
}

// binder adds the binding subresource to the fake API server.
type binder struct {
	api.Client
	w *world
}

func (b *binder) Start(r *api.Request, done func(*api.Response, error)) api.Cancel {
	if r.Subresource != "binding" {
		return b.Client.Start(r, done)
	}
	if b.w.deciding != nil {
		b.w.deciding(r.Name)
	}
	b.Scope().After(b.w.server.Latency, "binding", func() {
		binding := r.Object.(*corev1.Binding)
		var err error
		if b.w.bindError != nil {
			err = b.w.bindError(r.Name)
		}
		if err == nil {
			err = b.w.bind(r.Namespace, r.Name, binding.Target.Name)
		}
		b.Scope().After(b.w.server.Latency, "bound", func() { done(&api.Response{}, err) })
	})
	return func() {}
}

func (w *world) bind(namespace, name, node string) error {
	old, ok := w.server.Get(api.Pods, namespace, name).(*corev1.Pod)
	if !ok {
		return apierrors.NewNotFound(api.Pods.GroupResource(), name)
	}
	if old.Spec.NodeName != "" {
		return apierrors.NewConflict(api.Pods.GroupResource(), name,
			fmt.Errorf("pod %s is already assigned to node %q", name, old.Spec.NodeName))
	}
	pod := old.DeepCopy()
	pod.Spec.NodeName = node
	start := metav1.NewTime(hardware.WallTime(w.kernel.Now()))
	pod.Status.StartTime = &start
	w.server.Put(pod)
	w.bound = append(w.bound, name+" "+node)
	return nil
}

func newWorld(t testing.TB, seed uint64, minor int) *world {
	return newWorldWith(t, seed, newFlags(api.ReleaseOf(minor)).Options, minor)
}

func newWorldWith(t testing.TB, seed uint64, options Options, minor int) *world {
	w := &world{t: t, kernel: sim.New(seed)}
	t.Cleanup(w.kernel.Close)
	w.server = fakeapi.New(w.kernel)
	scope := w.kernel.Root().Child("kube-scheduler").Label("cp-1", "kube-scheduler")
	w.s = New(&binder{w.server.Client(scope), w}, api.ReleaseOf(minor), options, func() time.Time {
		return hardware.WallTime(w.kernel.Now())
	})
	scope.Go("kube-scheduler", func(p *sim.Proc) {
		w.s.Start(p)
		w.s.Run(p)
	})
	w.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default",
		Labels: map[string]string{"kubernetes.io/metadata.name": "default"}}})
	return w
}

func (w *world) put(obj api.Object) {
	if obj.GetUID() == "" {
		w.uid++
		obj.SetUID(types.UID(fmt.Sprintf("uid-%d", w.uid)))
	}
	w.server.Put(obj)
}

func (w *world) run(d time.Duration) {
	w.t.Helper()
	require.NoError(w.t, w.kernel.RunUntil(w.kernel.Now().Add(d)))
}

// node makes a node with 4 cores, 8 GiB and 110 pods.
func node(name, zone string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		corev1.LabelHostname: name, corev1.LabelTopologyZone: zone}}}
	n.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"),
		corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("110")}
	for _, fn := range change {
		fn(n)
	}
	return n
}

func tainted(key string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Effect: effect}) }
}

func controlPlane(n *corev1.Node) {
	tainted("node-role.kubernetes.io/control-plane", corev1.TaintEffectNoSchedule)(n)
}

func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }

// pod makes a pod of app web that asks for some CPU.
func pod(name string, milliCPU int64, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name,
		Labels: map[string]string{"app": "web"}}}
	c := corev1.Container{Name: "c", Image: "nginx:1.28"}
	if milliCPU > 0 {
		c.Resources.Requests = corev1.ResourceList{
			corev1.ResourceCPU: *resource.NewMilliQuantity(milliCPU, resource.DecimalSI)}
	}
	p.Spec.Containers = []corev1.Container{c}
	p.Spec.SchedulerName = "default-scheduler"
	p.Status.Phase = corev1.PodPending
	for _, fn := range change {
		fn(p)
	}
	return p
}

func priority(n int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &n } }

func on(node string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = node } }

func nodeSelector(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{key: value} }
}

func (w *world) pod(name string) *corev1.Pod {
	p, _ := w.server.Get(api.Pods, "default", name).(*corev1.Pod)
	return p
}

// nodeOf returns where a pod runs, "" if nowhere.
func (w *world) nodeOf(name string) string {
	if p := w.pod(name); p != nil {
		return p.Spec.NodeName
	}
	return ""
}

func (w *world) message(name string) string {
	for _, c := range w.pod(name).Status.Conditions {
		if c.Type == corev1.PodScheduled {
			return c.Message
		}
	}
	return ""
}

// attempts returns when FailedScheduling was told of a pod, in seconds.
func (w *world) attempts(name string) (at []float64) {
	for _, e := range w.kernel.Trace().Events() {
		if e.Reason == "FailedScheduling" && e.Object == "pod/default/"+name {
			at = append(at, float64(e.T.Duration().Round(10*time.Millisecond))/1e9)
		}
	}
	return at
}

func (w *world) update(obj api.Object) { w.server.Put(obj) }

// course is the cluster that the recorded texts come from: cp-1 and worker-1..4 in zones a, b and c.
func (w *world) course() {
	w.put(node("cp-1", "a", controlPlane))
	for i, zone := range []string{"a", "b", "c", "b"} {
		w.put(node(fmt.Sprintf("worker-%d", i+1), zone))
	}
}

func TestFailedSchedulingSaysWhatTheRealOneSays(t *testing.T) {
	for _, tc := range []struct {
		name   string
		minor  int
		pod    *corev1.Pod
		cordon bool
		want   string
	}{
		{"no node matches", 36, pod("nowhere", 0, nodeSelector("nobody", "here")), false,
			"0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 node(s) didn't match Pod's node " +
				"affinity/selector. no new claims to deallocate, preemption: 0/5 nodes are available: " +
				"5 Preemption is not helpful for scheduling."},
		{"too big", 36, pod("big", 3000), false,
			"0/5 nodes are available: 1 node(s) had untolerated taint(s), 4 Insufficient cpu. no new claims to deallocate, " +
				"preemption: 0/5 nodes are available: 1 Preemption is not helpful for scheduling, " +
				"4 No preemption victims found for incoming pod."},
		{"cordoned too", 36, pod("nowhere", 0, nodeSelector("nobody", "here")), true,
			"0/5 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, " +
				"3 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, " +
				"preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."},
		{"v1.31", 31, pod("nowhere", 0, nodeSelector("nobody", "here")), false,
			"0/5 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, " +
				"4 node(s) didn't match Pod's node affinity/selector. " +
				"preemption: 0/5 nodes are available: 5 Preemption is not helpful for scheduling."},
		{"v1.20", 20, pod("nowhere", 0, nodeSelector("nobody", "here")), false,
			"0/5 nodes are available: 1 node(s) had taint {node-role.kubernetes.io/control-plane: }, " +
				"that the pod didn't tolerate, 4 node(s) didn't match Pod's node affinity."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, 1, tc.minor)
			w.course()
			if tc.cordon {
				w.put(node("worker-2", "b", cordoned))
			}
			for i := range 4 {
				w.put(pod(fmt.Sprintf("there-%d", i), 2000, on(fmt.Sprintf("worker-%d", i+1))))
			}
			w.put(tc.pod)
			w.run(5 * time.Second)
			assert.Equal(t, tc.want, w.message(tc.pod.Name))
		})
	}
}

func TestNoNodesAvailable(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(pod("web-1", 100))
	w.run(5 * time.Second)
	assert.Equal(t, "no nodes available to schedule pods", w.message("web-1"))
	w.put(node("worker-1", "a"))
	w.run(11 * time.Second)
	assert.Equal(t, "worker-1", w.nodeOf("web-1"))
}

// Four replicas on four workers in three zones: the defaults are soft, yet with nothing else on the nodes each gets
// its own.
func TestReplicasSpreadOverNodes(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(t, seed, 36)
		w.course()
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
		service.Spec.Selector = map[string]string{"app": "web"}
		w.put(service)
		w.run(time.Second)
		for i := range 4 {
			w.put(pod(fmt.Sprintf("web-%d", i), 250))
		}
		w.run(time.Second)
		used := map[string]int{}
		for i := range 4 {
			used[w.nodeOf(fmt.Sprintf("web-%d", i))]++
		}
		assert.Equal(t, map[string]int{"worker-1": 1, "worker-2": 1, "worker-3": 1, "worker-4": 1}, used, "seed %d", seed)
		w.kernel.Close()
	}
}

// A replacement does not move back, and goes to where there are fewest of its kind.
func TestReplacementGoesWhereFewestAre(t *testing.T) {
	w := newWorld(t, 3, 36)
	w.course()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	service.Spec.Selector = map[string]string{"app": "web"}
	w.put(service)
	for i, n := range []string{"worker-1", "worker-2", "worker-4"} {
		w.put(pod(fmt.Sprintf("web-%d", i), 250, on(n)))
	}
	w.put(pod("web-3", 250))
	w.run(time.Second)
	assert.Equal(t, "worker-3", w.nodeOf("web-3"), "the only node and zone without one")
}

func TestOnlyWhoLeadsSchedules(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.course()
	other := w.kernel.Root().Child("standby")
	standby := New(&binder{w.server.Client(other), w}, api.ReleaseOf(36), newFlags(api.ReleaseOf(36)).Options,
		func() time.Time { return hardware.WallTime(w.kernel.Now()) })
	other.Go("standby", standby.Start)
	w.put(pod("web-1", 100))
	w.run(time.Second)
	assert.Len(t, w.bound, 1)
	assert.False(t, standby.queue.Holds(w.pod("web-1").UID), "a pod that another has bound leaves the queue")
}

func TestScheduledIsToldWithPodAndNode(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.course()
	w.put(pod("web-1", 100))
	w.run(time.Second)
	var told []sim.Event
	for _, e := range w.kernel.Trace().Events() {
		if e.Reason == "Scheduled" {
			told = append(told, e)
		}
	}
	require.Len(t, told, 1)
	assert.Equal(t, sim.Story, told[0].Level)
	assert.Equal(t, "pod/default/web-1", told[0].Object)
	assert.Equal(t, "node/"+w.nodeOf("web-1"), told[0].Related)
	assert.Equal(t, "Successfully assigned default/web-1 to "+w.nodeOf("web-1"), told[0].Message)
}

func TestBindingFailureGivesTheRoomBackAndRetries(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	fails := 2
	w.bindError = func(string) error {
		if fails--; fails >= 0 {
			return hardware.ErrRefused
		}
		return nil
	}
	w.put(pod("web-1", 3000))
	w.run(15 * time.Second)
	assert.Equal(t, "worker-1", w.nodeOf("web-1"))
	failed := w.attempts("web-1")
	require.Len(t, failed, 2)
	assert.InDelta(t, 1.5, failed[1]-failed[0], 1.5, "a back-off of 1 s, seen at a whole second")
	assert.Equal(t, int64(3000), w.s.cache.Node("worker-1").Requested.MilliCPU)
}

func TestDeletedWhileBeingBoundFreesItsRoom(t *testing.T) {
	w := newWorld(t, 1, 36)
	w.put(node("worker-1", "a"))
	w.server.Latency = 500 * time.Millisecond
	w.run(5 * time.Second)
	w.put(pod("web-1", 3000))
	w.run(600 * time.Millisecond)
	p := w.pod("web-1")
	require.True(t, w.s.cache.IsAssumed(p.UID))
	w.server.Remove(p)
	w.run(2 * time.Second)
	assert.Zero(t, w.s.cache.Node("worker-1").Requested.MilliCPU)
}

func TestSameSeedSameBindings(t *testing.T) {
	once := func() string {
		w := newWorld(t, 7, 36)
		w.course()
		for i := range 40 {
			w.put(pod(fmt.Sprintf("web-%d", i), 300))
		}
		w.run(time.Minute)
		return strings.Join(w.bound, "\n") + w.kernel.Trace().Digest()
	}
	assert.Equal(t, once(), once())
}

func TestThrottlingPacesBindings(t *testing.T) {
	w := newWorld(t, 1, 36)
	for i := range 30 {
		w.put(node(fmt.Sprintf("worker-%d", i), "a"))
	}
	for i := range 400 {
		w.put(pod(fmt.Sprintf("web-%d", i), 10))
	}
	w.run(3 * time.Second)
	// A burst of 100, then 50 a second (--kube-api-qps, --kube-api-burst).
	assert.InDelta(t, 100+3*50, len(w.bound), 10)
}
