package api

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/cespare/xxhash/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Two states of an object, or two pods of one template, have nearly all their fields in common. The decoders below go
// through both messages side by side: what has the same bytes is shared, what differs is decoded if it is among what
// usually does. Else, and for whatever they do not know, the generated Unmarshal has its turn.

// wireField is one field of a message.
type wireField struct {
	number int
	body   []byte // without its length; of a number its varint
	kind   byte   // of the encoding: 0 a varint, 2 bytes
}

func (f *wireField) varint() int64 {
	v, _ := binary.Uvarint(f.body)
	return int64(v)
}

// cut takes the first field off a message.
func cut(raw []byte) (f wireField, rest []byte, ok bool) {
	tag, n := binary.Uvarint(raw)
	if n <= 0 || tag>>3 > 1<<20 {
		return f, nil, false
	}
	f.number, f.kind = int(tag>>3), byte(tag&7)
	raw = raw[n:]
	value, n := binary.Uvarint(raw)
	switch {
	case n <= 0:
		return f, nil, false
	case f.kind == 0:
		f.body = raw[:n]
		return f, raw[n:], true
	case f.kind != 2 || uint64(len(raw)-n) < value:
		return f, nil, false
	}
	end := n + int(value)
	f.body = raw[n:end]
	return f, raw[end:], true
}

// alike decodes raw into dst, given that was decodes to before: the two have the same fields, and differ sets those
// whose bytes differ. nth counts a field's repetitions. false: dst is of no use.
func alike[T any](dst, before *T, raw, was []byte, differ func(dst, before *T, f, old wireField, nth int) bool) bool {
	*dst = *before
	if bytes.Equal(raw, was) {
		return true
	}
	for nth, last := 0, -1; len(raw) > 0 && len(was) > 0; nth++ {
		var f, old wireField
		var ok, okOld bool
		f, raw, ok = cut(raw)
		old, was, okOld = cut(was)
		if !ok || !okOld || f.number != old.number || f.kind != old.kind || f.number < last {
			return false
		}
		if f.number != last {
			nth, last = 0, f.number
		}
		if !bytes.Equal(f.body, old.body) && !differ(dst, before, f, old, nth) {
			return false
		}
	}
	return len(raw) == 0 && len(was) == 0
}

// own makes the nth element of a list of dst one that may be changed: the list is before's until then. nil: there is
// no such element.
func own[T any](list *[]T, before []T, nth int) *T {
	if nth >= len(before) || len(*list) != len(before) {
		return nil
	}
	if &(*list)[0] == &before[0] {
		*list = slices.Clone(before)
	}
	return &(*list)[nth]
}

func differPodSpec(dst, before *corev1.PodSpec, f, old wireField, nth int) bool {
	switch f.number {
	case 1:
		v := own(&dst.Volumes, before.Volumes, nth)
		return v != nil && alike(v, &before.Volumes[nth], f.body, old.body, differVolume)
	case 2:
		c := own(&dst.Containers, before.Containers, nth)
		return c != nil && alike(c, &before.Containers[nth], f.body, old.body, differContainer)
	case 10:
		dst.NodeName = string(f.body)
		return f.kind == 2
	}
	return false
}

func differVolume(dst, _ *corev1.Volume, f, _ wireField, _ int) bool {
	if f.number != 1 || f.kind != 2 {
		return false
	}
	dst.Name = string(f.body)
	return true
}

func differContainer(dst, before *corev1.Container, f, old wireField, nth int) bool {
	switch f.number {
	case 2:
		dst.Image = string(f.body)
		return f.kind == 2
	case 9:
		m := own(&dst.VolumeMounts, before.VolumeMounts, nth)
		return m != nil && alike(m, &before.VolumeMounts[nth], f.body, old.body, differVolumeMount)
	}
	return false
}

func differVolumeMount(dst, _ *corev1.VolumeMount, f, _ wireField, _ int) bool {
	dst.Name = string(f.body)
	return f.number == 1 && f.kind == 2
}

func differLeaseSpec(dst, _ *coordinationv1.LeaseSpec, f, _ wireField, _ int) bool {
	if f.number != 4 {
		return false
	}
	dst.RenewTime = &metav1.MicroTime{}
	return dst.RenewTime.Unmarshal(f.body) == nil
}

func differNodeStatus(dst, before *corev1.NodeStatus, f, old wireField, nth int) bool {
	if f.number != 4 {
		return false
	}
	c := own(&dst.Conditions, before.Conditions, nth)
	return c != nil && alike(c, &before.Conditions[nth], f.body, old.body, differNodeCondition)
}

func differNodeCondition(dst, _ *corev1.NodeCondition, f, _ wireField, _ int) bool {
	switch f.number {
	case 2:
		dst.Status = corev1.ConditionStatus(known(f.body))
	case 3:
		return dst.LastHeartbeatTime.Unmarshal(f.body) == nil
	case 4:
		return dst.LastTransitionTime.Unmarshal(f.body) == nil
	case 5:
		dst.Reason = known(f.body)
	case 6:
		dst.Message = known(f.body)
	default:
		return false
	}
	return f.kind == 2
}

// wireFields is a message taken apart, in the order of its fields' numbers.
type wireFields struct {
	list [40]wireField
	ends [40]int // in the message
	n    int
}

// takeApart cuts a message; false: it has too many fields, or they are out of order.
func (w *wireFields) takeApart(raw []byte) bool {
	size := len(raw)
	for w.n = 0; len(raw) > 0; w.n++ {
		var ok bool
		if w.n == len(w.list) {
			return false
		}
		if w.list[w.n], raw, ok = cut(raw); !ok || w.n > 0 && w.list[w.n].number < w.list[w.n-1].number {
			return false
		}
		w.ends[w.n] = size - len(raw)
	}
	return true
}

// run returns the fields of one number that begin at i.
func (w *wireFields) run(i int) []wireField {
	end := i + 1
	for end < w.n && w.list[end].number == w.list[i].number {
		end++
	}
	return w.list[i:end]
}

// metaAfter is alike for metadata, whose labels come and go. Their maps are those of the codec.
func (c *Codec) metaAfter(dst, before *metav1.ObjectMeta, raw, was []byte) bool {
	*dst = *before
	if bytes.Equal(raw, was) {
		return true
	}
	var now, old wireFields
	if !now.takeApart(raw) || !old.takeApart(was) {
		return false
	}
	dst.Labels = nil
	for i, j := 0, 0; i < now.n || j < old.n; {
		if i == now.n || j < old.n && old.list[j].number < now.list[i].number {
			if old.list[j].number != labelsField {
				return false // gone
			}
			j += len(old.run(j))
			continue
		}
		fields, at := now.run(i), i
		i += len(fields)
		var olds []wireField
		if j < old.n && old.list[j].number == fields[0].number {
			olds = old.run(j)
			j += len(olds)
		}
		switch {
		case sameFields(fields, olds):
			if fields[0].number == labelsField {
				dst.Labels = before.Labels
			}
		case fields[0].number == labelsField && at > 0:
			if dst.Labels = c.labels(fields, raw[now.ends[at-1]:now.ends[i-1]]); dst.Labels == nil {
				return false
			}
		case len(fields) != 1 || !differMeta(dst, &fields[0]):
			return false
		}
	}
	return true
}

// labelsField is the number of the labels among the fields of metadata.
const labelsField = 11

func differMeta(dst *metav1.ObjectMeta, f *wireField) bool {
	switch f.number {
	case 1:
		dst.Name = string(f.body)
	case 3:
		dst.Namespace = known(f.body)
	case 5:
		dst.UID = types.UID(f.body)
	case 7:
		dst.Generation = f.varint()
		return f.kind == 0
	case 8:
		return f.kind == 2 && dst.CreationTimestamp.Unmarshal(f.body) == nil
	case 9:
		dst.DeletionTimestamp = &metav1.Time{}
		return f.kind == 2 && dst.DeletionTimestamp.Unmarshal(f.body) == nil
	case 10:
		seconds := f.varint()
		dst.DeletionGracePeriodSeconds = &seconds
		return f.kind == 0
	default:
		return false
	}
	return f.kind == 2
}

// labelSet is a map of labels with the bytes that it was made of.
type labelSet struct {
	raw    []byte
	labels map[string]string
}

// labels returns the map that fields stand for, which are raw: thousands of pods of one template have the same, and it
// is the larger part of their metadata. nil: it cannot be read.
func (c *Codec) labels(fields []wireField, raw []byte) map[string]string {
	place := &c.labelSets[xxhash.Sum64(raw)%uint64(len(c.labelSets))]
	if bytes.Equal(place.raw, raw) {
		return place.labels
	}
	labels := make(map[string]string, len(fields))
	for i := range fields {
		key, rest, ok := cut(fields[i].body)
		value, rest, ok2 := cut(rest)
		if !ok || !ok2 || len(rest) > 0 || fields[i].kind != 2 || key.number != 1 || key.kind != 2 || value.number != 2 ||
			value.kind != 2 {
			return nil
		}
		labels[string(key.body)] = known(value.body)
	}
	*place = labelSet{raw, labels}
	return labels
}

// podStatusAfter is alike for a pod's status, to which fields come one by one. A status that loses a field is decoded
// anew.
func podStatusAfter(dst, before *corev1.PodStatus, raw, was []byte) bool {
	var now, old wireFields
	if !now.takeApart(raw) || !old.takeApart(was) {
		return false
	}
	*dst = *before
	for i, j := 0, 0; i < now.n || j < old.n; {
		if i == now.n || j < old.n && old.list[j].number < now.list[i].number {
			return false // gone
		}
		fields := now.run(i)
		i += len(fields)
		var olds []wireField
		if j < old.n && old.list[j].number == fields[0].number {
			olds = old.run(j)
			j += len(olds)
		}
		if !sameFields(fields, olds) && !differPodStatus(dst, before, fields, olds) {
			return false
		}
	}
	return true
}

func sameFields(a, b []wireField) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].kind != b[i].kind || !bytes.Equal(a[i].body, b[i].body) {
			return false
		}
	}
	return true
}

func differPodStatus(dst, before *corev1.PodStatus, now, old []wireField) bool {
	f := &now[0]
	text := len(now) == 1 && f.kind == 2
	switch f.number {
	case 1:
		dst.Phase = corev1.PodPhase(known(f.body))
	case 2:
		return elements(&dst.Conditions, before.Conditions, now, old, decodePodCondition)
	case 3:
		dst.Message = known(f.body)
	case 4:
		dst.Reason = known(f.body)
	case 5:
		dst.HostIP = string(f.body)
	case 6:
		dst.PodIP = string(f.body)
	case 7:
		dst.StartTime = &metav1.Time{}
		return text && dst.StartTime.Unmarshal(f.body) == nil
	case 8:
		return elements(&dst.ContainerStatuses, before.ContainerStatuses, now, old, (*corev1.ContainerStatus).Unmarshal)
	case 9:
		dst.QOSClass = corev1.PodQOSClass(known(f.body))
	case 10:
		return elements(&dst.InitContainerStatuses, before.InitContainerStatuses, now, old,
			(*corev1.ContainerStatus).Unmarshal)
	case 11:
		dst.NominatedNodeName = string(f.body)
	case 12:
		return elements(&dst.PodIPs, before.PodIPs, now, old, (*corev1.PodIP).Unmarshal)
	case 16:
		return elements(&dst.HostIPs, before.HostIPs, now, old, (*corev1.HostIP).Unmarshal)
	case 17:
		dst.ObservedGeneration = f.varint()
		return f.kind == 0
	default:
		return false
	}
	return text
}

// elements makes the list that fields stand for: those that were in the list before are taken from there.
func elements[T any](list *[]T, before []T, now, old []wireField, decode func(*T, []byte) error) bool {
	if len(old) != len(before) {
		return false
	}
	made := make([]T, len(now))
	for i := range now {
		if now[i].kind != 2 {
			return false
		}
		found := false
		for j := range old {
			if found = bytes.Equal(now[i].body, old[j].body); found {
				made[i] = before[j]
				break
			}
		}
		if !found && decode(&made[i], now[i].body) != nil {
			return false
		}
	}
	*list = made
	return true
}

// decodePodCondition is PodCondition.Unmarshal that makes no copies of well-known words.
func decodePodCondition(c *corev1.PodCondition, raw []byte) error {
	whole := raw
	for len(raw) > 0 {
		var f wireField
		var ok bool
		if f, raw, ok = cut(raw); !ok || !podConditionField(c, &f) {
			*c = corev1.PodCondition{}
			return c.Unmarshal(whole)
		}
	}
	return nil
}

func podConditionField(c *corev1.PodCondition, f *wireField) bool {
	switch f.number {
	case 1:
		c.Type = corev1.PodConditionType(known(f.body))
	case 2:
		c.Status = corev1.ConditionStatus(known(f.body))
	case 3:
		return f.kind == 2 && c.LastProbeTime.Unmarshal(f.body) == nil
	case 4:
		return f.kind == 2 && c.LastTransitionTime.Unmarshal(f.body) == nil
	case 5:
		c.Reason = known(f.body)
	case 6:
		c.Message = known(f.body)
	case 7:
		c.ObservedGeneration = f.varint()
		return f.kind == 0
	default:
		return false
	}
	return f.kind == 2
}
