package kubelet

import (
	"slices"
	"sort"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
)

// Models the kubelet's pod manager and the merge of its sources (pkg/kubelet/pod/pod_manager.go, config/config.go,
// v1.36): the pods that should be here, and which mirror pod belongs to which static pod.

const (
	configSourceAnnotation = "kubernetes.io/config.source" // pkg/kubelet/types/pod_update.go
	configHashAnnotation   = "kubernetes.io/config.hash"
	configSeenAnnotation   = "kubernetes.io/config.seen"
	apiSource              = "api"
	fileSourceName         = "file"
)

// podManager holds the pods of all sources.
type podManager struct {
	byUID   map[types.UID]*knownPod
	order   []*knownPod            // in order of arrival
	mirrors map[string]*corev1.Pod // by full name
	statics map[string]*corev1.Pod // static pods by full name
}

// knownPod is a pod that should be here, as its source has it now; who keeps it sees it change.
type knownPod struct{ pod *corev1.Pod } // nil: no source has it any more

func (m *podManager) init() {
	m.byUID, m.mirrors = map[types.UID]*knownPod{}, map[string]*corev1.Pod{}
	m.statics = map[string]*corev1.Pod{}
}

func (m *podManager) set(pod *corev1.Pod) {
	if isMirror(pod) {
		m.mirrors[fullName(pod.Namespace, pod.Name)] = pod
		return
	}
	if k := m.byUID[pod.UID]; k != nil {
		k.pod = pod
	} else {
		k = &knownPod{pod}
		m.byUID[pod.UID] = k
		m.order = append(m.order, k)
	}
	if isStatic(pod) {
		m.statics[fullName(pod.Namespace, pod.Name)] = pod
	}
}

func (m *podManager) remove(pod *corev1.Pod) {
	name := fullName(pod.Namespace, pod.Name)
	if isMirror(pod) {
		if have := m.mirrors[name]; have != nil && have.UID == pod.UID {
			delete(m.mirrors, name)
		}
		return
	}
	k := m.byUID[pod.UID]
	if k == nil {
		return
	}
	delete(m.byUID, pod.UID)
	k.pod = nil
	i := slices.Index(m.order, k)
	m.order = slices.Delete(m.order, i, i+1)
	if have := m.statics[name]; have != nil && have.UID == pod.UID {
		delete(m.statics, name)
	}
}

func (m *podManager) get(uid types.UID) *corev1.Pod {
	if k := m.byUID[uid]; k != nil {
		return k.pod
	}
	return nil
}

// mirrorOf returns the mirror pod of a static pod, nil if there is none.
func (m *podManager) mirrorOf(pod *corev1.Pod) *corev1.Pod {
	if !isStatic(pod) {
		return nil
	}
	return m.mirrors[fullName(pod.Namespace, pod.Name)]
}

// all returns the pods in order of arrival.
func (m *podManager) all() []*corev1.Pod {
	list := make([]*corev1.Pod, 0, len(m.order))
	for _, k := range m.order {
		list = append(list, k.pod)
	}
	return list
}

// orphanedMirrors returns mirror pods without a static pod, sorted by name.
func (m *podManager) orphanedMirrors() []*corev1.Pod {
	var names []string
	for name := range m.mirrors { // any order: sorted below
		if m.statics[name] == nil {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	list := make([]*corev1.Pod, len(names))
	for i, name := range names {
		list[i] = m.mirrors[name]
	}
	return list
}

// podAdded handles a pod that the API source has not shown before (HandlePodAdditions).
func (kl *Kubelet) podAdded(pod *corev1.Pod) {
	if isMirror(pod) {
		kl.mirrorChanged(pod, false)
		return
	}
	kl.addPod(pod)
}

// addPod takes a pod of any source in: admission, then a worker.
func (kl *Kubelet) addPod(pod *corev1.Pod) {
	kl.known.set(pod)
	w := kl.workers.get(pod.UID)
	if pod.DeletionTimestamp == nil && !terminalPhase(pod.Status.Phase) && (w == nil || !w.terminating) {
		if refusal := kl.admit(pod); refusal != nil {
			kl.reject(pod, refusal)
			return
		}
	}
	kl.workers.update(updateOptions{kind: syncCreate, pod: pod, mirror: kl.known.mirrorOf(pod)})
}

// podUpdated handles a new state of a pod of the API: what the kubelet must act on, or only a status
// (checkAndUpdatePod).
func (kl *Kubelet) podUpdated(old, pod *corev1.Pod) {
	if old.UID != pod.UID {
		kl.podRemoved(old)
		kl.podAdded(pod)
		return
	}
	if isMirror(pod) {
		if podsDifferSemantically(old, pod) {
			kl.mirrorChanged(pod, false)
		} else {
			kl.known.set(pod)
		}
		kl.status.observed(pod)
		return
	}
	kl.known.set(pod)
	if podsDifferSemantically(old, pod) {
		kl.workers.update(updateOptions{kind: syncUpdate, pod: pod})
	} else if w := kl.workers.get(pod.UID); w != nil {
		w.refresh(pod)
		kl.status.refresh(pod)
	}
	kl.status.observed(pod)
}

// podsDifferSemantically ignores the status (pkg/kubelet/config/config.go).
func podsDifferSemantically(a, b *corev1.Pod) bool {
	if a.DeletionTimestamp.Equal(b.DeletionTimestamp) && sameInt(a.DeletionGracePeriodSeconds,
		b.DeletionGracePeriodSeconds) &&
		sameStrings(a.Labels, b.Labels) && sameStrings(a.Annotations, b.Annotations) {
		return a.Generation != b.Generation || a.Generation == 0 && !apiequality.Semantic.DeepEqual(a.Spec, b.Spec)
	}
	return true
}

func sameInt(a, b *int64) bool { return a == b || a != nil && b != nil && *a == *b }

func sameStrings(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a { // any order: all must be equal
		if other, ok := b[key]; !ok || other != value {
			return false
		}
	}
	return true
}

// podRemoved handles a pod that is gone from the API: its containers are killed (HandlePodRemoves).
func (kl *Kubelet) podRemoved(pod *corev1.Pod) {
	if isMirror(pod) {
		kl.mirrorChanged(pod, true)
		return
	}
	kl.removePod(pod)
}

func (kl *Kubelet) removePod(pod *corev1.Pod) {
	if w := kl.workers.get(pod.UID); w != nil {
		w.rouse()
	}
	kl.known.remove(pod)
	if kl.sourcesReady() {
		kl.workers.update(updateOptions{kind: syncKill, pod: pod})
	}
	kl.housekeepingSoon()
}

// mirrorChanged tells a static pod's worker that its mirror pod came, changed or went. A mirror that went is handed
// on as it last was: that is why one deleted by force comes back only at the pod's next sync.
func (kl *Kubelet) mirrorChanged(mirror *corev1.Pod, gone bool) {
	if gone {
		kl.known.remove(mirror)
	} else {
		kl.known.set(mirror)
	}
	static := kl.known.statics[fullName(mirror.Namespace, mirror.Name)]
	if static == nil {
		kl.housekeepingSoon()
		return
	}
	kl.workers.update(updateOptions{kind: syncUpdate, pod: static, mirror: mirror})
}

// reject makes a pod that the node does not admit Failed (rejectPod).
func (kl *Kubelet) reject(pod *corev1.Pod, refusal *refusal) {
	kl.record(pod, corev1.EventTypeWarning, refusal.reason, refusal.message, sim.Event{Level: storyFor(pod)})
	status := corev1.PodStatus{Phase: corev1.PodFailed, Reason: refusal.reason, QOSClass: pod.Status.QOSClass,
		Message: "Pod was rejected: " + refusal.message, ObservedGeneration: pod.Generation}
	kl.status.set(pod, &status)
}
