package api

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"pgregory.net/rapid"
	"sigs.k8s.io/randfill"
)

func testLease() *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: "worker-1",
			UID:               "5f2c2cbe-5a0a-4d0e-8d13-4d3f4a1c6f10",
			CreationTimestamp: metav1.Unix(1767225600, 0),
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "worker-1", UID: "u-1"}}},
		Spec: coordinationv1.LeaseSpec{HolderIdentity: ptr.To("worker-1"), LeaseDurationSeconds: ptr.To[int32](40),
			RenewTime: &metav1.MicroTime{Time: time.Unix(1767225600, 123456000)}},
	}
}

func TestStoredLeaseHasNoResourceVersion(t *testing.T) {
	lease := testLease()
	lease.ResourceVersion = "17"
	value, err := Encode(lease)
	require.NoError(t, err)
	assert.Equal(t, "17", lease.ResourceVersion)
	lease.ResourceVersion = ""
	again, err := Encode(lease)
	require.NoError(t, err)
	assert.Equal(t, again, value)
	assert.Equal(t, "k8s\x00\n\x1f\n\x16coordination.k8s.io/v1\x12\x05Lease\x12", string(value[:38]))
	assert.Equal(t, "\x1a\x00\"\x00", string(value[len(value)-4:]))
}

// filled draws an object with something in every field that JSON knows, nested a few levels deep.
func filled(r *Resource, seed int64) Object {
	obj := r.New()
	if u, ok := obj.(*unstructured.Unstructured); ok {
		u.SetName("x")
		u.Object["spec"] = map[string]any{"size": seed, "list": []any{"a", true}}
		obj.SetResourceVersion("17")
		return obj
	}
	filler := randfill.NewWithSeed(seed).NilChance(0.3).NumElements(1, 2).MaxDepth(8).Funcs(
		func(x *metav1.TypeMeta, _ randfill.Continue) {}, // not in protobuf
		func(x *metav1.Time, _ randfill.Continue) { x.Time = time.Unix(1767225600, 0) },
		func(x *metav1.MicroTime, _ randfill.Continue) { x.Time = time.Unix(1767225600, 123456000) },
		func(x *metav1.Duration, _ randfill.Continue) { x.Duration = time.Second },
		func(x *resource.Quantity, _ randfill.Continue) { *x = resource.MustParse("250m") },
		func(x *intstr.IntOrString, _ randfill.Continue) { *x = intstr.FromString("25%") },
		func(x *runtime.RawExtension, _ randfill.Continue) { x.Raw = []byte(`{"a":"b"}`) },
		func(x *metav1.FieldsV1, _ randfill.Continue) { x.Raw = []byte(`{}`) },
		func(x *string, c randfill.Continue) { *x = "s" + strconv.FormatInt(c.Int63n(1000), 10) },
	)
	filler.Fill(obj)
	obj.GetObjectKind().SetGroupVersionKind(r.GVK)
	obj.SetResourceVersion("17")
	obj.SetSelfLink("")
	return obj
}

func TestEveryResourceComesBackAsItWasStored(t *testing.T) {
	for _, r := range Resources() {
		for seed := range int64(3) {
			obj := filled(r, seed)
			if r == StatefulSets {
				SetDefaults(obj)
			}
			value, err := Encode(obj)
			require.NoError(t, err, r)
			back, err := Decode(r, value, 17)
			require.NoError(t, err, r)
			require.True(t, equality.Semantic.DeepEqual(obj, back), "%s, seed %d:\n%v", r, seed, diff.Diff(obj, back))
		}
	}
}

func TestStoredBytesAreWhatTheRealCodecReads(t *testing.T) {
	value, err := Encode(testLease())
	require.NoError(t, err)
	var unknown runtime.Unknown
	require.NoError(t, unknown.Unmarshal(value[len(protobufMagic):]))
	assert.Equal(t, runtime.TypeMeta{APIVersion: "coordination.k8s.io/v1", Kind: "Lease"}, unknown.TypeMeta)
	var lease coordinationv1.Lease
	require.NoError(t, lease.Unmarshal(unknown.Raw))
	assert.Equal(t, "worker-1", *lease.Spec.HolderIdentity)
	rewritten, err := unknown.Marshal()
	require.NoError(t, err)
	assert.Equal(t, value[len(protobufMagic):], rewritten)
}

func TestWhatIsNotAStoredValueIsRefused(t *testing.T) {
	pod, err := Encode(testPod())
	require.NoError(t, err)
	for _, value := range [][]byte{nil, []byte("k8s\x00"), []byte("hello"), pod, {'{'}} {
		_, err := Decode(Leases, value, 1)
		assert.Error(t, err, "%q", value)
	}
	rapid.Check(t, func(t *rapid.T) { // never panics
		value := []byte(protobufMagic + string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")))
		_, _ = Decode(Pods, value, 1)
		cut := rapid.IntRange(0, len(pod)).Draw(t, "cut")
		_, _ = Decode(Pods, pod[:cut], 1)
	})
}

func TestCodecSharesWhatItDecodedOnce(t *testing.T) {
	codec := NewCodec()
	value, err := Encode(testLease())
	require.NoError(t, err)
	first, err := codec.Decode(Leases, value, 5)
	require.NoError(t, err)
	second, err := codec.Decode(Leases, append([]byte(nil), value...), 5) // another member's copy
	require.NoError(t, err)
	assert.Same(t, first, second)
	assert.Equal(t, "5", first.GetResourceVersion())
	later, err := codec.Decode(Leases, value, 6)
	require.NoError(t, err)
	assert.Equal(t, "6", later.GetResourceVersion())
	assert.Equal(t, "5", first.GetResourceVersion())
}

// Two halves of a cluster, or a cluster and its restored snapshot, may give one revision to different writes.
func TestCodecNeverMixesWritesOfOneRevision(t *testing.T) {
	leases := make([][]byte, 8)
	for i := range leases {
		lease := testLease()
		lease.Name = "worker-" + strconv.Itoa(i)
		leases[i], _ = Encode(lease)
	}
	rapid.Check(t, func(t *rapid.T) {
		codec := NewCodec()
		for range 200 {
			which := rapid.IntRange(0, len(leases)-1).Draw(t, "value")
			revision := rapid.Int64Range(1, 2*memoMax).Draw(t, "revision")
			obj, err := codec.Decode(Leases, leases[which], revision)
			require.NoError(t, err)
			require.Equal(t, "worker-"+strconv.Itoa(which), obj.GetName())
			require.Equal(t, revision, Revision(obj))
		}
	})
}

func TestUnknownKindsAreStoredAsJSON(t *testing.T) {
	thing := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Thing",
		"metadata": map[string]any{"name": "x", "resourceVersion": "9"}, "spec": map[string]any{"size": int64(3)}}}
	value, err := Encode(thing)
	require.NoError(t, err)
	assert.NotContains(t, string(value), "resourceVersion")
	assert.Equal(t, "9", thing.GetResourceVersion())
	things := &Resource{New: func() Object { return &unstructured.Unstructured{} }}
	back, err := Decode(things, value, 12)
	require.NoError(t, err)
	assert.Equal(t, "12", back.GetResourceVersion())
	assert.Equal(t, "x", back.GetName())
}

// What an object has in common with the state before is taken from there: it is the same as if all were decoded anew,
// and its bytes as if all were encoded.
func TestCodecMakesOfKnownPartsWhatDecodeMakesOfThem(t *testing.T) {
	codec := NewCodec()
	revision := int64(0)
	for _, r := range []*Resource{Pods, Nodes, Leases, ReplicaSets, Deployments, StatefulSets, Services, Events} {
		var before Stored
		for seed := range int64(12) {
			obj := filled(r, seed/3)
			obj.SetLabels(map[string]string{"a": strconv.Itoa(int(seed % 2))})
			value, err := Encode(obj)
			require.NoError(t, err)
			after, err := EncodeAfter(obj, before, KeptNothing)
			require.NoError(t, err)
			require.Equal(t, value, after, r)
			revision++
			want, err := Decode(r, value, revision)
			require.NoError(t, err)
			got, err := codec.DecodeAfter(r, value, revision, before)
			require.NoError(t, err)
			require.Equal(t, want, got, r)
			before = Stored{Value: value, Object: got}
		}
	}
}

func TestEncodeAfterTakesOverWhatWasKept(t *testing.T) {
	old := storedPod()
	value, err := Encode(old)
	require.NoError(t, err)
	for _, c := range []struct {
		subresource string
		change      func(*corev1.Pod)
	}{
		{"status", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }},
		{"status", func(p *corev1.Pod) { p.Labels = map[string]string{"b": "c"} }},
		{"", func(p *corev1.Pod) { p.Spec.NodeName = "worker-2" }},
		{"", func(p *corev1.Pod) { p.Finalizers = []string{"a/b"} }},
	} {
		next := old.DeepCopy()
		c.change(next)
		got, err := EncodeAfter(next, Stored{Value: value, Object: old}, KeptBy(c.subresource))
		require.NoError(t, err)
		want, err := Encode(next)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Equal(t, old.ResourceVersion, next.ResourceVersion)
	}
}
