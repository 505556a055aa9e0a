package scenarios

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// playText plays a scenario that a test has made and requires that all it expects holds.
func playText(t *testing.T, text string) {
	t.Helper()
	s := parsePlayed(t, "test.yaml", text)
	_, result, err := Play(s, Options{})
	require.NoError(t, err)
	require.Empty(t, failures(result), s.Spec.Kubernetes)
}

// A pod that spread constraints refuse, and that a pod put elsewhere by hand would help: it is woken from v1.31 on;
// before, the flush finds it, after 5 min and up to v1.23 after one. Up to v1.17 the constraints are dropped.
func TestFlushOfPendingPodsThroughTheReleases(t *testing.T) {
	for _, tc := range []struct {
		minor            int
		refused          int
		earliest, latest string
	}{{17, 0, "10s", "13s"}, {18, 1, "70s", "110s"}, {23, 1, "70s", "110s"}, {24, 1, "310s", "350s"},
		{30, 1, "310s", "350s"}, {31, 1, "30s", "33s"}, {36, 1, "30s", "33s"}} {
		playText(t, fmt.Sprintf(`ksim: 1
name: flush
duration: 6m
cluster: {kubernetes: v1.%d, install: systemd, topology: single, workers: 2}
files:
  admin:
    web.yaml: |
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web}
      spec:
        replicas: 2
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec:
            topologySpreadConstraints:
            - maxSkew: 1
              topologyKey: kubernetes.io/hostname
              whenUnsatisfiable: DoNotSchedule
              labelSelector: {matchLabels: {app: web}}
            containers: [{name: c, image: nginx}]
    forced.yaml: |
      apiVersion: v1
      kind: Pod
      metadata: {name: forced, labels: {app: web}}
      spec:
        nodeName: worker-2
        containers: [{name: c, image: nginx}]
steps:
  - {name: cordon, at: 5s, run: kubectl cordon worker-2}
  - {name: web, at: 10s, run: kubectl apply -f web.yaml}
  - {name: by hand, at: 30s, run: kubectl apply -f forced.yaml}
expect:
  - {name: one of two is refused, at: 25s, that: 'podsOf("web").pending().size() == %d'}
  - {name: both run, eventually: 'podsOf("web").ready().size() == 2', between: [%s, %s]}
`, tc.minor, tc.refused, tc.earliest, tc.latest))
	}
}

// Whatever a release has for it, nothing new goes to a node that is lost, and replicas spread over what is left.
func TestNothingGoesToALostNodeInAnyRelease(t *testing.T) {
	for _, minor := range []int{11, 12, 16, 17, 19, 20, 23, 28, 36} {
		playText(t, fmt.Sprintf(`ksim: 1
name: lost
duration: 2m30s
cluster: {kubernetes: v1.%d, topology: single, zones: [a, b, c], workers: 4}
files: {admin: {dep.yaml: {from: dep.yaml}}}
steps:
  - {name: crash, at: 10s, run: fault crash worker-2}
  - {name: apply, at: 80s, run: kubectl apply -f dep.yaml}
expect:
  - {name: all run elsewhere, eventually: 'podsOf("dep").ready().size() == 3', between: [80s, 85s]}
  - {name: none there, never: 'pods.on("worker-2").exists(p, p.metadata.name.startsWith("dep"))'}
  - {name: each has a node of its own, finally: 'podsOf("dep").all(p, podsOf("dep").on(p.spec.nodeName).size() == 1)'}
`, minor))
	}
}

// A pod may be tried again and again while its victim ends: nobody else gets the place, and no second victim is chosen.
func TestPreemptionThroughTheReleases(t *testing.T) {
	for _, minor := range []int{11, 13, 14, 18, 19, 21, 24, 26, 28, 31, 32, 33, 35, 37} {
		playText(t, fmt.Sprintf(`ksim: 1
name: preempt
duration: 1m30s
cluster: {kubernetes: v1.%d, install: systemd, topology: single, workers: [{name: w1, cpu: 2}, {name: w2, cpu: 2}]}
manifests:
  - |
    apiVersion: scheduling.k8s.io/%s
    kind: PriorityClass
    metadata: {name: high}
    value: 1000
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: low-1}
    spec:
      terminationGracePeriodSeconds: 20
      containers: [{name: c, image: b, command: [sleep, "3600"], resources: {requests: {cpu: 1500m}}}]
    ---
    apiVersion: v1
    kind: Pod
    metadata: {name: low-2}
    spec:
      terminationGracePeriodSeconds: 20
      containers: [{name: c, image: b, command: [sleep, "3600"], resources: {requests: {cpu: 1500m}}}]
files:
  admin:
    high.yaml: |
      apiVersion: v1
      kind: Pod
      metadata: {name: high}
      spec:
        priorityClassName: high
        containers: [{name: c, image: nginx, resources: {requests: {cpu: 1500m}}}]
    rival.yaml: |
      apiVersion: v1
      kind: Pod
      metadata: {name: rival}
      spec:
        containers: [{name: c, image: nginx, resources: {requests: {cpu: 1500m}}}]
steps:
  - {name: high, at: 10s, run: kubectl apply -f high.yaml}
  - {name: rival, at: 12s, run: kubectl apply -f rival.yaml}
expect:
  - name: nominated
    eventually: pods.exists(p, p.metadata.name == "high" && has(p.status.nominatedNodeName))
    between: [10s, 11s]
  - {name: one victim, finally: 'pods.filter(p, p.metadata.name.startsWith("low")).size() == 1'}
  - name: bound when the victim is gone
    eventually: pods.exists(p, p.metadata.name == "high" && has(p.spec.nodeName))
    between: [30s, 42s]
  - {name: nobody else got the place, never: 'pods.exists(p, p.metadata.name == "rival" && has(p.spec.nodeName))'}
`, minor, map[bool]string{true: "v1beta1", false: "v1"}[minor < 14]))
	}
}
