package scheduler

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim/api"
	fwk "ksim/sim/controlplane/scheduler/framework"
	"ksim/sim/controlplane/scheduler/queue"
)

// BenchmarkSchedule times decisions alone, with the pods counted as assumed: 10,000 pods of 50 workloads.
func BenchmarkSchedule(b *testing.B) {
	for _, nodes := range []int{100, 1000, 5000} {
		b.Run(fmt.Sprintf("%d-nodes", nodes), func(b *testing.B) {
			w := newWorld(b, 1, 36)
			yes := true
			for i := range 50 {
				rs := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("app-%d", i)}}
				rs.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"app": rs.Name}}
				w.put(rs)
			}
			w.run(time.Second)
			for i := range nodes {
				w.s.cache.AddNode(node(fmt.Sprintf("worker-%d", i), string(rune('a'+i%3))))
			}
			pods := make([]*queue.QueuedPodInfo, b.N)
			for i := range pods {
				app := fmt.Sprintf("app-%d", i%50)
				p := pod(fmt.Sprintf("web-%d", i), 10, func(p *corev1.Pod) {
					p.Labels = map[string]string{"app": app}
					p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: app,
						Controller: &yes}}
				})
				p.UID = types.UID(p.Name)
				pods[i] = &queue.QueuedPodInfo{PodInfo: fwk.NewPodInfo(p, w.s.features)}
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				var d fwk.Diagnosis
				node, err := w.s.schedulePod(&fwk.CycleState{}, pods[i], &d)
				require.NoError(b, err)
				if node != nil {
					w.s.cache.AssumePod(pods[i].PodInfo, node.Name())
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pods/s")
		})
	}
}

// BenchmarkCluster runs 10,000 pods through queue, cycle, binding and informer on 1000 nodes.
func BenchmarkCluster(b *testing.B) {
	for range b.N {
		options := newFlags(api.ReleaseOf(36)).Options
		options.RateLimit.QPS = -1 // no limit
		w := newWorldWith(b, 1, options, 36)
		for i := range 1000 {
			w.put(node(fmt.Sprintf("worker-%d", i), string(rune('a'+i%3))))
		}
		for i := range 10_000 {
			w.put(pod(fmt.Sprintf("web-%d", i), 10))
		}
		w.run(30 * time.Second)
		require.Len(b, w.bound, 10_000)
		w.kernel.Close()
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "pods/s")
}
