package fields_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"ksim/sim/api"
	"ksim/sim/api/fields"
)

// Every field that somebody can write in an object on which something acts has a row, and every row a field.
func TestEveryFieldIsSaidToActToBeHarmlessOrToWarn(t *testing.T) {
	rows := fields.Rows()
	used := map[string]bool{}
	seen := map[reflect.Type]bool{}
	var walk func(rt reflect.Type)
	walk = func(rt reflect.Type) {
		for rt.Kind() == reflect.Pointer || rt.Kind() == reflect.Slice || rt.Kind() == reflect.Map {
			rt = rt.Elem()
		}
		own := strings.HasPrefix(rt.PkgPath(), "k8s.io/api/") || rt.Name() == "ObjectMeta" ||
			strings.HasPrefix(rt.Name(), "LabelSelector") || rt.Name() == "OwnerReference"
		if rt.Kind() != reflect.Struct || seen[rt] || !own {
			return
		}
		seen[rt] = true
		for i := range rt.NumField() {
			f := rt.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			switch {
			case f.Name == "TypeMeta" || name == "status":
			case name == "":
				walk(f.Type)
			default:
				key := rt.Name() + "." + name
				verdict, there := rows[key]
				assert.True(t, there, "%s has no row", key)
				used[key] = true
				if verdict == "acts" {
					walk(f.Type)
				}
			}
		}
	}
	for _, r := range api.Resources() {
		if r.Modelled {
			walk(reflect.TypeOf(r.New()))
		}
	}
	for key, verdict := range rows { // any order: each is checked alone
		assert.True(t, used[key], "no field is %s", key)
		assert.NotEmpty(t, verdict, key)
	}
}

func TestARowThatIsNotSimplyTrueSaysWhy(t *testing.T) {
	for key, why := range fields.Reasons() { // any order: each is checked alone
		assert.NotEmpty(t, why, key)
		assert.NotContains(t, why, "=", "%s: an option that is not one", key)
	}
}

func read(t *testing.T, obj runtime.Object, text string) runtime.Object {
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), obj))
	return obj
}

func told(obj runtime.Object, minor int) []string {
	var list []string
	for _, f := range fields.Check(obj, minor) {
		list = append(list, f.String())
	}
	return list
}

func TestWhatIsSetAndHasNoEffectIsTold(t *testing.T) {
	pod := read(t, &corev1.Pod{}, `
spec:
  shareProcessNamespace: false
  securityContext: {runAsUser: 1000, sysctls: [{name: a, value: b}]}
  volumes: [{name: a, persistentVolumeClaim: {claimName: b}}, {name: c, emptyDir: {medium: Memory}},
    {name: d, hostPath: {path: /x, type: Directory}}, {name: e, hostPath: {path: /y, type: DirectoryOrCreate}}]
  initContainers: [{name: i, restartPolicy: Always}, {name: j, restartPolicy: Never}]
  containers: [{name: c, lifecycle: {preStop: {httpGet: {port: 80}}}, resources: {limits: {cpu: 1}}}]`)
	assert.Equal(t, []string{
		"spec.volumes[0].persistentVolumeClaim is not modelled: the scheduler looks for the claim, but nothing binds " +
			"claims or attaches volumes",
		"spec.volumes[2].hostPath.type is not modelled: nobody looks whether the machine has it",
		"spec.initContainers[1].restartPolicy is not modelled: the restart policy of the pod decides",
		"spec.containers[0].lifecycle.preStop.httpGet is not modelled: the hook takes no time and succeeds",
		"spec.securityContext.sysctls is not modelled: the kubelet does not refuse a pod for those that are not safe",
	}, told(pod, 36))
	job := read(t, &batchv1.Job{}, "spec: {completionMode: NonIndexed, suspend: true, backoffLimit: 3}")
	assert.Empty(t, told(job, 36))
	job = read(t, &batchv1.Job{}, "spec: {completionMode: Indexed, completions: 2}")
	assert.Equal(t, []string{"spec.completionMode is not modelled: the Job is not indexed"}, told(job, 36))
	service := read(t, &corev1.Service{}, "spec: {type: ClusterIP, sessionAffinity: None, ipFamilies: [IPv4]}")
	assert.Empty(t, told(service, 36))
	service = read(t, &corev1.Service{}, "spec: {type: LoadBalancer, ipFamilies: [IPv6, IPv4]}")
	assert.Len(t, told(service, 36), 2)
	endpoints := read(t, &corev1.Endpoints{}, "subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80}]}]")
	assert.Empty(t, told(endpoints, 18), "kube-proxy reads them")
	assert.Len(t, told(endpoints, 19), 1)
}

func TestAReleaseKnowsTheFieldsThatItHas(t *testing.T) {
	const text = "spec: {updateStrategy: {rollingUpdate: {maxSurge: 1}}}"
	set := func() runtime.Object { return read(t, &appsv1.DaemonSet{}, text) }
	const path = "spec.updateStrategy.rollingUpdate.maxSurge"
	assert.Equal(t, []string{path + " is unknown in v1.20: it came with v1.21"}, told(set(), 20))
	assert.Equal(t, []string{path + " has no effect: its feature is on from v1.22, and the API server of v1.21 drops it"},
		told(set(), 21))
	assert.Empty(t, told(set(), 22))
	dropped := set()
	fields.Drop(dropped, 21)
	assert.Nil(t, dropped.(*appsv1.DaemonSet).Spec.UpdateStrategy.RollingUpdate.MaxSurge)
	kept := set()
	fields.Drop(kept, 22)
	assert.NotNil(t, kept.(*appsv1.DaemonSet).Spec.UpdateStrategy.RollingUpdate.MaxSurge)
	sidecar := read(t, &corev1.Pod{}, "spec: {initContainers: [{name: i, restartPolicy: Always}]}").(*corev1.Pod)
	fields.Drop(sidecar, 28)
	assert.Nil(t, sidecar.Spec.InitContainers[0].RestartPolicy, "sidecars are on from v1.29")
	stop := read(t, &corev1.Pod{}, "spec: {containers: [{name: c, lifecycle: {stopSignal: SIGUSR1}}]}")
	assert.Equal(t, []string{"spec.containers[0].lifecycle.stopSignal has no effect: no release has its feature on, and " +
		"the API server drops it"}, told(stop, 36))
}
