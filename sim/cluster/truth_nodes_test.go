package cluster

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/spec"
)

// Timelines of nodes. What was different there: one API server, and kubelets that were small programs: pods Ready 1
// s after binding, gone 1 s after their deletionTimestamp was seen, Ready at once when they came back.

// sixNodes is one control plane that is no node, and workers without zones.
func sixNodes() *spec.Cluster {
	s := specOf(spec.Single, spec.Systemd, 6)
	s.Zones = nil
	return s
}

// workloads are one of each kind, with n pods where there can be several.
func workloads(n int32) []api.Object {
	template := func(name string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
		d := deployment(name, n)
		return d.Spec.Selector, d.Spec.Template
	}
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "sts", Namespace: "default"},
		Spec: appsv1.StatefulSetSpec{Replicas: &n, ServiceName: "sts"}}
	set.Spec.Selector, set.Spec.Template = template("sts")
	daemon := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Name: "ds", Namespace: "default"}}
	daemon.Spec.Selector, daemon.Spec.Template = template("ds")
	bare := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "bare", Namespace: "default"},
		Spec: deployment("bare", 1).Spec.Template.Spec}
	return []api.Object{deployment("web", n), set, daemon, bare}
}

// cut ends a worker's kubelet for good, as far as anybody can see.
func (r *rig) cut(worker string) {
	require.NoError(r.t, r.faults.Kill("kubelet", worker))
	require.NoError(r.t, r.Systemd(worker).Stop("kubelet", func() {}))
}

func (r *rig) podsOn(node string) (names []string) {
	for _, pod := range pods(r.Cluster) {
		if pod.Spec.NodeName == node {
			names = append(names, pod.Name)
		}
	}
	return names
}

func TestTimelineNodeDetection(t *testing.T) {
	many := func() *spec.Cluster {
		s := specOf(spec.Single, spec.Systemd, 24)
		s.Zones = nil
		return s
	}
	timeline(t, "00", many, func(r *rig, f *figures) {
		r.fault()
		lost := map[string]float64{}
		for _, worker := range r.spec.Workers[:12] { // half of the zone: it stays normal
			r.wait(13 * time.Second)
			r.cut(worker.Name)
			lost[worker.Name] = r.now()
		}
		r.wait(time.Minute)
		var samples []float64
		for worker, at := range lost { // any order: sorted below
			unknown, ok := r.first("node "+worker, "Unknown", at)
			require.True(t, ok)
			renewed := r.renewed[worker][len(r.renewed[worker])-1]
			samples = append(samples, unknown-renewed)
			f.got["Unknown after the loss, least"] = least(f.got["Unknown after the loss, least"], unknown-at)
			f.got["Unknown after the loss, most"] = max(f.got["Unknown after the loss, most"], unknown-at)
		}
		slices.Sort(samples)
		f.set("Unknown after the last renewal, least", samples[0])
		f.set("Unknown after the last renewal, median", samples[len(samples)/2])
		f.set("Unknown after the last renewal, most", samples[len(samples)-1])
	})
}

// least is the smaller one, of values that may not be there yet.
func least(a, b float64) float64 {
	if a == 0 {
		return b
	}
	return min(a, b)
}

func TestTimelineNodeFailure(t *testing.T) {
	timeline(t, "01", sixNodes, func(r *rig, f *figures) {
		create(t, r.Cluster, workloads(6)...)
		r.wait(40 * time.Second)
		lost := r.podNode("bare")
		there := r.podsOn(lost)
		r.fault()
		require.NoError(t, r.faults.Crash(lost))
		r.wait(7 * time.Minute)
		unknown := f.at(r, "Unknown", "node "+lost, "Unknown", 0)
		tainted := f.at(r, "NoExecute after Unknown", "node "+lost, "Unknown unreachable:NoExecute", unknown)
		for _, pod := range there {
			f.at(r, "pod not Ready after Unknown", "pod "+pod, "Running", unknown)
			deleted, ok := r.first("pod "+pod, "Running Terminating", 0)
			require.Equal(t, strings.HasPrefix(pod, "ds-"), !ok, "of all only the DaemonSet's is not deleted: %s", pod)
			if ok {
				f.set("deletionTimestamp after NoExecute", deleted-tainted)
			}
			if strings.HasPrefix(pod, "web-") {
				f.set("replacement after deletionTimestamp", r.created("web-", deleted)-deleted)
			}
			require.Contains(t, r.podsOn(lost), pod, "it stays Terminating")
		}
		require.NoError(t, r.faults.Start(lost))
		r.wait(90 * time.Second)
		back := r.after("node "+lost, "True", 420) + 420
		f.set("NoExecute off after Ready", r.exactly("node "+lost, "True", back))
		for _, pod := range there {
			gone, deleted := r.first("pod "+pod, "gone", 0)
			require.Equal(t, strings.HasPrefix(pod, "ds-"), !deleted)
			switch {
			case deleted && strings.HasPrefix(pod, "sts-"):
				f.set("StatefulSet's pod again after", r.created(pod, gone)-gone)
				fallthrough
			case deleted:
				f.set("Terminating pod gone after Ready", gone-back)
			}
		}
	})
}

// podNode returns where a pod runs.
func (r *rig) podNode(name string) string {
	for _, pod := range pods(r.Cluster) {
		if pod.Name == name {
			return pod.Spec.NodeName
		}
	}
	return ""
}

// created returns when the next pod of that name was first seen.
func (r *rig) created(name string, from float64) float64 {
	for _, m := range r.marks {
		if m.at >= from && strings.HasPrefix(m.who, "pod "+name) && m.what == "Pending" {
			return m.at
		}
	}
	return 86400
}

// The recording's node is back at 124 s in an instant; here a machine boots for 20 to 30 s.
func TestTimelineNodeReboot(t *testing.T) {
	timeline(t, "02", sixNodes, func(r *rig, f *figures) {
		create(t, r.Cluster, workloads(6)...)
		r.wait(40 * time.Second)
		lost := r.podNode("bare")
		there := r.podsOn(lost)
		r.fault()
		require.NoError(t, r.faults.Crash(lost))
		r.wait(100 * time.Second)
		require.NoError(t, r.faults.Start(lost))
		r.wait(60 * time.Second)
		f.at(r, "Unknown", "node "+lost, "Unknown", 0)
		back := r.after("node "+lost, "True", 100) + 100
		f.set("NoExecute off after Ready", r.exactly("node "+lost, "True", back))
		for _, pod := range there {
			f.set("pod Ready after the node", r.exactly("pod "+pod, "Running Ready", back))
		}
		f.set("pods deleted", float64(r.count("pod ", "Running Terminating")))
		require.ElementsMatch(t, there, r.podsOn(lost))
	})
}

func TestTimelineMostNodesDown(t *testing.T) {
	timeline(t, "04", sixNodes, func(r *rig, f *figures) {
		create(t, r.Cluster, workloads(6)...)
		r.wait(40 * time.Second)
		r.fault()
		require.NoError(t, r.faults.Crash("worker-4"))
		r.wait(20 * time.Second) // so that it is detected in an earlier look than the others
		for _, worker := range []string{"worker-1", "worker-2", "worker-3"} {
			require.NoError(t, r.faults.Crash(worker))
		}
		r.wait(400 * time.Second)
		first := f.at(r, "Unknown of the first", "node worker-4", "Unknown", 0)
		tainted := f.at(r, "NoExecute of the first after Unknown", "node worker-4", "Unknown unreachable:NoExecute", first)
		others := []string{"worker-1", "worker-2", "worker-3"}
		look := 0.0 // the one in which the zone passes 55 %
		for _, worker := range others {
			f.set("Unknown of the others", r.after("node "+worker, "Unknown", 20))
			look = max(look, r.after("node "+worker, "Unknown", 0))
		}
		for _, worker := range others {
			if r.after("node "+worker, "Unknown", 0) < look-1 {
				continue // the zone was still normal
			}
			require.NotContains(t, r.stateAt("node "+worker, 420), "NoExecute", "the zone has passed 55 %")
			for _, pod := range r.podsOn(worker) {
				require.Zero(t, r.last("pod "+pod, "Running Terminating"), pod)
			}
		}
		for _, pod := range r.podsOn("worker-4") {
			if deleted := r.last("pod "+pod, "Running Terminating"); !strings.HasPrefix(pod, "ds-") {
				f.set("deletionTimestamp after NoExecute", deleted-tainted)
			}
		}
		require.Contains(t, r.stateAt("node worker-4", 420), "NoExecute", "its taint is not taken off")
	})
}
