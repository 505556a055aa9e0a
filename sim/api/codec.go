package api

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api/defaults"
)

// Objects lie in etcd as kube-apiserver writes them: "k8s\x00", then a runtime.Unknown that names the type and holds
// the object's own protobuf message (apimachinery pkg/runtime/serializer/protobuf/protobuf.go); objects without a Go
// type as JSON. The resourceVersion is not stored: it is the revision of the write.

// protobufMagic begins every protobuf value in etcd.
const protobufMagic = "k8s\x00"

// unknownTail ends a runtime.Unknown: fields 3 and 4, contentEncoding and contentType, both empty.
const unknownTail = "\x1a\x00\x22\x00"

// message is what the generated types of k8s.io/api can do.
type message interface {
	Size() int
	MarshalToSizedBuffer([]byte) (int, error)
	Unmarshal([]byte) error
}

// envelopeFor returns what comes before the raw message: the magic, and field 1 of runtime.Unknown, the type.
func envelopeFor(apiVersion, kind string) []byte {
	var meta []byte
	for i, text := range [...]string{apiVersion, kind} {
		meta = append(meta, byte(i+1)<<3|2, byte(len(text)))
		meta = append(meta, text...)
	}
	b := append([]byte(protobufMagic), 0x0a, byte(len(meta)))
	return append(b, meta...)
}

// Encode returns the bytes that are stored for an object. The object is as it was when Encode returns.
// Errors: an object that no resource of the API has and that is not unstructured.
func Encode(obj Object) ([]byte, error) {
	version := obj.GetResourceVersion()
	if version != "" {
		obj.SetResourceVersion("")
		defer obj.SetResourceVersion(version)
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return u.MarshalJSON()
	}
	r := ResourceOf(obj)
	m, ok := obj.(message)
	if r == nil || !ok {
		return nil, fmt.Errorf("no kind is registered for the type %T", obj)
	}
	size := m.Size()
	value, head := envelop(r, size)
	if _, err := m.MarshalToSizedBuffer(value[head : head+size]); err != nil {
		return nil, err
	}
	return value, nil
}

// envelop makes a stored value of a resource with room for a message of that size, which begins at head.
func envelop(r *Resource, size int) (value []byte, head int) {
	head = len(r.envelope) + 1 + varintLen(uint64(size))
	value = make([]byte, head+size+len(unknownTail))
	n := copy(value, r.envelope)
	value[n] = 0x12 // field 2, raw
	binary.PutUvarint(value[n+1:], uint64(size))
	copy(value[head+size:], unknownTail)
	return value, head
}

func varintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

var errNotStored = errors.New("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")

// Decode makes the object that value holds, with its type and with modRevision as its resourceVersion.
// Errors: value is not what Encode makes of an object of that resource.
func Decode(r *Resource, value []byte, modRevision int64) (Object, error) {
	obj := r.New()
	m, typed := obj.(message)
	if !typed || len(value) > 0 && value[0] == '{' {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(value); err != nil {
			return nil, err
		}
		u.SetResourceVersion(strconv.FormatInt(modRevision, 10))
		return u, nil
	}
	raw, err := rawMessage(r, value)
	if err != nil {
		return nil, err
	}
	if e, ok := obj.(*corev1.Event); !ok || !decodeEvent(e, raw) {
		if ok {
			*e = corev1.Event{}
		}
		if err := m.Unmarshal(raw); err != nil {
			return nil, err
		}
	}
	identify(r, obj, modRevision)
	return obj, nil
}

// identify completes a decoded object with what its message does not hold.
func identify(r *Resource, obj Object, modRevision int64) {
	if t, ok := obj.GetObjectKind().(*metav1.TypeMeta); ok {
		*t = r.typeMeta // SetGroupVersionKind would put the text together each time
	} else {
		obj.GetObjectKind().SetGroupVersionKind(r.GVK)
	}
	obj.SetResourceVersion(strconv.FormatInt(modRevision, 10))
	if r == StatefulSets {
		defaults.Set(obj) // the types of its claim templates
	}
}

// rawMessage cuts the object's own message out of a stored value.
func rawMessage(r *Resource, value []byte) ([]byte, error) {
	if !bytes.HasPrefix(value, r.envelope) {
		if !bytes.HasPrefix(value, []byte(protobufMagic)) {
			return nil, errNotStored
		}
		return nil, fmt.Errorf("the stored value is not a %s", r.GVK.Kind)
	}
	rest := value[len(r.envelope):]
	if len(rest) == 0 || rest[0] != 0x12 {
		return nil, errNotStored
	}
	size, n := binary.Uvarint(rest[1:])
	rest = rest[1:]
	if n <= 0 || uint64(len(rest)-n) < size {
		return nil, errNotStored
	}
	return rest[n : n+int(size)], nil
}

// Codec decodes stored values once for everybody: the API servers of a simulation share it, and share the objects that
// it returns. It holds no state of the cluster: every answer is the one that the bytes give, whoever asked before.
type Codec struct {
	decoded   []decoded      // the slot of a revision is its remainder; a newer revision takes an older one's slot
	siblings  [1 << 9]Stored // pods by what their names begin with: the last one made of a template
	labelSets [1 << 10]labelSet
	texts     [1 << 10]string // words that many statuses have
	yes, no   bool            // for pointers: never changed
}

type decoded struct {
	revision int64
	value    []byte
	object   Object
}

// chosen: minutes of a small cluster and seconds of a large one; what has left is decoded again.
const memoMin, memoMax = 1 << 10, 1 << 12

// NewCodec makes the codec of one simulation.
func NewCodec() *Codec { return &Codec{decoded: make([]decoded, memoMin), yes: true} }

type codecKey struct{}

// CodecOf returns the codec of a simulation, which its API servers and its observers share.
func CodecOf(k *sim.Kernel) *Codec {
	return k.Memo(codecKey{}, func() any { return NewCodec() }).(*Codec)
}

// Decode is Decode, with a memory. The object is shared: nobody may change it. value must never change.
//
// One might expect a write to leave the object it encoded here, so that nothing is decoded at all. But what comes back
// from etcd is what the bytes say and not what the writer held: times lose their fractions of a second, empty lists
// become absent ones, and the writer may still hold a part of its object.
func (c *Codec) Decode(r *Resource, value []byte, modRevision int64) (Object, error) {
	return c.DecodeAfter(r, value, modRevision, Stored{})
}

// DecodeAfter is Decode for one who knows the state before of the same object, with which the new one shares what is
// equal. What it shares is all that it has of it: the object is what value says, whatever was before.
func (c *Codec) DecodeAfter(r *Resource, value []byte, modRevision int64, before Stored) (Object, error) {
	d := c.slot(modRevision)
	if d.revision == modRevision && sameBytes(d.value, value) {
		return d.object, nil
	}
	var sibling *Stored
	if before.Object == nil && r == Pods {
		if sibling = c.sibling(value); sibling != nil {
			before = *sibling
		}
	}
	obj, err := c.decodeAfter(r, value, modRevision, before)
	if err != nil {
		return nil, err
	}
	if sibling != nil {
		*sibling = Stored{value, obj}
	} else if before.Object != nil { // few will ask for the state before, and its memory is wanted
		if was := c.slot(Revision(before.Object)); was.object == before.Object {
			*was = decoded{}
		}
	}
	if d = c.slot(modRevision); modRevision >= d.revision {
		*d = decoded{modRevision, value, obj}
	}
	return obj, nil
}

// sibling returns the place of the last pod whose name was generated as that of the one in value; nil if it was not.
func (c *Codec) sibling(value []byte) *Stored {
	f, ok := sectionsOf(Pods, value)
	if !ok {
		return nil
	}
	if _, rest, ok := cut(f[1]); ok {
		if generate, _, ok := cut(rest); ok && generate.number == 2 && len(generate.body) > 0 {
			return &c.siblings[xxhash.Sum64(generate.body)%uint64(len(c.siblings))]
		}
	}
	return nil
}

func (c *Codec) decodeAfter(r *Resource, value []byte, modRevision int64, before Stored) (Object, error) {
	var f, was sections
	ok := inParts(r)
	if ok {
		f, ok = sectionsOf(r, value)
	}
	if before.Object == nil {
		before.Object = r.zero
	} else if ok {
		was, ok = sectionsOf(r, before.Value)
	}
	if !ok {
		return Decode(r, value, modRevision)
	}
	obj := r.New()
	if known, err := c.assemble(obj, f, before.Object, was); err != nil || !known {
		return Decode(r, value, modRevision)
	}
	identify(r, obj, modRevision)
	return obj, nil
}

func (c *Codec) slot(revision int64) *decoded {
	for revision >= int64(len(c.decoded)) && len(c.decoded) < memoMax {
		old := c.decoded
		c.decoded = make([]decoded, 2*len(old))
		for _, d := range old {
			c.decoded[d.revision&int64(len(c.decoded)-1)] = d
		}
	}
	return &c.decoded[revision&int64(len(c.decoded)-1)]
}

// sameBytes compares first by identity: members and API servers mostly share one backing array.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || bytes.Equal(a, b))
}

// decodeEvent is Event.Unmarshal that makes no copies of well-known words: Events are most of what is created, and few
// are looked at.
func decodeEvent(e *corev1.Event, raw []byte) bool {
	for last := 0; len(raw) > 0; {
		var f wireField
		var ok bool
		if f, raw, ok = cut(raw); !ok || f.number <= last || !eventField(e, &f) {
			return false
		}
		last = f.number
	}
	return true
}

func eventField(e *corev1.Event, f *wireField) bool {
	switch f.number {
	case 1:
		return f.kind == 2 && e.ObjectMeta.Unmarshal(f.body) == nil
	case 2:
		return f.kind == 2 && decodeReference(&e.InvolvedObject, f.body)
	case 3:
		e.Reason = known(f.body)
	case 4:
		e.Message = string(f.body)
	case 5:
		return f.kind == 2 && e.Source.Unmarshal(f.body) == nil
	case 6:
		return f.kind == 2 && e.FirstTimestamp.Unmarshal(f.body) == nil
	case 7:
		return f.kind == 2 && e.LastTimestamp.Unmarshal(f.body) == nil
	case 8:
		e.Count = int32(f.varint())
		return f.kind == 0
	case 9:
		e.Type = known(f.body)
	case 10:
		return f.kind == 2 && e.EventTime.Unmarshal(f.body) == nil
	case 12:
		e.Action = known(f.body)
	case 14:
		e.ReportingController = known(f.body)
	case 15:
		e.ReportingInstance = known(f.body)
	default:
		return false
	}
	return f.kind == 2
}

func decodeReference(r *corev1.ObjectReference, raw []byte) bool {
	for len(raw) > 0 {
		f, rest, ok := cut(raw)
		if !ok || f.kind != 2 {
			return false
		}
		raw = rest
		switch f.number {
		case 1:
			r.Kind = known(f.body)
		case 2:
			r.Namespace = known(f.body)
		case 3:
			r.Name = string(f.body)
		case 4:
			r.UID = types.UID(f.body)
		case 5:
			r.APIVersion = known(f.body)
		case 6:
			r.ResourceVersion = string(f.body)
		case 7:
			r.FieldPath = string(f.body)
		default:
			return false
		}
	}
	return true
}

// known is string(b) without a copy of it for the words that are in most objects.
func known(b []byte) string {
	if word, ok := words[string(b)]; ok {
		return word
	}
	return string(b)
}

var words = tableOf(`True False Unknown Pending Running Succeeded Failed Guaranteed Burstable BestEffort
	PodScheduled PodReadyToStartContainers Initialized ContainersReady Ready DisruptionTarget
	ContainersNotReady ContainersNotInitialized PodCompleted PodFailed Unschedulable NodeStatusUnknown
	KubeletReady KubeletNotReady KubeletHasSufficientMemory KubeletHasNoDiskPressure KubeletHasSufficientPID
	Pod Node ReplicaSet Deployment StatefulSet DaemonSet Job v1 apps/v1 batch/v1 default kube-system
	Normal Warning Scheduled FailedScheduling Pulling Pulled Created Started Killing Unhealthy Binding
	SuccessfulCreate SuccessfulDelete ScalingReplicaSet NodeNotReady TaintManagerEviction
	default-scheduler kubelet replicaset-controller deployment-controller node-controller`)

func tableOf(text string) map[string]string {
	table := map[string]string{"": ""}
	for word := range strings.FieldsSeq(text) {
		table[word] = word
	}
	return table
}
