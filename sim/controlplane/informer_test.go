package controlplane

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane/internal/fakeapi"
	"ksim/sim/hardware"
)

// bench is a kernel with a fake API server and a client.
type bench struct {
	t      *testing.T
	kernel *sim.Kernel
	server *fakeapi.Server
	client api.Client
}

func newBench(t *testing.T) *bench {
	k := sim.New(1)
	t.Cleanup(k.Close)
	server := fakeapi.New(k)
	return &bench{t, k, server, server.Client(k.Root().Child("component"))}
}

func (b *bench) at(d time.Duration) { require.NoError(b.t, b.kernel.RunUntil(sim.Time(d))) }

func newPod(name, node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: corev1.PodSpec{NodeName: node}}
}

// podInformer notes what its handler is told.
func podInformer(b *bench, config InformerConfig) (*Informer[*corev1.Pod], *[]string) {
	config.Resource = api.Pods
	var told []string
	inf := NewInformer[*corev1.Pod](b.client, config)
	inf.Handle(Handler[*corev1.Pod]{
		OnAdd:    func(pod *corev1.Pod) { told = append(told, "add "+pod.Name) },
		OnUpdate: func(_, pod *corev1.Pod) { told = append(told, "update "+pod.Name) },
		OnDelete: func(pod *corev1.Pod, final bool) { told = append(told, fmt.Sprint("delete ", pod.Name, " ", final)) },
	})
	inf.Start()
	return inf, &told
}

func TestInformerTellsEachChangeWithTheWriteAsCause(t *testing.T) {
	b := newBench(t)
	b.server.Put(newPod("a", ""))
	inf, told := podInformer(b, InformerConfig{})
	var causes []sim.EventID
	inf.Handle(Handler[*corev1.Pod]{OnUpdate: func(_, _ *corev1.Pod) { causes = append(causes, b.kernel.Cause()) }})
	b.at(time.Second)
	require.True(t, inf.HasSynced())
	written := b.server.Put(newPod("a", "n1"))
	b.server.Put(newPod("b", ""))
	b.server.Remove(newPod("a", ""))
	b.at(2 * time.Second)
	assert.Equal(t, []string{"add a", "update a", "add b", "delete a true"}, *told)
	assert.Equal(t, []sim.EventID{api.CauseOf(b.kernel, written)}, causes)
	assert.Equal(t, 1, inf.Len())
}

func TestInformerSeesAnObjectLeaveItsSelectorAsDeletion(t *testing.T) {
	b := newBench(t)
	_, told := podInformer(b, InformerConfig{Fields: fields.OneTermEqualSelector("spec.nodeName", "n1")})
	b.at(time.Second)
	b.server.Put(newPod("a", "n1"))
	b.server.Put(newPod("b", "n2"))
	b.server.Put(newPod("a", "n2"))
	b.at(2 * time.Second)
	assert.Equal(t, []string{"add a", "delete a true"}, *told)
}

// A watch that can not be resumed is followed by a list; what vanished meanwhile is told as a deletion whose last state
// is unknown. Without it controllers would keep pods that are gone.
func TestRelistInfersDeletionsThatWereMissed(t *testing.T) {
	b := newBench(t)
	b.server.Put(newPod("a", ""))
	b.server.Put(newPod("b", ""))
	inf, told := podInformer(b, InformerConfig{})
	b.at(time.Second)
	b.server.BreakWatches(hardware.ErrReset)
	b.server.Remove(newPod("a", ""))
	b.server.Put(newPod("c", ""))
	b.server.Forget()
	b.at(10 * time.Second)
	assert.Equal(t, []string{"add a", "add b", "add c", "delete a false"}, *told)
	assert.Equal(t, 2, inf.Len())
}

// A reset ends the stream: the watch is opened again at once where it was, and nothing is lost.
func TestWatchResumesAtOnceAfterAReset(t *testing.T) {
	b := newBench(t)
	_, told := podInformer(b, InformerConfig{})
	b.at(2 * time.Second)
	b.server.BreakWatches(hardware.ErrReset)
	b.server.Put(newPod("a", ""))
	b.at(2*time.Second + 10*time.Millisecond)
	assert.Equal(t, []string{"add a"}, *told)
}

func TestRefusedWatchBacksOffFromOneSecondToAMinute(t *testing.T) {
	b := newBench(t)
	_, told := podInformer(b, InformerConfig{})
	b.at(2 * time.Second)
	var tries []time.Duration
	b.server.Fail = func(*api.Request) error {
		tries = append(tries, b.kernel.Now().Duration())
		return hardware.ErrRefused
	}
	b.server.BreakWatches(hardware.ErrReset)
	b.at(90 * time.Second)
	b.server.Fail = nil
	b.server.Put(newPod("a", ""))
	b.at(200 * time.Second)
	assert.Equal(t, []string{"add a"}, *told)
	low := 800 * time.Millisecond
	for i := 1; i < len(tries); i++ {
		gap := tries[i] - tries[i-1]
		assert.True(t, gap >= low && gap <= 2*low+2*time.Millisecond, "gap %d is %s, wanted %s to %s", i, gap, low, 2*low)
		low = min(2*low, 30*time.Second)
	}
	assert.GreaterOrEqual(t, len(tries), 5)
}

func TestIndexFollowsItsObjects(t *testing.T) {
	b := newBench(t)
	inf, _ := podInformer(b, InformerConfig{})
	byNode := inf.Index(func(pod *corev1.Pod) string { return pod.Spec.NodeName })
	for i := range 20 {
		b.server.Put(newPod(fmt.Sprint("p", i), fmt.Sprint("n", i%3)))
	}
	b.at(time.Second)
	assert.Equal(t, 7, byNode.Len("n0"))
	for i := range 10 {
		b.server.Put(newPod(fmt.Sprint("p", i), "n2"))
	}
	for i := 10; i < 15; i++ {
		b.server.Remove(newPod(fmt.Sprint("p", i), ""))
	}
	b.at(2 * time.Second)
	names := map[string]bool{}
	for _, pod := range byNode.Get("n2") {
		names[pod.Name] = true
		assert.Equal(t, "n2", pod.Spec.NodeName)
	}
	assert.Len(t, names, 11)
	assert.Equal(t, 15, inf.Len())
	assert.Nil(t, byNode.Get("n9"))
}

func BenchmarkLeaseUpdateThroughInformer(b *testing.B) {
	k := sim.New(1)
	defer k.Close()
	inf := NewInformer[*coordinationv1.Lease](fakeapi.New(k).Client(k.Root()), InformerConfig{Resource: api.Leases})
	leases := make([]*coordinationv1.Lease, 5000)
	for i := range leases {
		leases[i] = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease",
			Name: fmt.Sprintf("worker-%d", i), ResourceVersion: "7"}}
		inf.set(leases[i])
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		inf.event(api.WatchEvent{Type: api.Modified, Object: leases[i%len(leases)], Cause: 1})
	}
}
