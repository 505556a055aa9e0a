package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane/internal/fakeapi"
	"ksim/sim/hardware"
)

// bench is a controller manager on a fake API server, with kubelets that only renew their leases.
type bench struct {
	t       *testing.T
	kernel  *sim.Kernel
	server  *fakeapi.Server
	dc      *hardware.Datacenter
	release *api.Release
	options *Options
	kubelet map[string]*sim.Scope
	renewed map[string]time.Duration
	process *hardware.Process
}

func newBench(t *testing.T, seed uint64, version string) *bench {
	k := sim.New(seed)
	t.Cleanup(k.Close)
	release, err := api.ParseRelease(version)
	require.NoError(t, err)
	b := &bench{t: t, kernel: k, server: fakeapi.New(k), dc: hardware.New(k, hardware.NetworkConfig{}), release: release,
		options: newOptions(release), kubelet: map[string]*sim.Scope{}, renewed: map[string]time.Duration{}}
	b.dc.AddMachine(hardware.MachineSpec{Name: "cp-1"}).PowerOn()
	return b
}

// start runs the controllers in a new process; a former one is killed.
func (b *bench) start() {
	if b.process != nil {
		b.process.Signal(hardware.SIGKILL)
	}
	b.process = b.dc.Machine("cp-1").Start("kube-controller-manager", func(p *hardware.Process) {
		m := newManager(p, b.server.Client(p.Scope()), b.release, b.options)
		p.Go("controllers", m.runControllers)
	})
}

func (b *bench) at(d time.Duration) { require.NoError(b.t, b.kernel.RunUntil(sim.Time(d))) }

// addNode makes a Ready node whose kubelet renews its lease every 10 s.
func (b *bench) addNode(name, zone string) {
	now := metav1.NewTime(hardware.WallTime(b.kernel.Now()))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid-" + name),
		Labels: map[string]string{}}}
	if zone != "" {
		node.Labels[corev1.LabelTopologyZone] = zone
	}
	for _, kind := range []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure,
		corev1.NodePIDPressure} {
		node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: kind,
			Status:            corev1.ConditionFalse,
			LastHeartbeatTime: now, LastTransitionTime: now})
	}
	node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeReady,
		Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now})
	b.server.Put(node)
	b.boot(name)
}

// boot starts a node's kubelet; it posts Ready if the node reads otherwise.
func (b *bench) boot(name string) {
	scope := b.kernel.Root().Child(name)
	b.kubelet[name] = scope
	scope.Go("kubelet", func(p *sim.Proc) {
		b.postReady(name)
		p.Sleep(p.Scope().Rand(name).Between(0, 10*time.Second))
		for {
			now := metav1.NewMicroTime(hardware.WallTime(b.kernel.Now()))
			b.renewed[name] = p.Now().Duration()
			b.server.Put(&coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: name},
				Spec: coordinationv1.LeaseSpec{RenewTime: &now}})
			p.Sleep(p.Scope().Rand(name).Jitter(10*time.Second, 40))
		}
	})
}

func (b *bench) postReady(name string) {
	node := b.node(name).DeepCopy()
	now := metav1.NewTime(hardware.WallTime(b.kernel.Now()))
	for i := range node.Status.Conditions {
		c := &node.Status.Conditions[i]
		c.LastHeartbeatTime = now
		if want := corev1.ConditionFalse; c.Type != corev1.NodeReady && c.Status != want {
			c.Status, c.LastTransitionTime = want, now
		}
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			c.Status, c.LastTransitionTime = corev1.ConditionTrue, now
		}
	}
	b.server.Put(node)
}

// crash kills a node's kubelet.
func (b *bench) crash(names ...string) sim.EventID {
	var id sim.EventID
	for _, name := range names {
		id = b.kernel.Root().Emit(sim.Event{Level: sim.Fault, Reason: "Crash", Object: "machine/" + name})
		b.kubelet[name].Kill("crash")
	}
	return id
}

func (b *bench) node(name string) *corev1.Node {
	return b.server.Get(api.Nodes, "", name).(*corev1.Node)
}

func (b *bench) pod(name string) *corev1.Pod {
	pod, _ := b.server.Get(api.Pods, "default", name).(*corev1.Pod)
	return pod
}

func (b *bench) pods() []*corev1.Pod {
	var pods []*corev1.Pod
	for _, obj := range b.server.List(api.Pods) {
		pods = append(pods, obj.(*corev1.Pod))
	}
	return pods
}

func ready(node *corev1.Node) corev1.ConditionStatus {
	return nodeCondition(node, corev1.NodeReady).Status
}

// addPod makes a Running and Ready pod that tolerates lost nodes for 300 s.
func (b *bench) addPod(name, node string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{NodeName: node, Tolerations: defaultTolerations()}}
	b.makeReady(pod)
	return b.server.Put(pod).(*corev1.Pod)
}

// defaultTolerations are those that the API server's admission adds.
func defaultTolerations() []corev1.Toleration {
	five := int64(300)
	return []corev1.Toleration{
		{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: &five},
		{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute,
			TolerationSeconds: &five}}
}

func (b *bench) makeReady(pod *corev1.Pod) {
	pod.Status.Phase = corev1.PodRunning
	setPodCondition(pod, corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionTrue,
		LastTransitionTime: metav1.NewTime(hardware.WallTime(b.kernel.Now()))})
}

// runNewPods binds what is Pending to a node and has it Ready a second later, and ends what is deleted on live nodes.
func (b *bench) runNewPods(nodes ...string) {
	n := 0
	b.kernel.Root().Go("world", func(p *sim.Proc) {
		for {
			p.Sleep(500 * time.Millisecond)
			for _, pod := range b.pods() {
				alive := b.kubelet[pod.Spec.NodeName] != nil && b.kubelet[pod.Spec.NodeName].Alive()
				switch {
				case pod.DeletionTimestamp != nil && alive:
					b.server.Remove(pod)
				case pod.DeletionTimestamp == nil && pod.Spec.NodeName == "":
					pod = pod.DeepCopy()
					for n++; !b.kubelet[nodes[n%len(nodes)]].Alive(); n++ {
					}
					pod.Spec.NodeName = nodes[n%len(nodes)]
					b.makeReady(pod)
					b.server.Put(pod)
				}
			}
		}
	})
}

func (b *bench) addReplicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	labels := map[string]string{"app": name}
	return b.server.Put(&appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, Generation: 1},
		Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Tolerations: defaultTolerations()}}}}).(*appsv1.ReplicaSet)
}

// when runs until the condition holds, looking every 10 ms, and returns the time; fails after limit.
func (b *bench) when(limit time.Duration, what string, cond func() bool) time.Duration {
	for !cond() {
		next := b.kernel.Now().Duration() + 10*time.Millisecond
		require.Less(b.t, next, limit, "%s never happened", what)
		b.at(next)
	}
	return b.kernel.Now().Duration()
}

// events returns the trace events of a reason, oldest first.
func (b *bench) events(reason string) []sim.Event {
	var found []sim.Event
	for _, e := range b.kernel.Trace().Events() {
		if e.Reason == reason {
			found = append(found, e)
		}
	}
	return found
}

// rootCause follows the causes of an event to a fault, or else to the first.
func (b *bench) rootCause(e sim.Event) sim.Event {
	for e.Cause != 0 && e.Level != sim.Fault {
		e = b.kernel.Trace().Event(e.Cause)
	}
	return e
}

func names(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s%d", prefix, i+1))
	}
	return all
}

func podNames(pods []*corev1.Pod) string {
	var all []string
	for _, pod := range pods {
		all = append(all, pod.Name)
	}
	return strings.Join(all, " ")
}
