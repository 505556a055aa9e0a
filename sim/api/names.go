package api

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/dump"

	"ksim/sim"
)

// alphanums is what generated names are made of: no vowels and no 0, 1, 3, so that no word forms
// (apimachinery pkg/util/rand/rand.go).
const alphanums = "bcdfghjklmnpqrstvwxz2456789"

// A generated name is at most 63 long and ends with 5 drawn characters (apiserver pkg/storage/names/generate.go).
const (
	maxNameLength     = 63
	randomLength      = 5
	maxGenerateLength = maxNameLength - randomLength
)

// GenerateName returns base, cut to 58 characters, and 5 characters drawn from s.
func GenerateName(base string, s *sim.Stream) string {
	if len(base) > maxGenerateLength {
		base = base[:maxGenerateLength]
	}
	return base + RandomString(randomLength, s)
}

// RandomString draws n characters as generated names have them.
func RandomString(n int, s *sim.Stream) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphanums[s.IntN(len(alphanums))]
	}
	return string(b)
}

// SafeEncodeString writes a decimal number, or any string, in the characters of generated names.
func SafeEncodeString(text string) string {
	b := []byte(text)
	for i := range b {
		b[i] = alphanums[int(b[i])%len(alphanums)]
	}
	return string(b)
}

// NewUID draws a random (version 4) UUID.
func NewUID(s *sim.Stream) types.UID { return types.UID(NewUUID(s)) }

// NewUUID draws a random (version 4) UUID as text.
func NewUUID(s *sim.Stream) string {
	const digits = "0123456789abcdef"
	var raw [16]byte
	binary.BigEndian.PutUint64(raw[:8], s.Uint64())
	binary.BigEndian.PutUint64(raw[8:], s.Uint64())
	raw[6] = raw[6]&0x0f | 0x40 // version 4
	raw[8] = raw[8]&0x3f | 0x80 // variant of RFC 4122
	text := make([]byte, 0, 36)
	for i, b := range raw {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = append(text, digits[b>>4], digits[b&0x0f])
	}
	return string(text)
}

// ComputeHash returns the hash of a pod template that names a Deployment's ReplicaSets (pod-template-hash) and a
// DaemonSet's revisions (pkg/controller/controller_utils.go, v1.36): FNV-32a of the template printed with all its
// fields. It is slow (tens of microseconds); controllers call it when they make something, not at every sync.
func ComputeHash(template *corev1.PodTemplateSpec, collisionCount *int32) string {
	hasher := fnv.New32a()
	_, _ = hasher.Write([]byte(printed(*template))) // cannot fail: a hash
	if collisionCount != nil {
		var count [8]byte
		binary.LittleEndian.PutUint32(count[:], uint32(*collisionCount))
		_, _ = hasher.Write(count[:]) // cannot fail: a hash
	}
	return SafeEncodeString(strconv.FormatUint(uint64(hasher.Sum32()), 10))
}

// printed is an object as the hash sees it. The text has every field that the type has, so each release that adds one
// hashes differently; what v1.37 added is taken out while it is empty, and the hashes are those of v1.36.
func printed(object any) string { return since137.Replace(dump.ForHash(object)) }

var since137 = strings.NewReplacer(
	" EvictionResponders:([]v1.EvictionResponder)<nil>", "",
	" Protocol:(*v1.HTTPProtocol)<nil>", "",
	" Mode:(*v1.GRPCProbeMode)<nil>", "",
	" BindMountOptions:([]string)<nil>", "",
	" DefaultUser:(*int64)<nil>", "",
	" User:(*int64)<nil>", "",
)

// RevisionData returns what a ControllerRevision of a StatefulSet or DaemonSet holds: a patch that puts its template
// back (pkg/controller/statefulset/stateful_set_utils.go getPatch, v1.36). It marshals JSON: call it for a new
// generation, not at every sync.
func RevisionData(template *corev1.PodTemplateSpec) ([]byte, error) {
	raw, err := json.Marshal(template)
	if err != nil {
		return nil, err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["$patch"] = "replace"
	return json.Marshal(map[string]any{"spec": map[string]any{"template": fields}})
}

// RevisionHash returns the hash that names a ControllerRevision (pkg/controller/history/controller_history.go, v1.36).
func RevisionHash(data []byte, collisionCount *int32) string {
	hasher := fnv.New32()
	_, _ = hasher.Write(data) // cannot fail: a hash
	if collisionCount != nil {
		_, _ = hasher.Write([]byte(strconv.FormatInt(int64(*collisionCount), 10))) // cannot fail: a hash
	}
	return SafeEncodeString(strconv.FormatUint(uint64(hasher.Sum32()), 10))
}
