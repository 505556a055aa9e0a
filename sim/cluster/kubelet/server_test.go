package kubelet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// testServer is an API server reduced to what a kubelet asks, behind the simulated network.
type testServer struct {
	kernel   *sim.Kernel
	process  *hardware.Process
	revision int64
	objects  map[*api.Resource]map[api.Key]api.Object
	watches  []*testWatch
	history  []testChange
	writes   []testWrite
}

type testWatch struct {
	request *api.Request
	call    *hardware.Call
}

type testChange struct {
	resource *api.Resource
	revision int64
	event    api.WatchEvent
	old      api.Object
}

// testWrite is a request that changed something.
type testWrite struct {
	at      sim.Time
	request *api.Request
	object  api.Object
}

func newTestServer(k *sim.Kernel) *testServer {
	return &testServer{kernel: k, revision: 1, objects: map[*api.Resource]map[api.Key]api.Object{}}
}

func (s *testServer) main(p *hardware.Process) {
	s.process, s.watches = p, nil
	_, err := p.Serve(6443, func(c *hardware.Call) { s.serve(c, c.Request.(*api.Request)) })
	if err != nil {
		panic(err)
	}
}

func (s *testServer) of(r *api.Resource) map[api.Key]api.Object {
	if s.objects[r] == nil {
		s.objects[r] = map[api.Key]api.Object{}
	}
	return s.objects[r]
}

func (s *testServer) serve(c *hardware.Call, r *api.Request) {
	key := api.Key{Namespace: r.Namespace, Name: r.Name}
	if r.Resource == nil {
		c.Reply(&api.Response{Status: 200, Body: "ok"})
		return
	}
	old := s.of(r.Resource)[key]
	if old == nil && r.Verb != api.List && r.Verb != api.Watch && r.Verb != api.Create {
		c.Fail(apierrors.NewNotFound(r.Resource.GroupResource(), r.Name))
		return
	}
	switch r.Verb {
	case api.Get:
		c.Reply(&api.Response{Object: old})
	case api.List:
		c.Reply(&api.Response{Items: s.list(r), ResourceVersion: strconv.FormatInt(s.revision, 10)})
	case api.Watch:
		s.watch(c, r)
	case api.Create:
		if key.Name == "" {
			key = api.KeyOf(r.Object)
		}
		if s.of(r.Resource)[key] != nil {
			c.Fail(apierrors.NewAlreadyExists(r.Resource.GroupResource(), key.Name))
			return
		}
		c.Reply(&api.Response{Object: s.put(r.Object, r)})
	case api.Update:
		s.update(c, r, old)
	case api.Patch:
		c.Reply(&api.Response{Object: old})
	case api.Delete:
		s.remove(c, r, old)
	}
}

func (s *testServer) update(c *hardware.Call, r *api.Request, old api.Object) {
	if v := r.Object.GetResourceVersion(); v != "" && v != old.GetResourceVersion() {
		c.Fail(apierrors.NewConflict(r.Resource.GroupResource(), r.Name, fmt.Errorf("the object has been modified")))
		return
	}
	obj := r.Object
	if r.Subresource == "status" {
		next := old.DeepCopyObject().(api.Object)
		switch next := next.(type) {
		case *corev1.Pod:
			next.Status = *obj.(*corev1.Pod).Status.DeepCopy()
		case *corev1.Node:
			next.Status = *obj.(*corev1.Node).Status.DeepCopy()
		}
		obj = next
	}
	c.Reply(&api.Response{Object: s.put(obj, r)})
}

func (s *testServer) remove(c *hardware.Call, r *api.Request, old api.Object) {
	if p := r.Preconditions; p != nil && p.UID != nil && *p.UID != old.GetUID() {
		c.Fail(apierrors.NewConflict(r.Resource.GroupResource(), r.Name, fmt.Errorf("UID in precondition")))
		return
	}
	s.delete(old, r.GracePeriodSeconds, r)
	c.Reply(&api.Response{Object: old})
}

// delete deletes an object as the API does, pods gracefully; nil: by the pod's own grace period.
func (s *testServer) delete(old api.Object, grace *int64, r *api.Request) {
	pod, ok := old.(*corev1.Pod)
	if !ok {
		s.gone(old, r)
		return
	}
	seconds := int64(30)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if grace != nil {
		seconds = *grace
	}
	if terminalPhase(pod.Status.Phase) || pod.Spec.NodeName == "" {
		seconds = 0
	}
	next := pod.DeepCopy()
	at := metav1.NewTime(s.now().Add(secondsOf(seconds)))
	next.DeletionTimestamp, next.DeletionGracePeriodSeconds = &at, &seconds
	if pod.DeletionTimestamp == nil {
		next.Generation++
	}
	stored := s.put(next, r)
	if seconds == 0 {
		s.gone(stored, r)
	}
}

func (s *testServer) gone(old api.Object, r *api.Request) {
	s.revision++
	last := old.DeepCopyObject().(api.Object)
	last.SetResourceVersion(strconv.FormatInt(s.revision, 10))
	res := api.ResourceOf(old)
	delete(s.of(res), api.KeyOf(old))
	s.tell(testChange{res, s.revision, api.WatchEvent{Type: api.Deleted, Object: last}, old})
	s.writes = append(s.writes, testWrite{s.kernel.Now(), r, nil})
}

// put stores an object and tells the watches.
func (s *testServer) put(obj api.Object, r *api.Request) api.Object {
	res := api.ResourceOf(obj)
	obj = obj.DeepCopyObject().(api.Object)
	old := s.of(res)[api.KeyOf(obj)]
	s.revision++
	if obj.GetUID() == "" {
		obj.SetUID(types.UID(fmt.Sprintf("uid-%d", s.revision)))
	}
	if pod, ok := obj.(*corev1.Pod); ok && pod.Generation == 0 {
		pod.Generation = 1
	}
	obj.SetResourceVersion(strconv.FormatInt(s.revision, 10))
	s.of(res)[api.KeyOf(obj)] = obj
	kind := api.Modified
	if old == nil {
		kind = api.Added
	}
	s.kernel.Trace().Wrote(s.revision, s.kernel.Root().Emit(sim.Event{Reason: "Write", Object: api.EventName(obj)}))
	s.tell(testChange{res, s.revision, api.WatchEvent{Type: kind, Object: obj}, old})
	s.writes = append(s.writes, testWrite{s.kernel.Now(), r, obj})
	return obj
}

func (s *testServer) now() metav1.Time { return metav1.NewTime(hardware.WallTime(s.kernel.Now())) }

func (s *testServer) list(r *api.Request) []api.Object {
	var items []api.Object
	for _, obj := range s.of(r.Resource) { // any order: sorted below
		if selects(r, obj) {
			items = append(items, obj)
		}
	}
	slices.SortFunc(items, func(a, b api.Object) int { return strings.Compare(a.GetName(), b.GetName()) })
	return items
}

func selects(r *api.Request, obj api.Object) bool {
	if obj == nil || r.Namespace != "" && obj.GetNamespace() != r.Namespace {
		return false
	}
	set := fields.Set{"metadata.name": obj.GetName()}
	if pod, ok := obj.(*corev1.Pod); ok {
		set["spec.nodeName"] = pod.Spec.NodeName
	}
	return r.FieldSelector == nil || r.FieldSelector.Matches(set)
}

func (s *testServer) watch(c *hardware.Call, r *api.Request) {
	w := &testWatch{r, c}
	from, _ := strconv.ParseInt(r.ResourceVersion, 10, 64)
	for _, change := range s.history {
		if change.revision > from {
			w.send(change)
		}
	}
	s.watches = append(s.watches, w)
}

func (s *testServer) tell(change testChange) {
	s.history = append(s.history, change)
	for _, w := range s.watches {
		w.send(change)
	}
}

func (w *testWatch) send(change testChange) {
	if w.call.Done() || change.resource != w.request.Resource {
		return
	}
	event := change.event
	was, is := change.old != nil && selects(w.request, change.old), selects(w.request, event.Object)
	switch {
	case event.Type == api.Deleted && was:
	case event.Type == api.Deleted, !was && !is:
		return
	case was && !is:
		event.Type = api.Deleted
	case !was && is:
		event.Type = api.Added
	default:
		event.Type = api.Modified
	}
	w.call.Send(&event)
}
