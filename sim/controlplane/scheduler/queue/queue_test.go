package queue

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"

	"ksim/sim"
	"ksim/sim/api"
	fwk "ksim/sim/controlplane/scheduler/framework"
)

// fit is a plugin that wants to hear of deleted pods, and hints that only those named "helpful" help.
type fit struct{}

func (fit) Name() string { return "Fit" }

func (fit) EventsToRegister() []fwk.ClusterEventWithHint {
	return []fwk.ClusterEventWithHint{{Event: fwk.ClusterEvent{Resource: fwk.Pod, Action: fwk.Delete},
		Hint: func(_ *fwk.PodInfo, c *fwk.Change) bool { return c.OldPod.Name == "helpful" }}}
}

func newQueue(k *sim.Kernel, minor int) *PriorityQueue {
	f := fwk.FeaturesOf(api.ReleaseOf(minor))
	return New(Config{Scope: k.Root(), Features: f, PodInitialBackoff: DefaultPodInitialBackoff,
		PodMaxBackoff: DefaultPodMaxBackoff, PodMaxInUnschedulablePods: f.PodMaxInUnschedulablePods,
		EnqueueExtensions: []fwk.EnqueueExtensions{fit{}}})
}

func podInfo(name string, priority int32) *fwk.PodInfo {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	p.Spec.Priority = &priority
	return fwk.NewPodInfo(p, fwk.FeaturesOf(api.ReleaseOf(36)))
}

func deleted(name string) fwk.Change {
	return fwk.Change{Event: fwk.ClusterEvent{Resource: fwk.AssignedPod, Action: fwk.Delete}, OldPod: podInfo(name, 0).Pod}
}

func TestPriorityThenAge(t *testing.T) {
	k := sim.New(1)
	defer k.Close()
	q := newQueue(k, 36)
	for _, p := range []struct {
		name     string
		priority int32
	}{{"old", 5}, {"important", 9}, {"young", 5}, {"unimportant", 1}} {
		q.Add(podInfo(p.name, p.priority))
		require.NoError(t, k.RunUntil(k.Now().Add(time.Second)))
	}
	var order []string
	for info := q.TryPop(); info != nil; info = q.TryPop() {
		order = append(order, info.Pod.Name)
	}
	assert.Equal(t, []string{"important", "old", "young", "unimportant"}, order)
}

// Back-offs are counted from the refusal and seen at ticks: of the process's own ticker up to v1.32, at whole seconds
// after.
func TestBackoffTimes(t *testing.T) {
	for _, tc := range []struct {
		minor int
		want  []time.Duration // from the refusal, which is 300 ms after a tick
	}{
		{31, []time.Duration{1700, 2700, 4700, 8700, 10700, 10700}},
		{36, []time.Duration{1700, 2700, 4700, 8700, 10700, 10700}},
	} {
		k := sim.New(1)
		q := newQueue(k, tc.minor)
		q.Run()
		info := &QueuedPodInfo{PodInfo: podInfo("p", 0)}
		for i, want := range tc.want {
			refusedAt := sim.Time(0).Add(time.Duration(100*(i+1))*time.Second + 300*time.Millisecond)
			require.NoError(t, k.RunUntil(refusedAt))
			q.inFlight["p"] = info
			info.UnschedulablePlugins = nil // an error: no plugin has to be asked, and an idle scheduler leaves it alone
			q.AddUnschedulableIfNotPresent(info)
			at := sim.Time(-1)
			for at < 0 && k.Now() < refusedAt.Add(30*time.Second) {
				require.NoError(t, k.RunUntil(k.Now().Add(100*time.Millisecond)))
				if got := q.TryPop(); got != nil {
					at = k.Now()
				}
			}
			assert.InDelta(t, want*time.Millisecond, at.Sub(refusedAt), float64(101*time.Millisecond),
				"v1.%d, time %d", tc.minor, i)
			q.Done("p")
		}
		k.Close()
	}
}

func TestEventInFlightIsNotLost(t *testing.T) {
	for _, minor := range []int{31, 36} {
		k := sim.New(1)
		q := newQueue(k, minor)
		q.Run()
		q.Add(podInfo("p", 0))
		info := q.TryPop()
		q.MoveAllToActiveOrBackoffQueue(deleted("helpful"), nil)
		info.UnschedulablePlugins = []string{"Fit"}
		q.AddUnschedulableIfNotPresent(info)
		_, backoff, pool := q.Len()
		assert.Equal(t, 1, backoff, "v1.%d", minor)
		assert.Zero(t, pool)
		k.Close()
	}
}

func TestHintsAreAskedFromV132(t *testing.T) {
	for _, tc := range []struct {
		minor int
		moved bool
	}{{20, true}, {31, true}, {32, false}, {36, false}} {
		k := sim.New(1)
		q := newQueue(k, tc.minor)
		q.Run()
		q.Add(podInfo("p", 0))
		info := q.TryPop()
		info.UnschedulablePlugins = []string{"Fit"}
		q.AddUnschedulableIfNotPresent(info)
		q.MoveAllToActiveOrBackoffQueue(deleted("useless"), nil)
		_, backoff, _ := q.Len()
		assert.Equal(t, tc.moved, backoff == 1, "v1.%d", tc.minor)
		k.Close()
	}
}

// Whatever is done to the queue, a pod is in one place only, and each that is not popped or deleted is somewhere.
func TestQueueKeepsEveryPodOnce(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := sim.New(1)
		defer k.Close()
		q := newQueue(k, rapid.SampledFrom([]int{20, 31, 36}).Draw(r, "minor"))
		q.Run()
		there := map[string]bool{}
		name := func(r *rapid.T) string { return rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(r, "pod") }
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				n := name(r)
				q.Add(podInfo(n, rapid.Int32Range(0, 2).Draw(r, "priority")))
				there[n] = true
			},
			"pop": func(r *rapid.T) {
				info := q.TryPop()
				if info == nil {
					return
				}
				require.True(r, there[info.Pod.Name])
				switch rapid.IntRange(0, 2).Draw(r, "outcome") {
				case 0:
					q.Done(info.Pod.UID)
					delete(there, info.Pod.Name)
				case 1:
					info.UnschedulablePlugins = []string{"Fit"}
					q.AddUnschedulableIfNotPresent(info)
				case 2:
					info.UnschedulablePlugins = nil
					q.AddUnschedulableIfNotPresent(info)
				}
			},
			"delete": func(r *rapid.T) { n := name(r); q.Delete(types.UID(n)); delete(there, n) },
			"event":  func(*rapid.T) { q.MoveAllToActiveOrBackoffQueue(deleted("helpful"), nil) },
			"wait": func(r *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 60_000).Draw(r, "milliseconds")) * time.Millisecond
				require.NoError(r, k.RunUntil(k.Now().Add(d)))
			},
			"": func(r *rapid.T) {
				seen := map[string]int{}
				for _, p := range q.PendingPods() {
					seen[p.Name]++
				}
				require.Len(r, seen, len(there))
				for n := range there { // any order: each for itself
					require.Equal(r, 1, seen[n], n)
				}
				require.Len(r, q.byUID, len(there))
			},
		})
	})
}
