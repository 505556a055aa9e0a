package api

import (
	"bytes"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/cespare/xxhash/v2"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Most writes change one part of an object and leave the bytes of the others as they were: a status, a Lease's
// specification. So an object is decoded after the state before it, from which it takes what is equal, and encoded
// after it, from which it takes the bytes of what it has kept. Objects share the parts: nobody changes a decoded one.

// Stored is an object with the value that it was decoded from.
type Stored struct {
	Value  []byte
	Object Object // nil: none is known
}

// sections are the message fields of nearly all objects: metadata, spec, status.
type sections [4][]byte

// split cuts a message into its fields 1 to 3; ok is false when it holds others, or one twice.
func split(raw []byte) (f sections, ok bool) {
	for len(raw) > 0 {
		number := raw[0] >> 3
		if raw[0]&7 != 2 || number < 1 || number > 3 || f[number] != nil {
			return f, false
		}
		size, n := binary.Uvarint(raw[1:])
		if n <= 0 || uint64(len(raw)-1-n) < size {
			return f, false
		}
		end := 1 + n + int(size)
		f[number] = raw[1+n : end : end]
		raw = raw[end:]
	}
	return f, true
}

// sectionsOf cuts a stored value of a resource.
func sectionsOf(r *Resource, value []byte) (f sections, ok bool) {
	raw, err := rawMessage(r, value)
	if err != nil {
		return f, false
	}
	return split(raw)
}

// inParts reports whether the objects of a resource are written often: assemble and EncodeAfter know them.
func inParts(r *Resource) bool {
	return r == Pods || r == Leases || r == Nodes || r == ReplicaSets || r == Deployments
}

// assemble fills in an object of a kind that is known in parts, sharing with the state before what has the same bytes;
// known is false if the two are of different kinds.
func (c *Codec) assemble(obj Object, f sections, before Object, was sections) (known bool, err error) {
	switch o := obj.(type) {
	case *coordinationv1.Lease:
		if b, ok := before.(*coordinationv1.Lease); ok {
			known = true
			if err = c.meta(&o.ObjectMeta, f[1], &b.ObjectMeta, was[1]); err == nil {
				err = partAfter(&o.Spec, f[2], &b.Spec, was[2], differLeaseSpec)
			}
		}
	case *corev1.Pod:
		if b, ok := before.(*corev1.Pod); ok {
			known = true
			if err = c.meta(&o.ObjectMeta, f[1], &b.ObjectMeta, was[1]); err == nil {
				err = partAfter(&o.Spec, f[2], &b.Spec, was[2], differPodSpec)
			}
			if err == nil {
				err = podStatus(&o.Status, f[3], &b.Status, was[3])
				c.shareTexts(&o.Status, &b.Status)
			}
		}
	case *corev1.Node:
		if b, ok := before.(*corev1.Node); ok {
			known = true
			if err = c.meta(&o.ObjectMeta, f[1], &b.ObjectMeta, was[1]); err == nil {
				err = part(&o.Spec, f[2], &b.Spec, was[2])
			}
			if err == nil {
				err = partAfter(&o.Status, f[3], &b.Status, was[3], differNodeStatus)
			}
		}
	case *appsv1.ReplicaSet:
		if b, ok := before.(*appsv1.ReplicaSet); ok {
			known = true
			if err = c.meta(&o.ObjectMeta, f[1], &b.ObjectMeta, was[1]); err == nil {
				err = part(&o.Spec, f[2], &b.Spec, was[2])
			}
			if err == nil {
				err = part(&o.Status, f[3], &b.Status, was[3])
			}
		}
	case *appsv1.Deployment:
		if b, ok := before.(*appsv1.Deployment); ok {
			known = true
			if err = c.meta(&o.ObjectMeta, f[1], &b.ObjectMeta, was[1]); err == nil {
				err = part(&o.Spec, f[2], &b.Spec, was[2])
			}
			if err == nil {
				err = part(&o.Status, f[3], &b.Status, was[3])
			}
		}
	}
	return known, err
}

// unmarshaler is a part of an object, by its pointer.
type unmarshaler[T any] interface {
	*T
	Unmarshal([]byte) error
}

// part sets dst to what raw decodes to: to what it was before if the bytes were the same.
func part[T any, P unmarshaler[T]](dst P, raw []byte, before P, was []byte) error {
	if bytes.Equal(raw, was) {
		*dst = *before
		return nil
	}
	return dst.Unmarshal(raw)
}

// partAfter is part for one of which we know how it usually differs.
func partAfter[T any, P unmarshaler[T]](dst P, raw []byte, before P, was []byte,
	differ func(dst, before *T, f, old wireField, nth int) bool) error {
	if alike(dst, before, raw, was, differ) {
		return nil
	}
	var none T
	*dst = none
	return dst.Unmarshal(raw)
}

func (c *Codec) meta(dst *metav1.ObjectMeta, raw []byte, before *metav1.ObjectMeta, was []byte) error {
	if c.metaAfter(dst, before, raw, was) {
		return nil
	}
	*dst = metav1.ObjectMeta{}
	return dst.Unmarshal(raw)
}

func podStatus(dst *corev1.PodStatus, raw []byte, before *corev1.PodStatus, was []byte) error {
	if bytes.Equal(raw, was) {
		*dst = *before
		return nil
	}
	if podStatusAfter(dst, before, raw, was) {
		return nil
	}
	*dst = corev1.PodStatus{}
	return dst.Unmarshal(raw)
}

// Kept says which part of an object an update has left as it was, as PrepareForUpdate sees to it.
type Kept uint8

// The parts.
const (
	KeptNothing Kept = iota
	KeptSpec
	KeptStatus
)

// KeptBy returns what an update of a subresource leaves as it is.
func KeptBy(subresource string) Kept {
	if subresource == "status" {
		return KeptSpec
	}
	return KeptStatus
}

// EncodeAfter is Encode for an object that replaces another, of which it has kept a part: the bytes of that part, and
// of metadata that are equal, are taken over.
func EncodeAfter(obj Object, before Stored, kept Kept) ([]byte, error) {
	var now [4]message
	var meta, was *metav1.ObjectMeta
	switch o := obj.(type) {
	case *coordinationv1.Lease:
		if b, ok := before.Object.(*coordinationv1.Lease); ok {
			meta, was, now[2] = &o.ObjectMeta, &b.ObjectMeta, &o.Spec
		}
	case *corev1.Pod:
		if b, ok := before.Object.(*corev1.Pod); ok {
			meta, was, now[2], now[3] = &o.ObjectMeta, &b.ObjectMeta, &o.Spec, &o.Status
		}
	case *corev1.Node:
		if b, ok := before.Object.(*corev1.Node); ok {
			meta, was, now[2], now[3] = &o.ObjectMeta, &b.ObjectMeta, &o.Spec, &o.Status
		}
	case *appsv1.ReplicaSet:
		if b, ok := before.Object.(*appsv1.ReplicaSet); ok {
			meta, was, now[2], now[3] = &o.ObjectMeta, &b.ObjectMeta, &o.Spec, &o.Status
		}
	case *appsv1.Deployment:
		if b, ok := before.Object.(*appsv1.Deployment); ok {
			meta, was, now[2], now[3] = &o.ObjectMeta, &b.ObjectMeta, &o.Spec, &o.Status
		}
	}
	if meta == nil {
		return Encode(obj)
	}
	r := resourceOfGoType(obj)
	old, ok := sectionsOf(r, before.Value)
	if !ok || old[1] == nil || old[2] == nil || now[3] != nil && old[3] == nil {
		return Encode(obj)
	}
	if !sameMeta(meta, was) {
		now[1] = meta
	}
	switch {
	case kept == KeptSpec && now[3] != nil:
		now[2] = nil
	case kept == KeptStatus:
		now[3] = nil
	}
	version := meta.ResourceVersion
	meta.ResourceVersion = "" // not stored
	value, err := join(r, now, old)
	meta.ResourceVersion = version
	return value, err
}

// join puts a stored value together from parts that have changed and the bytes of those that have not.
func join(r *Resource, now [4]message, old sections) ([]byte, error) {
	var sizes [4]int
	size := 0
	for i := 1; i < len(now); i++ {
		sizes[i] = len(old[i])
		switch {
		case now[i] != nil:
			sizes[i] = now[i].Size()
		case old[i] == nil:
			continue
		}
		size += 1 + varintLen(uint64(sizes[i])) + sizes[i]
	}
	value, at := envelop(r, size)
	for i := 1; i < len(now); i++ {
		if now[i] == nil && old[i] == nil {
			continue
		}
		value[at] = byte(i)<<3 | 2
		at += 1 + binary.PutUvarint(value[at+1:], uint64(sizes[i]))
		end := at + sizes[i]
		if now[i] == nil {
			copy(value[at:end], old[i])
		} else if _, err := now[i].MarshalToSizedBuffer(value[at:end]); err != nil {
			return nil, err
		}
		at = end
	}
	return value, nil
}

// sameMeta reports whether metadata have the same bytes in store, where the resourceVersion is not.
func sameMeta(a, b *metav1.ObjectMeta) bool {
	return a.Name == b.Name && a.Namespace == b.Namespace && a.UID == b.UID && a.Generation == b.Generation &&
		a.GenerateName == b.GenerateName && a.SelfLink == b.SelfLink && a.CreationTimestamp == b.CreationTimestamp &&
		a.DeletionTimestamp.Equal(b.DeletionTimestamp) &&
		equalPointers(a.DeletionGracePeriodSeconds, b.DeletionGracePeriodSeconds) &&
		slices.Equal(a.Finalizers, b.Finalizers) && len(a.ManagedFields) == 0 && len(b.ManagedFields) == 0 &&
		slices.EqualFunc(a.OwnerReferences, b.OwnerReferences, sameOwner) &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

func sameOwner(a, b metav1.OwnerReference) bool {
	return a.APIVersion == b.APIVersion && a.Kind == b.Kind && a.Name == b.Name && a.UID == b.UID &&
		equalPointers(a.Controller, b.Controller) && equalPointers(a.BlockOwnerDeletion, b.BlockOwnerDeletion)
}

func equalPointers[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

// shareTexts has what is new in a pod's status, that nobody has seen yet, share its texts with the statuses of others:
// ten thousand pods are of one image, on a few hundred machines.
func (c *Codec) shareTexts(now, before *corev1.PodStatus) {
	if now.HostIP != before.HostIP {
		now.HostIP = c.text(now.HostIP)
	}
	if fresh(now.PodIPs, before.PodIPs) && now.PodIPs[0].IP == now.PodIP {
		now.PodIPs[0].IP = now.PodIP
	}
	if fresh(now.HostIPs, before.HostIPs) && now.HostIPs[0].IP == now.HostIP {
		now.HostIPs[0].IP = now.HostIP
	}
	if fresh(now.Conditions, before.Conditions) {
		for i := range now.Conditions {
			now.Conditions[i].Message = c.text(now.Conditions[i].Message)
		}
	}
	if !fresh(now.ContainerStatuses, before.ContainerStatuses) {
		return
	}
	for i := range now.ContainerStatuses {
		s := &now.ContainerStatuses[i]
		s.Name, s.Image, s.ImageID = c.text(s.Name), c.text(s.Image), c.text(s.ImageID)
		if s.Started != nil && *s.Started {
			s.Started = &c.yes
		} else if s.Started != nil {
			s.Started = &c.no
		}
	}
}

// fresh reports whether a list is not that of the state before.
func fresh[T any](now, before []T) bool {
	return len(now) > 0 && (len(before) == 0 || &now[0] != &before[0])
}

// text returns an equal text, mostly one that others have.
func (c *Codec) text(s string) string {
	if s == "" {
		return ""
	}
	place := &c.texts[xxhash.Sum64String(s)%uint64(len(c.texts))]
	if *place != s {
		*place = s
	}
	return *place
}
