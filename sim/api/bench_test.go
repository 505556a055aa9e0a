package api

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
)

func testPod() *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web-5cbc979cf6-x1z2y", Namespace: "default",
			Labels: map[string]string{"app": "web", "pod-template-hash": "5cbc979cf6"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web-5cbc979cf6",
				UID: "3c1f0a8e-6f5b-4d6c-9d3a-0d1a2b3c4d5e"}}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx:1.28",
			Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("128Mi")}}}}},
	}
	SetDefaults(pod)
	return pod
}

func storedPod() *corev1.Pod {
	pod := testPod()
	now := metav1.Unix(1767225600, 0)
	pod.UID, pod.CreationTimestamp, pod.ResourceVersion, pod.Spec.NodeName = "uid-1", now, "42", "worker-1"
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &now, QOSClass: corev1.PodQOSBurstable}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady,
		corev1.PodReady} {
		pod.Status.Conditions = append(pod.Status.Conditions,
			corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	return pod
}

func benchmarkCodec(b *testing.B, r *Resource, obj Object) {
	value, err := Encode(obj)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Encode(obj)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = Decode(r, value, 17)
		}
	})
	b.Run("changed", func(b *testing.B) { // a later version, of which most was seen before
		codec, revision := NewCodec(), int64(0)
		before := Stored{Value: value, Object: obj}
		b.ReportAllocs()
		for b.Loop() {
			revision++
			_, _ = codec.DecodeAfter(r, value, revision, before)
		}
	})
	b.Run("again", func(b *testing.B) { // the second API server decodes the same write
		codec := NewCodec()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = codec.Decode(r, value, 17)
		}
	})
}

func BenchmarkCodec(b *testing.B) {
	b.Run("lease", func(b *testing.B) { benchmarkCodec(b, Leases, testLease()) })
	b.Run("pod", func(b *testing.B) { benchmarkCodec(b, Pods, storedPod()) })
}

func BenchmarkRenewLease(b *testing.B) {
	old := testLease()
	old.ResourceVersion = "17"
	b.ReportAllocs()
	for b.Loop() {
		renewed := *old
		SetDefaults(&renewed)
		if err := BeforeUpdate(Leases, &renewed, old, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUpdatePodStatus(b *testing.B) {
	old := storedPod()
	b.ReportAllocs()
	for b.Loop() {
		changed := *old
		SetDefaults(&changed)
		if err := BeforeUpdate(Pods, &changed, old, "status"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreatePod(b *testing.B) {
	stream := sim.New(1).Rand("test")
	template := testPod()
	now := metav1.NewTime(time.Unix(1767225600, 0))
	b.ReportAllocs()
	for b.Loop() {
		pod := template.DeepCopy()
		SetDefaults(pod)
		if err := BeforeCreate(Pods, pod, CreateOptions{Namespace: "default", Now: now, Stream: stream}); err != nil {
			b.Fatal(err)
		}
	}
}
