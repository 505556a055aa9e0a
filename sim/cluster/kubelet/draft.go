package kubelet

import corev1 "k8s.io/api/core/v1"

// draft is where the kubelets of a simulation make a pod's status, one at a time and without a wait until it is handed
// to the status manager: most turn out to be what they were, and are not kept.
type draft struct {
	status                       corev1.PodStatus
	merged                       corev1.PodStatus
	conditions, mergedConditions []corev1.PodCondition
	containers, initContainers   []corev1.ContainerStatus

	yes, no bool // what pointers of statuses point to
	texts   map[string]string
	text    []byte
}

// draftMemo is the key of the simulation's draft.
type draftMemo struct{}

func draftOf(kl *Kubelet) *draft {
	return kl.kernel.Memo(draftMemo{}, func() any { return &draft{yes: true, texts: map[string]string{}} }).(*draft)
}

// begin returns the draft as an empty status.
func (d *draft) begin() *corev1.PodStatus {
	d.status = corev1.PodStatus{}
	return &d.status
}

// of returns the draft as a copy of a status whose conditions and container statuses may be changed.
func (d *draft) of(status *corev1.PodStatus) *corev1.PodStatus {
	d.status = *status
	d.conditions = append(d.conditions[:0], status.Conditions...)
	d.containers = append(d.containers[:0], status.ContainerStatuses...)
	d.initContainers = append(d.initContainers[:0], status.InitContainerStatuses...)
	d.status.Conditions, d.status.ContainerStatuses = d.conditions, d.containers
	d.status.InitContainerStatuses = d.initContainers
	return &d.status
}

// kept returns a status that stays as the draft is now.
func kept(status *corev1.PodStatus) *corev1.PodStatus {
	s := new(corev1.PodStatus)
	*s = *status
	s.Conditions = exact(status.Conditions)
	s.ContainerStatuses = exact(status.ContainerStatuses)
	s.InitContainerStatuses = exact(status.InitContainerStatuses)
	return s
}

func exact[T any](list []T) []T {
	if len(list) == 0 {
		return nil
	}
	return append(make([]T, 0, len(list)), list...)
}

// bool returns a pointer that all statuses share.
func (d *draft) bool(value bool) *bool {
	if value {
		return &d.yes
	}
	return &d.no
}

// manyTexts bounds what words remembers. chosen: more than there are templates of pods.
const manyTexts = 1 << 12

// words puts parts together to a text that all who say the same share.
func (d *draft) words(parts ...string) string {
	d.text = d.text[:0]
	for _, part := range parts {
		d.text = append(d.text, part...)
	}
	if text, ok := d.texts[string(d.text)]; ok {
		return text
	}
	if len(d.texts) >= manyTexts {
		clear(d.texts)
	}
	text := string(d.text)
	d.texts[text] = text
	return text
}
