package kubelet

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
	"ksim/sim/hardware"
)

const manifestFile = "/etc/kubernetes/manifests/st.yaml"

const staticManifest = `apiVersion: v1
kind: Pod
metadata:
  name: st
  annotations: {container.ksim.dev/c: stops=2s}
spec:
  containers:
  - name: c
    image: registry.local/app:1
    imagePullPolicy: IfNotPresent
`

func (b *bench) write(text string) sim.Time {
	require.NoError(b.t, b.machine.Disk().WriteFileSync(manifestFile, []byte(text)))
	return b.kernel.Now()
}

// runs returns when containers of the static pod started and ended since t.
func (b *bench) runsOf(object string, since sim.Time) (starts, ends []float64) {
	for _, e := range b.kernel.Trace().Events() {
		if e.T < since || e.Object != object {
			continue
		}
		switch e.Reason {
		case "ContainerStarted":
			starts = append(starts, e.T.Sub(since).Seconds())
		case "ContainerDied":
			ends = append(ends, e.T.Sub(since).Seconds())
		}
	}
	return starts, ends
}

const staticPod = "st-" + testNode

// Recorded in truth/kubelet 08b.
func TestStaticPodFollowsItsManifest(t *testing.T) {
	b := newBench(t, 1)
	b.run(10 * time.Second)
	object := "pod/default/" + staticPod
	at := b.write(staticManifest)
	b.run(12 * time.Second)
	starts, _ := b.runsOf(object, at)
	require.Len(t, starts, 1)
	assert.InDelta(t, 0.07, starts[0], 0.03)
	mirror := b.pod(staticPod)
	require.NotNil(t, mirror)
	assert.Equal(t, corev1.PodRunning, mirror.Status.Phase)
	assert.NotEmpty(t, mirror.Annotations[corev1.MirrorPodAnnotationKey])

	at = b.write(strings.Replace(staticManifest, "app:1", "app:2", 1))
	b.run(30 * time.Second)
	starts, ends := b.runsOf(object, at)
	require.Len(t, ends, 1)
	assert.InDelta(t, 2, ends[0], 0.1)
	require.Len(t, starts, 1)
	assert.GreaterOrEqual(t, starts[0], 10.0)
	assert.LessOrEqual(t, starts[0], 16.2)
	assert.NotEqual(t, mirror.UID, b.pod(staticPod).UID)
	assert.Equal(t, corev1.PodRunning, b.pod(staticPod).Status.Phase)

	b.machine.Disk().Remove(manifestFile)
	at = b.kernel.Now()
	b.run(10 * time.Second)
	_, ends = b.runsOf(object, at)
	require.Len(t, ends, 1)
	assert.InDelta(t, 2, ends[0], 0.1)
	assert.Nil(t, b.pod(staticPod))
}

func TestManifestMovedAwayAndBackRestartsThePod(t *testing.T) {
	b := newBench(t, 1)
	b.run(10 * time.Second)
	b.write(staticManifest)
	b.run(15 * time.Second)
	b.machine.Disk().Remove(manifestFile)
	at := b.kernel.Now()
	b.run(500 * time.Millisecond)
	b.write(staticManifest)
	b.run(20 * time.Second)
	starts, ends := b.runsOf("pod/default/"+staticPod, at)
	require.Len(t, ends, 1)
	require.Len(t, starts, 1)
	assert.InDelta(t, 3.7, starts[0], 1.2)
	assert.Equal(t, int32(1), b.pod(staticPod).Status.ContainerStatuses[0].RestartCount)
}

func TestUnreadableManifestStopsThePodAtTheNextFullRead(t *testing.T) {
	b := newBench(t, 1)
	b.run(10 * time.Second)
	b.write(staticManifest)
	b.run(15 * time.Second)
	at := b.write("apiVersion: v1\nkind: Pod\n  broken")
	b.run(30 * time.Second)
	_, ends := b.runsOf("pod/default/"+staticPod, at)
	require.Len(t, ends, 1)
	assert.LessOrEqual(t, ends[0], 22.2)
	assert.Nil(t, b.pod(staticPod))
}

// Recorded in truth/kubelet 08b: back in 0.02 s, or only at the next sync when it was deleted by force.
func TestDeletedMirrorPodComesBackAndItsContainerNeverStops(t *testing.T) {
	b := newBench(t, 1)
	b.run(10 * time.Second)
	b.write(staticManifest)
	b.run(15 * time.Second)
	at := b.kernel.Now()
	old := b.pod(staticPod)
	b.server.delete(old, nil, nil)
	b.run(time.Second)
	require.NotNil(t, b.pod(staticPod))
	assert.NotEqual(t, old.UID, b.pod(staticPod).UID)
	b.run(15 * time.Second)
	zero := int64(0)
	b.server.delete(b.pod(staticPod), &zero, nil)
	b.run(5 * time.Second)
	assert.Nil(t, b.pod(staticPod))
	b.run(90 * time.Second)
	assert.NotNil(t, b.pod(staticPod))
	_, ends := b.runsOf("pod/default/"+staticPod, at)
	assert.Empty(t, ends)
}

func TestStaticPodRunsASimulatedProgram(t *testing.T) {
	b := newBench(t, 1)
	started := 0
	b.runtime = containerd.New(b.machine, containerd.Options{Programs: map[string]containerd.Program{
		"kube-scheduler": crashing(&started)}})
	text := strings.Replace(staticManifest, "spec:", "spec:\n  hostNetwork: true", 1)
	text = strings.Replace(text, "    image:", "    command: [kube-scheduler, --leader-elect=true]\n    image:", 1)
	b.run(10 * time.Second)
	b.write(text)
	b.run(30 * time.Second)
	assert.Equal(t, 3, started, "at once, at once again, then after a back-off")
	assert.Equal(t, int32(2), b.pod(staticPod).Status.ContainerStatuses[0].RestartCount)
}

// crashing is a program that ends with 1 after 2 s.
func crashing(started *int) containerd.Program {
	return func(p *hardware.Process, argv []string) {
		*started++
		p.Scope().After(2*time.Second, "crash", func() { p.Exit(1, "leaderelection lost") })
	}
}
