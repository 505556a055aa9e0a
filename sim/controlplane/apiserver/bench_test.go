package apiserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/utils/ptr"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// BenchmarkLeaseRenewal is one kubelet's heartbeat: request, admission, store, watch cache, answer. etcd is the tests'
// own, so the figure is the API server's alone.
func BenchmarkLeaseRenewal(b *testing.B) {
	bench := newBench(b).ready()
	renewLeases(b, bench)
}

// BenchmarkLeaseRenewalThroughRaft is the same with one real member.
func BenchmarkLeaseRenewalThroughRaft(b *testing.B) {
	pl := newPlane(b, 1)
	pl.startServer(1)
	pl.run(8 * time.Second)
	pl.client = pl.clientOf("cp-1")
	renewLeases(b, pl.bench)
}

func renewLeases(b *testing.B, bench *bench) {
	resp, err := bench.create(&coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Namespace: corev1.NamespaceNodeLease},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("worker-1"), LeaseDurationSeconds: ptr.To[int32](40),
			RenewTime: ptr.To(metav1.NewMicroTime(time.Unix(0, 0)))}})
	require.NoError(b, err)
	w := bench.watch(&api.Request{Resource: api.Leases, ResourceVersion: "0"})
	bench.run(time.Second)
	b.ReportAllocs()
	b.ResetTimer()
	done := false
	bench.user.Go("kubelet", func(p *sim.Proc) {
		lease := resp.Object.(*coordinationv1.Lease)
		for range b.N {
			lease = lease.DeepCopy()
			lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(time.Unix(0, int64(p.Now()))))
			lease, err = api.UpdateObject(p, bench.client, lease)
			require.NoError(b, err)
			w.events = w.events[:0]
		}
		done = true
	})
	for !done {
		if _, err := bench.k.Step(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPodEventAmong5000Kubelets is one change of a pod while every kubelet watches the pods of its own node.
func BenchmarkPodEventAmong5000Kubelets(b *testing.B) {
	bench := newBench(b).ready()
	for i := range 5000 {
		kubelet := controlplane.NewClient(bench.user, controlplane.ClientConfig{Server: "https://cp-1:6443"})
		kubelet.Watch(&api.Request{Verb: api.Watch, Resource: api.Pods, ResourceVersion: "0",
			FieldSelector: fields.ParseSelectorOrDie(fmt.Sprintf("spec.nodeName=worker-%d", i))},
			func(api.WatchEvent) {}, func(error) {})
	}
	bench.boundPod("web-1", "worker-7")
	resp, err := bench.get(api.Pods, "web-1")
	require.NoError(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	done := false
	bench.user.Go("writer", func(p *sim.Proc) {
		pod := resp.Object.(*corev1.Pod)
		for i := range b.N {
			pod = pod.DeepCopy()
			pod.Annotations = map[string]string{"n": fmt.Sprint(i)}
			pod, err = api.UpdateObject(p, bench.client, pod)
			require.NoError(b, err)
		}
		done = true
	})
	for !done {
		if _, err := bench.k.Step(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStatusPatch is a kubelet's strategic merge patch of a pod's status.
func BenchmarkStatusPatch(b *testing.B) {
	bench := newBench(b).ready()
	bench.boundPod("web-1", "worker-1")
	b.ReportAllocs()
	b.ResetTimer()
	done := false
	bench.user.Go("kubelet", func(p *sim.Proc) {
		for i := range b.N {
			patch := fmt.Sprintf(`{"status":{"phase":"Running","podIP":"10.244.0.%d"}}`, i%200+1)
			_, err := api.PatchObject[*corev1.Pod](p, bench.client, api.PatchOptions{Namespace: "default", Name: "web-1",
				Subresource: "status", Type: "application/strategic-merge-patch+json"}, []byte(patch))
			require.NoError(b, err)
		}
		done = true
	})
	for !done {
		if _, err := bench.k.Step(); err != nil {
			b.Fatal(err)
		}
	}
}
