package api

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
)

// unshared decodes a value as the generated code does, with nothing taken from elsewhere.
func unshared(t require.TestingT, r *Resource, value []byte, revision int64) Object {
	obj := r.New()
	raw, err := rawMessage(r, value)
	require.NoError(t, err)
	require.NoError(t, obj.(message).Unmarshal(raw))
	identify(r, obj, revision)
	return obj
}

// step changes an object as its life may.
func step(t *rapid.T, obj Object) {
	text := rapid.SampledFrom([]string{"", "True", "False", "Ready", "a", "b"})
	draw := func(what string) string { return text.Draw(t, what) }
	now := metav1.Unix(rapid.Int64Range(0, 3).Draw(t, "time"), 0)
	switch rapid.IntRange(0, 3).Draw(t, "meta") {
	case 0:
		obj.SetUID("u")
		obj.SetName("n" + draw("name"))
		obj.SetGeneration(rapid.Int64Range(0, 2).Draw(t, "generation"))
	case 1:
		obj.SetLabels(map[string]string{"a": draw("label")})
	case 2:
		obj.SetCreationTimestamp(now)
		obj.SetDeletionTimestamp(&now)
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		stepPod(t, o, draw, now)
	case *corev1.Node:
		n := rapid.IntRange(0, 3).Draw(t, "conditions")
		for len(o.Status.Conditions) < n {
			o.Status.Conditions = append(o.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeConditionType(draw("type"))})
		}
		for i := range o.Status.Conditions {
			o.Status.Conditions[i].LastHeartbeatTime, o.Status.Conditions[i].Reason = now, draw("reason")
		}
	}
}

func stepPod(t *rapid.T, o *corev1.Pod, draw func(string) string, now metav1.Time) {
	o.Spec.NodeName, o.Status.Phase = draw("node"), corev1.PodPhase(draw("phase"))
	if rapid.Bool().Draw(t, "started") {
		o.Status.StartTime, o.Status.PodIPs = &now, []corev1.PodIP{{IP: draw("ip")}}
	}
	for i := range o.Spec.Volumes {
		o.Spec.Volumes[i].Name = draw("volume")
	}
	for i := range o.Spec.Containers {
		c := &o.Spec.Containers[i]
		c.Image = draw("image")
		for j := range c.VolumeMounts {
			c.VolumeMounts[j].Name = draw("mount")
		}
	}
	if rapid.Bool().Draw(t, "condition") {
		o.Status.Conditions = append([]corev1.PodCondition{{Type: corev1.PodConditionType(draw("type")),
			Status: corev1.ConditionStatus(draw("status")), LastTransitionTime: now}}, o.Status.Conditions...)
	}
	if n := len(o.Status.ContainerStatuses); n > 0 && rapid.Bool().Draw(t, "ready") {
		o.Status.ContainerStatuses[n-1].Ready = !o.Status.ContainerStatuses[n-1].Ready
	}
}

// Whatever was before, and whatever its decoder could share, an object is what its bytes say, and what it shares is not
// changed by that.
func TestWhatIsSharedIsWhatTheBytesSay(t *testing.T) {
	resources := []*Resource{Pods, Nodes, Leases, ReplicaSets, Deployments}
	rapid.Check(t, func(t *rapid.T) {
		codec := NewCodec()
		r := rapid.SampledFrom(resources).Draw(t, "resource")
		obj := filled(r, rapid.Int64Range(0, 5).Draw(t, "seed"))
		var before Stored
		for revision := range int64(6) {
			value, err := Encode(obj)
			require.NoError(t, err)
			got, err := codec.DecodeAfter(r, value, revision+1, before)
			require.NoError(t, err)
			require.Equal(t, unshared(t, r, value, revision+1), got)
			if before.Object != nil {
				require.Equal(t, unshared(t, r, before.Value, revision), before.Object)
			}
			before = Stored{value, got}
			if rapid.IntRange(0, 9).Draw(t, "forgotten") == 0 {
				before = Stored{}
			}
			step(t, obj)
		}
	})
}

func TestEventsAreWhatTheBytesSay(t *testing.T) {
	for seed := range int64(20) {
		value, err := Encode(filled(Events, seed))
		require.NoError(t, err)
		got, err := Decode(Events, value, seed+1)
		require.NoError(t, err)
		require.Equal(t, unshared(t, Events, value, seed+1), got, strconv.Itoa(int(seed)))
	}
}
