// Package fakeapi is an API server reduced to what tests of its clients need: storage with resourceVersions and
// conflicts, watches, selectors, graceful deletion.
//
// It leaves out etcd, connections, admission, validation and everything that a test does not ask for.
//
// What always holds: a write gets the next revision and is told to all watches in order; an answer takes one Latency.
//
// It is driven by callbacks of the scope that it is made with.
//
// Start reading at Server.Client, then Server.handle.
package fakeapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Server is the API server of a test.
type Server struct {
	Kernel   *sim.Kernel
	Revision int64
	Latency  time.Duration
	// Fail, when set, is asked before each request; an error is its answer.
	Fail func(*api.Request) error
	// Hang, when set, is asked before each request; true: it is never answered.
	Hang func(*api.Request) bool
	// Requests are all writes so far.
	Writes []*api.Request

	objects map[*api.Resource]map[api.Key]api.Object
	history []change
	oldest  int64 // watches from before get 410
	watches []*watch
	names   int
}

type change struct {
	resource *api.Resource
	revision int64
	event    api.WatchEvent
	old      api.Object
}

type watch struct {
	client  *client
	request *api.Request
	on      func(api.WatchEvent)
	ended   func(error)
	done    bool
}

type client struct {
	server *Server
	scope  *sim.Scope
}

// New makes an empty server.
func New(k *sim.Kernel) *Server {
	return &Server{Kernel: k, Revision: 1, Latency: time.Millisecond, objects: map[*api.Resource]map[api.Key]api.Object{}}
}

// Client returns a client whose callbacks run in scope.
func (s *Server) Client(scope *sim.Scope) api.Client { return &client{s, scope} }

// Put stores an object as is, from outside; it keeps no rule but revisions.
func (s *Server) Put(obj api.Object) api.Object {
	r := api.ResourceOf(obj)
	obj = obj.DeepCopyObject().(api.Object)
	old := s.of(r)[api.KeyOf(obj)]
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("uid-%s-%d", obj.GetName(), s.Revision+1)))
		if old != nil {
			obj.SetUID(old.GetUID())
		}
	}
	if obj.GetCreationTimestamp().Time.IsZero() {
		obj.SetCreationTimestamp(s.now())
	}
	kind := api.Modified
	if old == nil {
		kind = api.Added
	}
	s.store(r, kind, obj, old)
	return obj
}

// Remove removes an object from outside.
func (s *Server) Remove(obj api.Object) {
	r := api.ResourceOf(obj)
	if old := s.of(r)[api.KeyOf(obj)]; old != nil {
		s.store(r, api.Deleted, old.DeepCopyObject().(api.Object), old)
	}
}

// Get returns a stored object, nil if there is none.
func (s *Server) Get(r *api.Resource, namespace, name string) api.Object {
	if obj := s.of(r)[api.Key{Namespace: namespace, Name: name}]; obj != nil {
		return obj
	}
	return nil
}

// List returns the stored objects of a resource by name.
func (s *Server) List(r *api.Resource) []api.Object {
	var list []api.Object
	for _, obj := range s.of(r) { // any order: sorted below
		list = append(list, obj)
	}
	slices.SortFunc(list, func(a, b api.Object) int {
		if a.GetNamespace()+"/"+a.GetName() < b.GetNamespace()+"/"+b.GetName() {
			return -1
		}
		return 1
	})
	return list
}

// Forget makes watches from versions before now fail with 410.
func (s *Server) Forget() { s.oldest, s.history = s.Revision, nil }

// BreakWatches ends all watches with an error.
func (s *Server) BreakWatches(err error) {
	watches := s.watches
	s.watches = nil
	for _, w := range watches {
		if !w.done {
			w.done = true
			w.client.scope.After(0, "watch broken", func() { w.ended(err) })
		}
	}
}

func (s *Server) of(r *api.Resource) map[api.Key]api.Object {
	m := s.objects[r]
	if m == nil {
		m = map[api.Key]api.Object{}
		s.objects[r] = m
	}
	return m
}

func (s *Server) now() metav1.Time { return metav1.NewTime(hardware.WallTime(s.Kernel.Now())) }

func (s *Server) store(r *api.Resource, kind api.EventType, obj, old api.Object) {
	s.Revision++
	obj.SetResourceVersion(strconv.FormatInt(s.Revision, 10))
	if kind == api.Deleted {
		delete(s.of(r), api.KeyOf(obj))
	} else {
		s.of(r)[api.KeyOf(obj)] = obj
	}
	id := s.Kernel.Root().Emit(sim.Event{Level: sim.Detail, Reason: "Write", Object: api.EventName(obj)})
	s.Kernel.Trace().Wrote(s.Revision, id)
	c := change{r, s.Revision, api.WatchEvent{Type: kind, Object: obj, Cause: id}, old}
	s.history = append(s.history, c)
	for _, w := range s.watches {
		s.tell(w, c)
	}
}

func (s *Server) tell(w *watch, c change) {
	if w.done || w.request.Resource != c.resource {
		return
	}
	event := c.event
	now, before := event.Type != api.Deleted && selects(w.request, c.event.Object), c.old != nil &&
		selects(w.request, c.old)
	switch {
	case now && !before:
		event.Type = api.Added
	case !now && before:
		event.Type = api.Deleted
	case !now:
		return
	}
	w.client.scope.After(s.Latency, "watch event", func() {
		if !w.done {
			w.on(event)
		}
	})
}

func selects(r *api.Request, obj api.Object) bool {
	if r.Namespace != "" && obj.GetNamespace() != r.Namespace {
		return false
	}
	if r.LabelSelector != nil && !r.LabelSelector.Matches(labelSet(obj.GetLabels())) {
		return false
	}
	if r.FieldSelector == nil {
		return true
	}
	set := fields.Set{"metadata.name": obj.GetName(), "metadata.namespace": obj.GetNamespace()}
	if pod, ok := obj.(*corev1.Pod); ok {
		set["spec.nodeName"], set["status.phase"] = pod.Spec.NodeName, string(pod.Status.Phase)
	}
	return r.FieldSelector.Matches(set)
}

type labelSet map[string]string

func (l labelSet) Has(key string) bool              { _, ok := l[key]; return ok }
func (l labelSet) Get(key string) string            { return l[key] }
func (l labelSet) Lookup(key string) (string, bool) { v, ok := l[key]; return v, ok }

func (c *client) Scope() *sim.Scope { return c.scope }

func (c *client) Do(p *sim.Proc, r *api.Request) (*api.Response, error) {
	f := sim.NewFuture[*api.Response]()
	c.Start(r, f.Resolve)
	return f.Await(p, sim.Forever)
}

func (c *client) Start(r *api.Request, done func(*api.Response, error)) api.Cancel {
	cancelled := false
	finish := func(resp *api.Response, err error) {
		if !cancelled {
			cancelled = true
			done(resp, err)
		}
	}
	if r.Within > 0 {
		c.scope.After(r.Within, "time-out", func() { finish(nil, sim.ErrTimeout) })
	}
	c.scope.After(c.server.Latency, "request", func() {
		if c.server.Hang != nil && c.server.Hang(r) {
			return
		}
		resp, err := c.server.handle(r)
		c.scope.After(c.server.Latency, "response", func() { finish(resp, err) })
	})
	return func() { cancelled = true }
}

func (c *client) Watch(r *api.Request, on func(api.WatchEvent), ended func(error)) api.Cancel {
	w := &watch{client: c, request: r, on: on, ended: ended}
	s := c.server
	c.scope.After(s.Latency, "watch", func() {
		if w.done {
			return
		}
		if s.Fail != nil {
			if err := s.Fail(r); err != nil {
				w.done = true
				ended(err)
				return
			}
		}
		from, _ := strconv.ParseInt(r.ResourceVersion, 10, 64)
		if from < s.oldest {
			on(api.WatchEvent{Type: api.Error, Err: apierrors.NewResourceExpired("too old resource version")})
			return
		}
		s.watches = append(s.watches, w)
		for _, past := range s.history {
			if past.revision > from {
				s.tell(w, past)
			}
		}
		if r.TimeoutSeconds > 0 {
			c.scope.After(time.Duration(r.TimeoutSeconds)*time.Second, "watch end", func() {
				if !w.done {
					w.done = true
					ended(nil)
				}
			})
		}
	})
	return func() { w.done = true }
}

func (s *Server) handle(r *api.Request) (*api.Response, error) {
	if s.Fail != nil {
		if err := s.Fail(r); err != nil {
			return nil, err
		}
	}
	if r.Resource == nil {
		return &api.Response{Status: 200, Body: "ok"}, nil
	}
	key := api.Key{Namespace: r.Namespace, Name: r.Name}
	old := s.of(r.Resource)[key]
	if r.Verb == api.List {
		resp := &api.Response{ResourceVersion: strconv.FormatInt(s.Revision, 10)}
		for _, obj := range s.List(r.Resource) {
			if selects(r, obj) {
				resp.Items = append(resp.Items, obj)
			}
		}
		return resp, nil
	}
	if r.Verb == api.Create && r.Subresource == "" {
		return s.create(r)
	}
	if old == nil {
		return nil, apierrors.NewNotFound(r.Resource.GroupResource(), r.Name)
	}
	if r.Preconditions != nil && r.Preconditions.UID != nil && *r.Preconditions.UID != old.GetUID() {
		return nil, apierrors.NewConflict(r.Resource.GroupResource(), r.Name, fmt.Errorf("the UID in the precondition"))
	}
	if r.Verb != api.Get {
		s.Writes = append(s.Writes, r)
	}
	switch r.Verb {
	case api.Get:
		return &api.Response{Object: old}, nil
	case api.Update:
		return s.update(r, r.Object, old)
	case api.Patch:
		return s.patch(r, old)
	case api.Delete:
		return s.remove(r, old)
	}
	return nil, apierrors.NewMethodNotSupported(r.Resource.GroupResource(), string(r.Verb))
}

func (s *Server) create(r *api.Request) (*api.Response, error) {
	s.Writes = append(s.Writes, r)
	obj := r.Object.DeepCopyObject().(api.Object)
	if obj.GetName() == "" {
		s.names++
		obj.SetName(obj.GetGenerateName() + fmt.Sprintf("%05d", s.names))
	}
	if obj.GetNamespace() == "" && r.Resource.Namespaced {
		obj.SetNamespace(r.Namespace)
	}
	if s.of(r.Resource)[api.KeyOf(obj)] != nil {
		return nil, apierrors.NewAlreadyExists(r.Resource.GroupResource(), obj.GetName())
	}
	obj.SetGeneration(1)
	if pod, ok := obj.(*corev1.Pod); ok && pod.Status.Phase == "" {
		pod.Status.Phase = corev1.PodPending
	}
	return &api.Response{Object: s.Put(obj)}, nil
}

func (s *Server) update(r *api.Request, obj, old api.Object) (*api.Response, error) {
	if v := obj.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		return nil, apierrors.NewConflict(r.Resource.GroupResource(), r.Name, fmt.Errorf("the object has been modified"))
	}
	obj = obj.DeepCopyObject().(api.Object)
	if old.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0 && len(old.GetFinalizers()) > 0 {
		s.store(r.Resource, api.Deleted, obj, old)
		return &api.Response{Object: obj}, nil
	}
	s.store(r.Resource, api.Modified, obj, old)
	return &api.Response{Object: obj}, nil
}

func (s *Server) patch(r *api.Request, old api.Object) (*api.Response, error) {
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var target, change map[string]any
	if json.Unmarshal(before, &target) != nil || json.Unmarshal(r.Patch, &change) != nil {
		return nil, apierrors.NewBadRequest("not a JSON object")
	}
	mergeInto(target, change)
	after, err := json.Marshal(target)
	if err != nil {
		return nil, err
	}
	obj := r.Resource.New()
	if err := json.Unmarshal(after, obj); err != nil {
		return nil, err
	}
	return s.update(r, obj, old)
}

// mergeInto is a JSON merge patch; strategic merge patches of scalars mean the same.
func mergeInto(target, change map[string]any) {
	for key, value := range change { // any order: each key is its own
		inner, isMap := value.(map[string]any)
		into, wasMap := target[key].(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isMap && wasMap:
			mergeInto(into, inner)
		default:
			target[key] = value
		}
	}
}

func (s *Server) remove(r *api.Request, old api.Object) (*api.Response, error) {
	obj := old.DeepCopyObject().(api.Object)
	policy := metav1.DeletePropagationBackground
	if r.PropagationPolicy != nil {
		policy = *r.PropagationPolicy
	}
	var wants string
	switch policy {
	case metav1.DeletePropagationForeground:
		wants = metav1.FinalizerDeleteDependents
	case metav1.DeletePropagationOrphan:
		wants = metav1.FinalizerOrphanDependents
	}
	if wants != "" && !slices.Contains(obj.GetFinalizers(), wants) {
		obj.SetFinalizers(append(slices.Clone(obj.GetFinalizers()), wants))
	}
	grace := int64(0)
	if pod, ok := obj.(*corev1.Pod); ok && pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodFailed &&
		pod.Status.Phase != corev1.PodSucceeded {
		grace = 30
		if pod.Spec.TerminationGracePeriodSeconds != nil {
			grace = *pod.Spec.TerminationGracePeriodSeconds
		}
		if r.GracePeriodSeconds != nil {
			grace = *r.GracePeriodSeconds
		}
	}
	if grace == 0 && len(obj.GetFinalizers()) == 0 {
		s.store(r.Resource, api.Deleted, obj, old)
		return &api.Response{Object: obj}, nil
	}
	if obj.GetDeletionTimestamp() == nil {
		at := metav1.NewTime(s.now().Add(time.Duration(grace) * time.Second))
		obj.SetDeletionTimestamp(&at)
		obj.SetDeletionGracePeriodSeconds(&grace)
		s.store(r.Resource, api.Modified, obj, old)
	}
	return &api.Response{Object: obj}, nil
}
