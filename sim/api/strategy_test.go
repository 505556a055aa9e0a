package api

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/yaml"

	"ksim/sim"
)

func TestDefaultsAreFilledInOnce(t *testing.T) {
	for _, r := range Resources() {
		for seed := range int64(2) {
			obj := filled(r, seed)
			SetDefaults(obj)
			again := obj.DeepCopyObject().(Object)
			SetDefaults(again)
			require.True(t, equality.Semantic.DeepEqual(obj, again), r)
		}
	}
}

// Whatever is written, the checks neither panic nor change it.
func TestChecksOnlyLook(t *testing.T) {
	for _, r := range Resources() {
		for seed := range int64(3) {
			obj, old := filled(r, seed), filled(r, seed+100)
			SetDefaults(obj)
			SetDefaults(old)
			before, beforeOld := obj.DeepCopyObject(), old.DeepCopyObject()
			_ = Validate(obj)
			for _, subresource := range []string{"", "status"} {
				_ = ValidateUpdate(obj, old, subresource)
			}
			require.True(t, equality.Semantic.DeepEqual(before, obj), r)
			require.True(t, equality.Semantic.DeepEqual(beforeOld, old), r)
		}
	}
}

// Updates never change the stored object that they are compared with, and an update to the same is no new generation.
func TestAnUpdateThatChangesNothingIsNoNewGeneration(t *testing.T) {
	for _, r := range Resources() {
		for seed := range int64(2) {
			old := filled(r, seed)
			SetDefaults(old)
			old.SetGeneration(7)
			PrepareForUpdate(old, old.DeepCopyObject().(Object), "") // as it would have been stored
			old.SetGeneration(7)
			for _, subresource := range []string{"", "status"} {
				same, before := old.DeepCopyObject().(Object), old.DeepCopyObject()
				PrepareForUpdate(same, old, subresource)
				assert.Equal(t, int64(7), same.GetGeneration(), "%s %s", r, subresource)
				require.True(t, equality.Semantic.DeepEqual(before, old), r)
			}
		}
	}
}

func TestAStoredObjectKeepsItsIdentity(t *testing.T) {
	s := newServer(t)
	s.create("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")
	was := s.get(ConfigMaps, "default", "a")
	change := was.DeepCopyObject().(*corev1.ConfigMap)
	change.UID, change.CreationTimestamp.Time = "", change.CreationTimestamp.AddDate(1, 0, 0)
	require.NoError(t, BeforeUpdate(ConfigMaps, change, was, ""))
	assert.Equal(t, was.GetUID(), change.UID)
	assert.Equal(t, was.GetCreationTimestamp(), change.CreationTimestamp)
	change.UID = "another"
	err := BeforeUpdate(ConfigMaps, change, was, "")
	assert.ErrorContains(t, err, `metadata.uid: Invalid value: "another": field is immutable`)
}

func TestQualityOfServiceFollowsRequestsAndLimits(t *testing.T) {
	for text, want := range map[string]corev1.PodQOSClass{ // any order: each is checked alone
		"{}":                               corev1.PodQOSBestEffort,
		"{requests: {cpu: 1}}":             corev1.PodQOSBurstable,
		"{limits: {cpu: 1}}":               corev1.PodQOSBurstable,
		"{limits: {cpu: 1, memory: 1Gi}}":  corev1.PodQOSGuaranteed,
		"{requests: {example.com/gpu: 1}}": corev1.PodQOSBestEffort,
		"{limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}": corev1.PodQOSBurstable,
	} {
		pod := &corev1.Pod{}
		require.NoError(t, yaml.Unmarshal([]byte("spec: {containers: [{name: c, resources: "+text+"}]}"), pod))
		SetDefaults(pod)
		assert.Equal(t, want, qosOf(pod), text)
	}
}

func TestCreatingIsRepeatable(t *testing.T) {
	create := func() string {
		s := &server{t: t, stream: sim.New(7).Rand("apiserver/cp-1"), stored: map[string][]byte{},
			revision: map[string]int64{}}
		return s.create("{apiVersion: v1, kind: Pod, metadata: {generateName: a-}, spec: {containers: [{name: c, image: x}]}}")
	}
	assert.Equal(t, create(), create())
}
