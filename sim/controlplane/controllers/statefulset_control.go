package controllers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models pkg/controller/statefulset stateful_set_control.go, stateful_set_utils.go and stateful_pod_control.go, v1.36:
// what one sync of a StatefulSet does to its pods.

// splitOrdinal splits the name of a StatefulSet's pod into the set's name and the ordinal, -1 if it has none.
func splitOrdinal(pod string) (set string, ordinal int) {
	i := strings.LastIndexByte(pod, '-')
	if i < 0 {
		return "", -1
	}
	n, err := strconv.ParseUint(pod[i+1:], 10, 31)
	if err != nil {
		return "", -1
	}
	return pod[:i], int(n)
}

func isRunningAndReady(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodRunning && isPodReady(pod)
}

// isUnavailable reports whether a replica is missing, terminating or not available.
func (s *statefulSync) isUnavailable(pod *corev1.Pod) bool {
	return pod == nil || pod.DeletionTimestamp != nil || !isPodAvailable(pod, s.set.Spec.MinReadySeconds, s.now())
}

// advance does what is to be done next: to one ordinal after the other, until one must be waited for, or, under the
// policy Parallel, to all.
func (s *statefulSync) advance(p *sim.Proc) error {
	monotonic := s.set.Spec.PodManagementPolicy != appsv1.ParallelPodManagement
	firstUnavailable := s.firstUnavailable()
	wait, err := s.forAll(p, len(s.replicas), monotonic, func(p *sim.Proc, i int) (bool, error) {
		return s.processReplica(p, i, monotonic)
	})
	if wait || err != nil {
		return err
	}
	wait, err = s.forAll(p, len(s.condemned), monotonic, func(p *sim.Proc, i int) (bool, error) {
		return s.processCondemned(p, s.condemned[i], firstUnavailable, monotonic)
	})
	if wait || err != nil || s.set.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
		return err
	}
	return s.rollingUpdate(p)
}

// forAll calls fn for each index: monotonic in order, until it says to wait; else in batches that double.
func (s *statefulSync) forAll(p *sim.Proc, n int, monotonic bool,
	fn func(p *sim.Proc, i int) (wait bool, err error)) (bool, error) {
	if monotonic || !s.release.StatefulSetParallelBatches {
		for i := range n {
			if wait, err := fn(p, i); err != nil || wait && monotonic {
				return true, err
			}
		}
		return false, nil
	}
	cause := s.kernel.Cause()
	_, err := controlplane.SlowStartBatch(p, n, func(p *sim.Proc, i int) error {
		p.Because(cause)
		_, err := fn(p, i)
		return err
	})
	return err != nil, err
}

// firstUnavailable is the unavailable pod with the lowest ordinal, nil if there is none.
func (s *statefulSync) firstUnavailable() *corev1.Pod {
	for _, pod := range s.replicas {
		if s.isUnavailable(pod) {
			return pod
		}
	}
	for _, pod := range slices.Backward(s.condemned) {
		if s.isUnavailable(pod) {
			return pod
		}
	}
	return nil
}

// processReplica sees to one ordinal; wait says that nothing further may be done in order.
func (s *statefulSync) processReplica(p *sim.Proc, i int, monotonic bool) (wait bool, err error) {
	pod := s.replicas[i]
	if pod != nil && (pod.Status.Phase == corev1.PodFailed ||
		pod.Status.Phase == corev1.PodSucceeded && s.release.StatefulSetReplacesSucceeded) {
		if wait, err = s.recreate(p, pod); wait || err != nil {
			return true, err
		}
		pod = nil
	}
	switch {
	case pod == nil:
		created, err := s.create(p, i+s.start())
		if err != nil {
			return true, err
		}
		s.replicas[i] = created
		return monotonic, nil
	case monotonic && s.isUnavailable(pod): // a terminating pod keeps its identity until the object is gone
		return true, nil
	case pod.Labels[appsv1.StatefulSetPodNameLabel] != pod.Name:
		copied := pod.DeepCopy()
		s.identify(copied)
		_, err := api.UpdateObject(p, s.client, copied)
		return err != nil, err
	}
	return false, nil
}

// recreate deletes a pod that has ended. wait: the one that takes its place is made when the object is gone; old
// releases make it at once.
func (s *statefulSync) recreate(p *sim.Proc, pod *corev1.Pod) (wait bool, err error) {
	if s.release.StatefulSetReplacesSucceeded {
		if pod.DeletionTimestamp == nil {
			err = s.delete(p, pod)
		}
		return true, err
	}
	s.control.record(s.set, corev1.EventTypeWarning, "RecreatingFailedPod", fmt.Sprintf(
		"StatefulSet %s/%s is recreating failed Pod %s", s.set.Namespace, s.set.Name, pod.Name), pod)
	return false, s.delete(p, pod)
}

func (s *statefulSync) processCondemned(p *sim.Proc, pod, firstUnavailable *corev1.Pod,
	monotonic bool) (wait bool, err error) {
	switch {
	case pod.DeletionTimestamp != nil:
		return monotonic, nil
	case monotonic && s.isUnavailable(pod) && pod != firstUnavailable:
		return true, nil // something before it is not well: nothing is scaled down
	}
	return true, s.delete(p, pod)
}

// create makes the pod of an ordinal from the template that it should have: below the partition the current one's.
func (s *statefulSync) create(p *sim.Proc, n int) (*corev1.Pod, error) {
	revision := s.update
	if rolling := s.set.Spec.UpdateStrategy.RollingUpdate; rolling != nil {
		if rolling.Partition != nil && n < s.start()+int(*rolling.Partition) {
			revision = s.current
		}
	} else if s.set.Spec.UpdateStrategy.Type == appsv1.RollingUpdateStatefulSetStrategyType &&
		n < s.start()+int(s.set.Status.CurrentReplicas) {
		revision = s.current
	}
	template := &s.set.Spec.Template
	if revision != s.update {
		var err error
		if template, err = s.history.template(revision); err != nil {
			return nil, err
		}
	}
	pod := podFromTemplate(template, s.set, ownerReference(s.set))
	pod.GenerateName, pod.Name = "", fmt.Sprintf("%s-%d", s.set.Name, n)
	s.identify(pod)
	pod.Labels[appsv1.StatefulSetRevisionLabel] = revision.Name
	pod.Spec.Hostname, pod.Spec.Subdomain = pod.Name, s.set.Spec.ServiceName
	for _, claim := range s.set.Spec.VolumeClaimTemplates {
		pod.Spec.Volumes = append(slices.DeleteFunc(pod.Spec.Volumes,
			func(v corev1.Volume) bool { return v.Name == claim.Name }),
			corev1.Volume{Name: claim.Name,
				VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
					ClaimName: claim.Name + "-" + pod.Name}}})
	}
	name := pod.Name
	created, err := api.CreateObject(p, s.client, pod)
	if err != nil {
		if !api.IsAlreadyExists(err) {
			s.control.record(s.set, corev1.EventTypeWarning, "FailedCreate", fmt.Sprintf(
				"Create Pod %s in StatefulSet %s failed error: %v", name, s.set.Name, err), nil)
		}
		return nil, err
	}
	s.because(created)
	s.control.record(s.set, corev1.EventTypeNormal, "SuccessfulCreate", fmt.Sprintf(
		"Create Pod %s in StatefulSet %s successful", name, s.set.Name), created)
	return created, nil
}

// identify labels a pod with its name and ordinal.
func (s *statefulSync) identify(pod *corev1.Pod) {
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels[appsv1.StatefulSetPodNameLabel] = pod.Name
	if _, n := splitOrdinal(pod.Name); s.release.StatefulSetPodIndexLabel {
		pod.Labels[appsv1.PodIndexLabel] = strconv.Itoa(n)
	}
}

// delete deletes a pod of the set.
func (s *statefulSync) delete(p *sim.Proc, pod *corev1.Pod) error {
	err := api.DeleteObject[*corev1.Pod](p, s.client, api.KeyOf(pod), api.DeleteOptions{})
	if err != nil {
		if api.IsNotFound(err) {
			return nil
		}
		s.control.record(s.set, corev1.EventTypeWarning, "FailedDelete", fmt.Sprintf(
			"Delete Pod %s in StatefulSet %s failed error: %v", pod.Name, s.set.Name, err), pod)
		return err
	}
	s.control.record(s.set, corev1.EventTypeNormal, "SuccessfulDelete", fmt.Sprintf(
		"Delete Pod %s in StatefulSet %s successful", pod.Name, s.set.Name), pod)
	return nil
}

// rollingUpdate deletes the highest outdated pods above the partition: one, when all above it are available, or as many
// as maxUnavailable leaves room for.
func (s *statefulSync) rollingUpdate(p *sim.Proc) error {
	partition, room := 0, 1
	rolling := s.set.Spec.UpdateStrategy.RollingUpdate
	if rolling != nil && rolling.Partition != nil {
		partition = int(*rolling.Partition)
	}
	if s.release.StatefulSetMaxUnavailable {
		if rolling != nil && rolling.MaxUnavailable != nil {
			room = max(int(scaled(rolling.MaxUnavailable, int32(len(s.replicas)), false)), 1)
		}
		for _, pod := range s.replicas {
			if s.isUnavailable(pod) {
				room--
			}
		}
	}
	for n := len(s.replicas) - 1; n >= partition && room > 0; n-- {
		pod := s.replicas[n]
		if pod != nil && pod.Labels[appsv1.StatefulSetRevisionLabel] != s.update.Name && pod.DeletionTimestamp == nil {
			if err := s.delete(p, pod); err != nil {
				return err
			}
			s.updating++
			room--
		} else if !s.release.StatefulSetMaxUnavailable && s.isUnavailable(pod) {
			return nil
		}
	}
	return nil
}
