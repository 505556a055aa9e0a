package apiserver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// mutatingTimeout ends writes before --request-timeout does (apiserver pkg/endpoints/handlers/create.go
// requestTimeoutUpperBound, v0.36).
const mutatingTimeout = 34 * time.Second

// handshakeTimeout is that of client-go (transport/cache.go, v0.36).
const handshakeTimeout = 10 * time.Second

var errHandshake = errors.New("net/http: TLS handshake timeout")

// request is one request that is being worked on.
type request struct {
	*api.Request
	server   *Server
	cache    *watchCache // of the resource; nil without --watch-cache
	client   etcdClient  // of the resource
	deadline sim.Time
	mutating bool
	cause    sim.EventID // of the request: what is done for it is its consequence, whatever etcd waited for
}

// handle is where every request arrives.
func (s *Server) handle(call *hardware.Call) {
	if !s.serving {
		s.hold(call)
		return
	}
	r, ok := call.Request.(*api.Request)
	if !ok {
		call.Fail(apierrors.NewBadRequest("not a request of the Kubernetes API"))
		return
	}
	if err := s.authorize(r); err != nil {
		if r.Resource == nil {
			call.Reply(&api.Response{Status: 403, Body: err.Error()})
			return
		}
		call.Fail(err)
		return
	}
	if r.Resource == nil {
		s.handlePath(call, r)
		return
	}
	if s.registryOf(r.Resource) == nil {
		call.Fail(apierrors.NewGenericServerResponse(404, string(r.Verb), r.Resource.GroupResource(), r.Name, "", 0, true))
		return
	}
	q := s.newRequest(r)
	if err := q.check(); err != nil {
		call.Fail(err)
		return
	}
	switch {
	case r.Verb == api.Watch:
		q.watch(call)
	case q.fromCacheAtOnce():
		q.answer(call, func(*sim.Proc) (*api.Response, error) { return q.listCached() }, nil)
	default:
		s.scope.Begin("request", func(p *sim.Proc) { q.answer(call, q.do, p) })
	}
}

// hold keeps a request until the server serves: its TCP connection is accepted, but nobody shakes hands. Go's clients
// give a handshake up after ten seconds. That is done here for them, since connections have no handshake of their
// own.
func (s *Server) hold(call *hardware.Call) {
	s.held = append(s.held, call)
	if r, ok := call.Request.(*api.Request); !ok || r.Resource == nil { // probes have time-outs of their own
		return
	}
	s.scope.After(handshakeTimeout, "TLS handshake", func() {
		if !s.serving {
			call.Fail(errHandshake)
		}
	})
}

func (s *Server) newRequest(r *api.Request) *request {
	g := s.registryOf(r.Resource)
	q := &request{Request: r, server: s, cache: g.cache, client: g.client, cause: s.kernel.Cause()}
	limit := s.options.requestTimeout
	switch r.Verb {
	case api.Create, api.Update, api.Patch, api.Delete, api.DeleteCollection:
		q.mutating = true
		limit = min(limit, mutatingTimeout)
	}
	if r.Within > 0 { // client-go sends its own time-out as ?timeout=
		limit = min(limit, r.Within)
	}
	q.deadline = s.kernel.Now().Add(limit)
	return q
}

// answer runs a verb and sends what it returns.
func (q *request) answer(call *hardware.Call, verb func(*sim.Proc) (*api.Response, error), p *sim.Proc) {
	q.server.began()
	resp, err := verb(p)
	q.server.ended()
	if err != nil {
		q.server.kernel.Because(q.cause)
		call.Fail(err)
		return
	}
	call.Reply(resp)
}

// check refuses what no verb could do anything with.
func (q *request) check() error {
	switch {
	case !q.Resource.HasSub(q.Subresource), q.Subresource != "" && !served[q.Subresource]:
		return apierrors.NewGenericServerResponse(404, string(q.Verb), q.Resource.GroupResource(), q.Name, "", 0, true)
	case !q.Resource.Namespaced:
		q.Namespace = ""
	case q.Namespace == "" && (q.Name != "" || q.Verb == api.Create):
		return apierrors.NewBadRequest("an empty namespace may not be set during creation")
	}
	if q.Object == nil && (q.Verb == api.Create || q.Verb == api.Update) {
		return apierrors.NewBadRequest("no body")
	}
	return nil
}

// served are the subresources that ksim has.
var served = map[string]bool{"status": true, "binding": true, "eviction": true, "scale": true, "finalize": true,
	"approval": true, "resize": true, "ephemeralcontainers": true}

// do runs the verbs that may wait.
func (q *request) do(p *sim.Proc) (*api.Response, error) {
	if q.Resource.Rare {
		return q.doRare(p)
	}
	return q.doVerb(p)
}

func (q *request) doVerb(p *sim.Proc) (*api.Response, error) {
	switch q.Verb {
	case api.Get:
		return q.get(p)
	case api.List:
		return q.list(p)
	case api.Create:
		switch q.Subresource {
		case "binding":
			return q.bind(p)
		case "eviction":
			return q.evict(p)
		case "":
			return q.createObject(p)
		}
	case api.Update, api.Patch:
		switch q.Subresource {
		case "scale":
			return q.updateScale(p)
		case "finalize":
			return q.finalizeNamespace(p)
		}
		return q.updateObject(p)
	case api.Delete:
		return q.deleteObject(p)
	case api.DeleteCollection:
		return q.deleteCollection(p)
	}
	return nil, apierrors.NewMethodNotSupported(q.Resource.GroupResource(), string(q.Verb))
}

// component names the requester as the trace does: the program of its User-Agent.
func (q *request) component() string {
	name, _, _ := strings.Cut(q.UserAgent, "/")
	if name == "" {
		return componentName
	}
	return name
}

// levelOf says for whom a write is: heartbeats, renewals of locks and the writes of probes are routine.
func (q *request) levelOf(obj, old api.Object) sim.Level {
	switch q.Resource {
	case api.Endpoints:
		if old != nil && renewsLock(obj, old) {
			return sim.Routine
		}
	case api.ConfigMaps:
		if old != nil && q.component() == "probe" {
			return sim.Routine
		}
	case api.Leases:
		if old != nil && !holderChanged(obj, old) {
			return sim.Routine
		}
	case api.Nodes:
		if q.Subresource == "status" && old != nil && onlyHeartbeat(obj.(*corev1.Node), old.(*corev1.Node)) {
			return sim.Routine
		}
	}
	return sim.Detail
}

// leaderAnnotation holds the record of a lock that is not a Lease (client-go tools/leaderelection/resourcelock, up to
// v0.23).
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

// renewsLock reports whether a write to Endpoints only renews a leader's lock.
func renewsLock(obj, old api.Object) bool {
	record, was := obj.GetAnnotations()[leaderAnnotation], old.GetAnnotations()[leaderAnnotation]
	return record != was && lockHolder(record) == lockHolder(was)
}

// lockHolder takes the holder from a record, which client-go writes with holderIdentity first.
func lockHolder(record string) string {
	_, rest, _ := strings.Cut(record, `"holderIdentity":"`)
	holder, _, _ := strings.Cut(rest, `"`)
	return holder
}

// onlyHeartbeat reports whether a node's status differs at most in its heartbeat times.
func onlyHeartbeat(obj, old *corev1.Node) bool {
	if len(obj.Status.Conditions) != len(old.Status.Conditions) || len(obj.Status.Images) != len(old.Status.Images) ||
		len(obj.Status.Addresses) != len(old.Status.Addresses) || obj.Status.NodeInfo != old.Status.NodeInfo {
		return false
	}
	for i := range obj.Status.Conditions {
		a, b := &obj.Status.Conditions[i], &old.Status.Conditions[i]
		if a.Type != b.Type || a.Status != b.Status || a.Reason != b.Reason {
			return false
		}
	}
	return true
}

// authorize lets everybody do everything once the authorizer knows its roles. Before, with RBAC, only the API server
// itself and kubelets (whom the Node authorizer knows by rules of its own) may do anything: others get 403.
func (s *Server) authorize(r *api.Request) error {
	if s.rolesKnown || r.User == loopbackUser || strings.HasPrefix(r.User, "system:node:") {
		return nil
	}
	user := r.User
	if user == "" {
		user = "system:anonymous"
	}
	if r.Resource == nil {
		path, _, _ := strings.Cut(r.Path, "?")
		return fmt.Errorf("forbidden: User %q cannot get path %q", user, path)
	}
	resource := r.Resource.Plural
	if r.Subresource != "" {
		resource += "/" + r.Subresource
	}
	where := "at the cluster scope"
	if r.Resource.Namespaced && r.Namespace != metav1.NamespaceAll {
		where = fmt.Sprintf("in the namespace %q", r.Namespace)
	}
	return apierrors.NewForbidden(r.Resource.GroupResource(), r.Name, fmt.Errorf(
		"User %q cannot %s resource %q in API group %q %s", user, r.Verb, resource, r.Resource.GVK.Group, where))
}
