package apiserver

import (
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/api/crd"
)

// Models the API server's part in custom resources (apiextensions-apiserver pkg/apiserver/customresource_handler.go,
// pkg/controller/status, establish, finalizer, v0.36): definitions are named, established, and deleted after their
// objects. Rare resources and custom ones have no watch cache: what is read comes from etcd. Leaves out: watches of
// them, conversion webhooks, the wait of five seconds that --apiserver-count asks for.

// custom is what an API server knows of custom resources.
type custom struct {
	registries map[schema.GroupResource]*registry
	known      map[string]*knownDefinition // by the names of definitions
	working    bool                        // on conditions and finalizers of definitions
	again      bool                        // something changed meanwhile
}

// knownDefinition is a definition as it was last read, and the resources of its versions.
type knownDefinition struct {
	revision   int64
	definition *crd.Definition
	resources  map[string]*api.Resource
}

// definitionRetry is how long a server waits when it could not bring a definition further (client-go workqueue's first
// retries are quicker; chosen).
const definitionRetry = time.Second

// initialNames is what two conditions say (naming_controller.go, establishing_controller.go).
const initialNames = "the initial names have been accepted"

// instancePoll and instanceWait are how a finalizer waits for the end of a definition's objects (crd_finalizer.go).
const (
	instancePoll = 5 * time.Second
	instanceWait = time.Minute
)

// rareRegistry makes the storage of a resource that few clusters have objects of when it is first asked for.
func (s *Server) rareRegistry(r *api.Resource) *registry {
	if r.Definition == nil {
		g := &registry{client: s.newEtcdClient()}
		s.registries[r] = g
		if r == api.CustomResourceDefinitions { // another server may have left something undone
			s.careForDefinitions()
		}
		return g
	}
	g := s.custom.registries[r.GroupResource()]
	if g == nil {
		if s.custom.registries == nil {
			s.custom.registries = map[schema.GroupResource]*registry{}
		}
		g = &registry{client: s.newEtcdClient()}
		s.custom.registries[r.GroupResource()] = g
	}
	return g
}

// doRare runs a verb on a rare resource. What a custom one is, this server's definitions say, not who asks for it.
func (q *request) doRare(p *sim.Proc) (*api.Response, error) {
	if q.Resource.Definition != nil {
		known, err := q.server.definition(p, q, q.Resource)
		if err != nil {
			return nil, err
		}
		if known == nil || known.resources[q.Resource.GVK.Version] == nil {
			return nil, apierrors.NewGenericServerResponse(404, string(q.Verb), q.Resource.GroupResource(), q.Name, "", 0, true)
		}
		if q.Verb == api.Create && known.definition.True(crd.Terminating) {
			refused := apierrors.NewMethodNotSupported(q.Resource.GroupResource(), string(q.Verb))
			refused.ErrStatus.Message = fmt.Sprintf("%s not allowed while custom resource definition is terminating", q.Verb)
			return nil, refused
		}
		own := *q.Request
		own.Resource = known.resources[q.Resource.GVK.Version]
		q.Request = &own
		if err := q.check(); err != nil {
			return nil, err
		}
	}
	if q.Resource == api.CustomResourceDefinitions && q.Verb == api.Delete {
		if resp, err := q.deleteDefinition(p); resp != nil || err != nil {
			return resp, err
		}
	}
	resp, err := q.doVerb(p)
	if err == nil && q.Resource == api.CustomResourceDefinitions && q.mutating {
		q.server.careForDefinitions()
	}
	return resp, err
}

// definition returns what makes a custom resource; nil: nothing does (yet).
func (s *Server) definition(p *sim.Proc, q *request, r *api.Resource) (*knownDefinition, error) {
	live := *q
	live.client = s.registryOf(api.CustomResourceDefinitions).client
	name := r.Plural + "." + r.GVK.Group
	kv, err := live.read(p, []byte(api.CustomResourceDefinitions.Key("", name)))
	if err != nil || kv == nil {
		return nil, err
	}
	if known := s.custom.known[name]; known != nil && known.revision == kv.ModRevision {
		return known, nil
	}
	d, _, err := crd.Read(s.decode(api.CustomResourceDefinitions, kv).(*unstructured.Unstructured))
	if err != nil || !d.True(crd.Established) {
		return nil, nil // the server serves nothing that it cannot read
	}
	known := &knownDefinition{revision: kv.ModRevision, definition: d, resources: map[string]*api.Resource{}}
	for i := range d.Spec.Versions {
		if v := &d.Spec.Versions[i]; v.Served {
			known.resources[v.Name] = api.CustomResource(d, v)
		}
	}
	if s.custom.known == nil {
		s.custom.known = map[string]*knownDefinition{}
	}
	s.custom.known[name] = known
	return known, nil
}

// deleteDefinition marks a definition deleted, so that its objects go first; nil: it is marked already.
func (q *request) deleteDefinition(p *sim.Proc) (*api.Response, error) {
	marked := false
	obj, err := q.update(p, "Updated", func(existing api.Object) (change, error) {
		if err := q.checkPreconditions(existing); err != nil {
			return change{}, err
		}
		if existing.GetDeletionTimestamp() != nil {
			return change{keep: true}, nil
		}
		next := existing.DeepCopyObject().(*unstructured.Unstructured)
		now := q.server.now()
		next.SetDeletionTimestamp(&now)
		if !slices.Contains(next.GetFinalizers(), crd.Finalizer) {
			next.SetFinalizers(append(next.GetFinalizers(), crd.Finalizer))
		}
		setCondition(next, now, statement{crd.Terminating, "True", "InstanceDeletionPending",
			"CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"})
		marked = true
		return change{object: next}, nil
	})
	if err != nil || !marked {
		return nil, err
	}
	q.server.careForDefinitions()
	return &api.Response{Object: obj, Status: 200}, nil
}

// careForDefinitions has the controllers of definitions look at all of them.
func (s *Server) careForDefinitions() {
	c := &s.custom
	if c.again = true; c.working {
		return
	}
	c.working = true
	s.scope.Go("customresourcedefinitions", func(p *sim.Proc) {
		for c.again {
			c.again = false
			list, err := s.internal(p, &api.Request{Verb: api.List, Resource: api.CustomResourceDefinitions})
			for i := 0; err == nil && i < len(list.Items); i++ {
				p.Because(api.CauseOf(s.kernel, list.Items[i]))
				err = s.careForDefinition(p, list.Items[i].(*unstructured.Unstructured), list.Items)
			}
			if err != nil {
				c.again = true
				p.Sleep(definitionRetry)
			}
		}
		c.working = false
	})
}

// careForDefinition does the next thing that a definition needs.
func (s *Server) careForDefinition(p *sim.Proc, u *unstructured.Unstructured, all []api.Object) error {
	d, _, err := crd.Read(u)
	if err != nil {
		return nil // stored before it was checked
	}
	next := u.DeepCopy()
	switch {
	case d.DeletionTimestamp != nil:
		if slices.Contains(d.Finalizers, crd.Finalizer) {
			return s.finalizeDefinition(p, next, d)
		}
		return nil
	case !d.True(crd.NamesAccepted):
		if taken := takenName(d, all); taken != "" {
			if hasCondition(d, crd.NamesAccepted) {
				return nil // said already
			}
			setCondition(next, s.now(), statement{crd.NamesAccepted, "False", "NamesConflict",
				fmt.Sprintf("%q is already in use", taken)})
			setCondition(next, s.now(), statement{crd.Established, "False", "NotAccepted", "not all names are accepted"})
			return s.updateDefinition(p, next)
		}
		names, _, _ := unstructured.NestedMap(u.Object, "spec", "names")
		_ = unstructured.SetNestedMap(next.Object, names, "status", "acceptedNames") // cannot fail: it was read
		setCondition(next, s.now(), statement{crd.NamesAccepted, "True", "NoConflicts", "no conflicts found"})
		setCondition(next, s.now(), statement{crd.Established, "False", "Installing", initialNames})
	case !d.True(crd.Established):
		setCondition(next, s.now(), statement{crd.Established, "True", "InitialNamesAccepted", initialNames})
	default:
		return nil
	}
	s.custom.again = true
	return s.updateDefinition(p, next)
}

func (s *Server) updateDefinition(p *sim.Proc, u *unstructured.Unstructured) error {
	_, err := s.internal(p, &api.Request{Verb: api.Update, Resource: api.CustomResourceDefinitions, Subresource: "status",
		Name: u.GetName(), Object: u})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		s.custom.again = true
		return nil
	}
	return err
}

// takenName returns a name that another definition of the group has been given, "" if there is none.
func takenName(d *crd.Definition, all []api.Object) string {
	for _, obj := range all {
		other, _, err := crd.Read(obj.(*unstructured.Unstructured))
		if err != nil || other.Name == d.Name || other.Spec.Group != d.Spec.Group {
			continue
		}
		given, wanted := &other.Status.AcceptedNames, &d.Spec.Names
		words := append([]string{given.Plural, given.Singular}, given.ShortNames...)
		for _, name := range append([]string{wanted.Plural, wanted.Singular}, wanted.ShortNames...) {
			if name != "" && slices.Contains(words, name) {
				return name
			}
		}
		if wanted.Kind == given.Kind || wanted.Kind == given.ListKind {
			return wanted.Kind
		}
	}
	return ""
}

// finalizeDefinition deletes a definition's objects, waits for their end and lets the definition go.
func (s *Server) finalizeDefinition(p *sim.Proc, u *unstructured.Unstructured, d *crd.Definition) error {
	version := d.Preferred()
	if d.True(crd.Established) && version != nil {
		r := api.CustomResource(d, version)
		for waited := time.Duration(0); ; waited += instancePoll {
			list, err := s.internal(p, &api.Request{Verb: api.List, Resource: r})
			if err != nil {
				return err
			}
			if len(list.Items) == 0 {
				break
			}
			if waited >= instanceWait {
				return fmt.Errorf("could not confirm zero CustomResources remaining: timed out waiting for the condition")
			}
			for _, obj := range list.Items {
				if obj.GetDeletionTimestamp() != nil {
					continue
				}
				_, err := s.internal(p, &api.Request{Verb: api.Delete, Resource: r, Namespace: obj.GetNamespace(),
					Name: obj.GetName()})
				if err != nil && !apierrors.IsNotFound(err) {
					return err
				}
			}
			if list, err = s.internal(p, &api.Request{Verb: api.List, Resource: r}); err == nil && len(list.Items) == 0 {
				break
			}
			p.Sleep(instancePoll)
		}
	}
	u.SetFinalizers(slices.DeleteFunc(u.GetFinalizers(), func(f string) bool { return f == crd.Finalizer }))
	_, err := s.internal(p, &api.Request{Verb: api.Update, Resource: api.CustomResourceDefinitions, Name: u.GetName(),
		Object: u})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

func hasCondition(d *crd.Definition, kind string) bool {
	return slices.ContainsFunc(d.Status.Conditions, func(c crd.Condition) bool { return c.Type == kind })
}

// statement is what a condition says.
type statement struct{ kind, status, reason, message string }

// setCondition sets a condition of a definition.
func setCondition(u *unstructured.Unstructured, now metav1.Time, say statement) {
	list, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	condition := map[string]any{"type": say.kind, "status": say.status, "reason": say.reason, "message": say.message,
		"lastTransitionTime": now.UTC().Format(time.RFC3339)}
	at := slices.IndexFunc(list, func(c any) bool {
		m, ok := c.(map[string]any)
		return ok && m["type"] == say.kind
	})
	if at >= 0 {
		list[at] = condition
	} else {
		list = append(list, condition)
	}
	_ = unstructured.SetNestedSlice(u.Object, list, "status", "conditions") // cannot fail: status is a map
}
