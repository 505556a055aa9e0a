package api

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"ksim/sim"
)

// server is as much of an API server as a write needs: decode, default, strategy, validation, store.
type server struct {
	t        *testing.T
	stream   *sim.Stream
	stored   map[string][]byte
	revision map[string]int64
	last     int64
}

var startOfTime = metav1.NewTime(time.Date(2026, 1, 1, 0, 0, 0, 500_000_000, time.UTC))

func newServer(t *testing.T) *server {
	return &server{t: t, stream: sim.New(1).Rand("test"), stored: map[string][]byte{},
		revision: map[string]int64{}, last: 100}
}

func (s *server) read(text string) (*Resource, Object) {
	var meta metav1.TypeMeta
	require.NoError(s.t, yaml.Unmarshal([]byte(text), &meta))
	r := ResourceByKind(meta.Kind)
	require.NotNil(s.t, r, meta.Kind)
	obj := r.New()
	require.NoError(s.t, yaml.UnmarshalStrict([]byte(text), obj))
	SetDefaults(obj)
	return r, obj
}

func (s *server) get(r *Resource, namespace, name string) Object {
	key := r.Key(namespace, name)
	require.Contains(s.t, s.stored, key)
	obj, err := Decode(r, s.stored[key], s.revision[key])
	require.NoError(s.t, err)
	return obj
}

func (s *server) put(r *Resource, obj Object) string {
	value, err := Encode(obj)
	require.NoError(s.t, err)
	key := r.Key(obj.GetNamespace(), obj.GetName())
	s.last++
	s.stored[key], s.revision[key] = value, s.last
	text, err := yaml.Marshal(s.get(r, obj.GetNamespace(), obj.GetName()))
	require.NoError(s.t, err)
	return string(text)
}

func (s *server) create(text string) string {
	r, obj := s.read(text)
	if err := BeforeCreate(r, obj, CreateOptions{Namespace: "default", Now: startOfTime, Stream: s.stream}); err != nil {
		return err.Error() + "\n"
	}
	return s.put(r, obj)
}

func (s *server) update(text, subresource string) string {
	r, obj := s.read(text)
	namespace := obj.GetNamespace()
	if namespace == "" && r.Namespaced {
		namespace = "default"
	}
	old := s.get(r, namespace, obj.GetName())
	if obj.GetResourceVersion() == "" {
		obj.SetResourceVersion(old.GetResourceVersion())
	}
	before, err := Encode(old)
	require.NoError(s.t, err)
	err = BeforeUpdate(r, obj, old, subresource)
	after, encodeErr := Encode(old)
	require.NoError(s.t, encodeErr)
	require.Equal(s.t, before, after, "the stored object was changed")
	if err != nil {
		return err.Error() + "\n"
	}
	return s.put(r, obj)
}

// TestWrites plays writes against what an API server does before it stores them; see testdata/writes.
//
//	create                       the object that is stored, or the error
//	update [sub=status]          of an object that exists; the body needs no resourceVersion
func TestWrites(t *testing.T) {
	datadriven.Walk(t, "testdata/writes", func(t *testing.T, path string) {
		s := newServer(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			switch d.Cmd {
			case "create":
				return s.create(d.Input)
			case "update":
				subresource := ""
				d.MaybeScanArgs(t, "sub", &subresource)
				return s.update(d.Input, subresource)
			}
			d.Fatalf(t, "no command %s", strings.TrimSpace(d.Cmd))
			return ""
		})
	})
}
