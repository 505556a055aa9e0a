package api

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

// parts remembers decoded parts of objects by their bytes. Objects share them, as they share everything below their
// first level: nobody changes a decoded object.
type parts struct {
	metas       shelf[metav1.ObjectMeta]
	pods        shelf[corev1.PodSpec]
	nodes       shelf[corev1.NodeSpec]
	replicaSets shelf[appsv1.ReplicaSetSpec]
	deployments shelf[appsv1.DeploymentSpec]
}

// assemble fills in an object of a kind that is written often; known is false for all others.
func (p *parts) assemble(obj Object, f sections) (known bool, err error) {
	switch o := obj.(type) {
	case *coordinationv1.Lease:
		if err = p.metas.take(&o.ObjectMeta, f[1], (*metav1.ObjectMeta).Unmarshal); err == nil {
			err = o.Spec.Unmarshal(f[2])
		}
	case *corev1.Pod:
		if err = p.metas.take(&o.ObjectMeta, f[1], (*metav1.ObjectMeta).Unmarshal); err == nil {
			err = p.pods.take(&o.Spec, f[2], (*corev1.PodSpec).Unmarshal)
		}
		if err == nil {
			err = o.Status.Unmarshal(f[3])
		}
	case *corev1.Node:
		if err = p.metas.take(&o.ObjectMeta, f[1], (*metav1.ObjectMeta).Unmarshal); err == nil {
			err = p.nodes.take(&o.Spec, f[2], (*corev1.NodeSpec).Unmarshal)
		}
		if err == nil {
			err = o.Status.Unmarshal(f[3])
		}
	case *appsv1.ReplicaSet:
		if err = p.metas.take(&o.ObjectMeta, f[1], (*metav1.ObjectMeta).Unmarshal); err == nil {
			err = p.replicaSets.take(&o.Spec, f[2], (*appsv1.ReplicaSetSpec).Unmarshal)
		}
		if err == nil {
			err = o.Status.Unmarshal(f[3])
		}
	case *appsv1.Deployment:
		if err = p.metas.take(&o.ObjectMeta, f[1], (*metav1.ObjectMeta).Unmarshal); err == nil {
			err = p.deployments.take(&o.Spec, f[2], (*appsv1.DeploymentSpec).Unmarshal)
		}
		if err == nil {
			err = o.Status.Unmarshal(f[3])
		}
	default:
		return false, nil
	}
	return true, err
}

// shelf remembers decoded values by the hash of their bytes; a newer one takes an older one's place.
type shelf[T any] struct {
	places []shelved[T]
	filled int
}

type shelved[T any] struct {
	hash  uint64
	raw   []byte
	value *T
}

// chosen: the shelf of a small cluster is small; the largest is that of some ten thousand pods.
const shelfMin, shelfMax = 1 << 6, 1 << 15

// take sets dst to what raw decodes to.
func (s *shelf[T]) take(dst *T, raw []byte, decode func(*T, []byte) error) error {
	hash := xxhash.Sum64(raw)
	if s.filled >= len(s.places) && len(s.places) < shelfMax {
		s.grow()
	}
	place := &s.places[hash&uint64(len(s.places)-1)]
	if place.value == nil || place.hash != hash || !bytes.Equal(place.raw, raw) {
		value := new(T)
		if err := decode(value, raw); err != nil {
			return err
		}
		if place.value == nil {
			s.filled++
		}
		*place = shelved[T]{hash, raw, value}
	}
	*dst = *place.value
	return nil
}

func (s *shelf[T]) grow() {
	old := s.places
	s.places = make([]shelved[T], max(shelfMin, 2*len(old)))
	s.filled = 0
	for _, o := range old {
		if o.value != nil {
			s.places[o.hash&uint64(len(s.places)-1)] = o
			s.filled++
		}
	}
}
