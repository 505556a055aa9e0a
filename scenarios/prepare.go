package scenarios

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"ksim/scenarios/condition"
	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/api/crd"
	"ksim/sim/cluster/spec"
	"ksim/sim/shell"
)

// How long a cluster may take to become ready, chosen, and its pods to run: contract.md.
const (
	readyWithin = 15 * time.Minute
	podsWithin  = 5 * time.Minute
)

// lookEvery is how often Prepare looks whether the cluster is there. chosen: so that large clusters pay little for it.
const lookEvery = 20 * time.Millisecond

// settleWithin is how long after the cluster is ready the administrator may turn to the manifests: a draw between 0
// and this decides. chosen: the period of the kubelets' heartbeats, the longest of the loops that a scenario's times
// can fall in step with. Without it every run would meet the node monitor and the heartbeats in the same phase, and
// how long a death goes unnoticed would hardly spread.
const settleWithin = 10 * time.Second

// manifestDir is where the scenario's manifests lie on the administrator's machine. chosen: out of the home directory.
const manifestDir = "/tmp/scenario"

// StuckError says that a cluster never became ready.
type StuckError struct {
	After   time.Duration
	Missing []string // what it waits for
}

func (e *StuckError) Error() string {
	return fmt.Sprintf("stuck: the cluster is not ready after %s: %s", duration(e.After), strings.Join(e.Missing, "; "))
}

// placeFiles puts the scenario's files and manifests on the machines' disks.
func (r *Run) placeFiles() error {
	for _, machine := range sortedNames(r.Scenario.Files) {
		files := r.Scenario.Files[machine]
		for _, name := range sortedNames(files) {
			full := name
			if !path.IsAbs(full) {
				full = shell.Home + "/" + name
			}
			if err := r.Cluster.Machine(machine).Disk().WriteFileSync(path.Clean(full), []byte(files[name].Text)); err != nil {
				return fmt.Errorf("%s on %s: %w", full, machine, err)
			}
		}
	}
	for _, m := range r.Scenario.Bundle {
		full := path.Join(manifestDir, m.Name)
		if err := r.Cluster.Machine(spec.Admin).Disk().WriteFileSync(full, []byte(m.Text)); err != nil {
			return fmt.Errorf("%s: %w", full, err)
		}
	}
	return nil
}

func sortedNames[T any](m map[string]T) []string {
	names := make([]string, 0, len(m))
	for name := range m { // any order: sorted below
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Prepare brings the run to time zero: the cluster is ready, the manifests are applied, and each of their pods runs or
// has been found unschedulable, or five minutes have passed since.
func (r *Run) Prepare() error {
	r.Start = sim.Time(1 << 62) // not known yet: times before it are negative
	if err := r.until(readyWithin, r.notReady); err != nil {
		return err
	}
	if err := r.settle(); err != nil {
		return err
	}
	if r.bundle = r.Scenario.bundleNames(); len(r.bundle) > 0 {
		if err := r.apply(); err != nil {
			return err
		}
		var stuck *StuckError
		if err := r.until(podsWithin, r.podsToCome); err != nil && !errors.As(err, &stuck) {
			return err
		}
	}
	r.Start = r.Kernel.Now()
	r.started = true
	r.Kernel.Outside(func() {
		r.scope.Emit(
			sim.Event{Level: sim.Story, Reason: "Ready", Object: "scenario/" + r.Scenario.Name, Message: r.summary()},
		)
		r.startProbes()
	})
	r.steps.begin()
	r.look()
	for _, t := range r.trackers {
		if t.open && !t.decided {
			t.look(r.observer, 0)
		}
	}
	return nil
}

// until runs the simulation until missing returns nothing, at most within.
func (r *Run) until(within time.Duration, missing func() []string) error {
	begin := r.Kernel.Now()
	deadline := begin.Add(within)
	seen, next := uint64(0), begin
	lacks := missing()
	for len(lacks) > 0 {
		at, more := r.Kernel.NextAt()
		if !more || at > deadline {
			return &StuckError{within, lacks}
		}
		if _, err := r.Kernel.Step(); err != nil {
			return err
		}
		if err := r.progress(); err != nil {
			return err
		}
		if total := r.world.Changes().Total; total != seen && r.Kernel.Now() >= next {
			seen, next = total, r.Kernel.Now().Add(lookEvery)
			lacks = missing()
		}
	}
	return nil
}

// settle lets the cluster run for a moment, at most settleWithin, and then until it is ready, should it not be so any
// more.
func (r *Run) settle() error {
	idle := r.Kernel.Now().Add(r.Kernel.Rand("scenario").Between(0, settleWithin))
	for at, more := r.Kernel.NextAt(); more && at <= idle; at, more = r.Kernel.NextAt() {
		if _, err := r.Kernel.Step(); err != nil {
			return err
		}
		if err := r.progress(); err != nil {
			return err
		}
	}
	return r.until(readyWithin, r.notReady)
}

// notReady lists what the cluster lacks: an etcd leader, ready API servers, held locks, ready nodes.
func (r *Run) notReady() []string {
	if r.world.Etcd().Leader == "" {
		return []string{"etcd has no leader"}
	}
	for _, server := range r.world.APIReady() {
		if !server.Ready {
			return []string{"the API server of " + server.Machine + " is not ready"}
		}
	}
	for _, component := range condition.Components() {
		if r.elects(component) {
			if r.world.Holder(component) == "" {
				return []string{"nobody holds the lock of " + component}
			}
			continue
		}
		for _, server := range r.world.APIReady() {
			if !slices.Contains(r.world.Leaders(component), server.Machine) {
				return []string{"the " + component + " of " + server.Machine + " has not begun its work"}
			}
		}
	}
	ready := map[string]bool{}
	for _, obj := range r.world.Objects(api.Nodes) {
		for _, c := range obj.(*corev1.Node).Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				ready[obj.GetName()] = true
			}
		}
	}
	var lacks []string
	for _, name := range r.Scenario.names().Nodes {
		if !ready[name] {
			lacks = append(lacks, "node "+name+" is not Ready")
		}
	}
	return lacks
}

// elects reports whether a component takes part in leader election.
func (r *Run) elects(component string) bool {
	for _, f := range r.Scenario.Spec.Flags[component] {
		if f.Name == "leader-elect" && f.Value == "false" {
			return false
		}
	}
	return true
}

// apply has the administrator apply the manifests with kubectl, those that use new kinds when these are there.
func (r *Run) apply() error {
	session := shell.NewSession(r.Cluster, spec.Admin)
	var applying sim.EventID
	r.Kernel.Outside(func() {
		applying = r.scope.Emit(sim.Event{Level: sim.Story, Reason: "Applying", Object: "scenario/" + r.Scenario.Name,
			Machine: spec.Admin, Component: "shell", Message: "the manifests are applied"})
	})
	var commands []string
	for i, m := range r.Scenario.Bundle {
		commands = append(commands, "kubectl apply -f '"+path.Join(manifestDir, m.Name)+"'")
		defines := strings.Contains(m.Text, api.CustomResourceDefinitions.GVK.Kind)
		if i < len(r.Scenario.Bundle)-1 && !defines {
			continue
		}
		if err := r.applyWith(session, strings.Join(commands, " && "), applying); err != nil {
			return err
		}
		if commands = nil; defines {
			if err := r.until(readyWithin, r.kindsToCome); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Run) applyWith(session *shell.Session, script string, cause sim.EventID) error {
	var result *shell.Result
	r.Kernel.Outside(func() {
		r.Kernel.Because(cause)
		session.Run(script).Then(r.scope, func(done shell.Result, _ error) { result = &done })
	})
	deadline := r.Kernel.Now().Add(readyWithin)
	for result == nil {
		if at, more := r.Kernel.NextAt(); !more || at > deadline {
			return &StuckError{readyWithin, []string{"kubectl apply has not ended"}}
		}
		if _, err := r.Kernel.Step(); err != nil {
			return err
		}
	}
	if result.Exit != 0 {
		return fmt.Errorf("the manifests cannot be applied: %s", strings.TrimSpace(result.Stderr))
	}
	return nil
}

// kindsToCome lists the CustomResourceDefinitions whose kinds API servers do not serve yet.
func (r *Run) kindsToCome() []string {
	var lacks []string
	for _, obj := range r.world.Objects(api.CustomResourceDefinitions) {
		d, _, err := crd.Read(obj.(*unstructured.Unstructured))
		if err == nil && !d.True(crd.Established) {
			lacks = append(lacks, d.Name+" is not established")
		}
	}
	return lacks
}

// podsToCome lists the pods of the manifests that neither run nor were found unschedulable.
func (r *Run) podsToCome() []string {
	var lacks []string
	pods := r.world.Objects(api.Pods)
	for _, obj := range r.bundled() {
		if lack := r.lacksPods(obj, pods); lack != "" {
			lacks = append(lacks, lack)
		}
	}
	return lacks
}

// bundledName is an object of the manifests.
type bundledName struct {
	resource        *api.Resource
	namespace, name string
}

// bundleNames reads which objects the manifests have.
func (s *Scenario) bundleNames() []bundledName {
	var names []bundledName
	release, err := api.ParseRelease(s.Spec.Kubernetes)
	if err != nil {
		return nil // cannot be: the scenario was checked
	}
	for _, m := range s.Bundle {
		for _, document := range separator.Split(m.Text, -1) {
			names = append(names, namesIn(release, []byte(document))...)
		}
	}
	return names
}

// namesIn reads which objects a document has: one, or those of a List.
func namesIn(release *api.Release, document []byte) []bundledName {
	var head struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Items           []json.RawMessage `json:"items"`
	}
	if yaml.Unmarshal(document, &head) != nil || head.Kind == "" {
		return nil
	}
	if head.Kind == "List" {
		var names []bundledName
		for _, item := range head.Items {
			names = append(names, namesIn(release, item)...)
		}
		return names
	}
	res := release.ResourceByGVK(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
	if res == nil {
		return nil
	}
	if res.Namespaced && head.Metadata.Namespace == "" {
		head.Metadata.Namespace = metav1.NamespaceDefault
	}
	return []bundledName{{res, head.Metadata.Namespace, head.Metadata.Name}}
}

// bundled returns the objects of the manifests as they stand in etcd now.
func (r *Run) bundled() []api.Object {
	var all []api.Object
	for _, b := range r.bundle {
		for _, obj := range r.world.Objects(b.resource) {
			if obj.GetName() == b.name && obj.GetNamespace() == b.namespace {
				all = append(all, obj)
			}
		}
	}
	return all
}

// lacksPods says what an object still waits for, "" if for nothing.
func (r *Run) lacksPods(obj api.Object, pods []api.Object) string {
	name := obj.GetNamespace() + "/" + obj.GetName()
	want := 0
	switch obj := obj.(type) {
	case *corev1.Pod:
		if !settled(obj) {
			return "pod " + name + " does not run"
		}
		return ""
	case *appsv1.Deployment:
		want = int(or(obj.Spec.Replicas, 1))
	case *appsv1.ReplicaSet:
		want = int(or(obj.Spec.Replicas, 1))
	case *appsv1.StatefulSet:
		want = int(or(obj.Spec.Replicas, 1))
	case *appsv1.DaemonSet:
		if obj.Status.ObservedGeneration < obj.Generation {
			return "daemonset " + name + " was not seen by its controller"
		}
		want = int(obj.Status.DesiredNumberScheduled)
	case *batchv1.Job:
		want = int(or(obj.Spec.Parallelism, 1))
	default:
		return ""
	}
	found := 0
	for _, p := range pods {
		pod := p.(*corev1.Pod)
		if !r.owns(obj, pod) {
			continue
		}
		found++
		if !settled(pod) {
			return "pod " + pod.Name + " does not run"
		}
		if unschedulable(pod) { // a StatefulSet makes no further pod before this one runs
			if _, ordered := obj.(*appsv1.StatefulSet); ordered {
				return ""
			}
		}
	}
	if found < want {
		return fmt.Sprintf("%s has %d of %d pods", name, found, want)
	}
	return ""
}

// owns reports whether a pod belongs to a workload, directly or through a ReplicaSet.
func (r *Run) owns(obj api.Object, pod *corev1.Pod) bool {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || pod.Namespace != obj.GetNamespace() {
		return false
	}
	if owner.UID == obj.GetUID() {
		return true
	}
	if _, ok := obj.(*appsv1.Deployment); !ok || owner.Kind != "ReplicaSet" {
		return false
	}
	for _, set := range r.world.Objects(api.ReplicaSets) {
		if set.GetUID() == owner.UID {
			above := metav1.GetControllerOf(set)
			return above != nil && above.UID == obj.GetUID()
		}
	}
	return false
}

func settled(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodPending && pod.Status.Phase != "" || unschedulable(pod)
}

func unschedulable(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return true
		}
	}
	return false
}

// summary says in a line how the cluster stands at time zero.
func (r *Run) summary() string {
	text := "etcd led by " + r.world.Etcd().Leader
	for _, component := range condition.Components() {
		if holder := r.world.Holder(component); holder != "" {
			text += ", " + strings.TrimPrefix(component, "kube-") + " on " + holder
		}
	}
	return text
}
