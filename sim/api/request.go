package api

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
)

// Object is any API object: a typed one of k8s.io/api, or *unstructured.Unstructured for kinds that are only stored.
// An object that came from the API or a cache is shared and must not be changed: DeepCopyObject or Copy it first.
type Object interface {
	runtime.Object
	metav1.Object
}

// Copy returns a copy of an object whose first level, as the fields of its metadata, may be changed: what lies
// below may be shared with the object.
func Copy(obj Object) Object {
	switch o := obj.(type) {
	case *corev1.Pod:
		c := *o
		return &c
	case *corev1.Event:
		c := *o
		return &c
	case *coordinationv1.Lease:
		c := *o
		return &c
	}
	return obj.DeepCopyObject().(Object)
}

// Verb is what a request does, with the names that RBAC uses (apiserver pkg/endpoints/request/requestinfo.go, v0.36).
type Verb string

// The verbs of the API.
const (
	Get              Verb = "get"
	List             Verb = "list"
	Watch            Verb = "watch"
	Create           Verb = "create"
	Update           Verb = "update"
	Patch            Verb = "patch"
	Delete           Verb = "delete"
	DeleteCollection Verb = "deletecollection"
)

// Request is one request to an API server: what a URL, a method, query parameters and a body say over HTTP.
// It belongs to the receiver once sent.
type Request struct {
	Verb        Verb
	Resource    *Resource // nil: Path is a non-resource URL
	Subresource string    // "", status, binding, eviction, scale
	Namespace   string
	Name        string
	Path        string // /livez, /readyz, /healthz, /version ...

	Object    Object // body of create and update, also of binding and eviction
	Patch     []byte
	PatchType types.PatchType

	LabelSelector        labels.Selector // nil: everything
	FieldSelector        fields.Selector // nil: everything
	ResourceVersion      string          // "" most recent (linearizable), "0" any (watch cache), else at least / exact
	ResourceVersionMatch metav1.ResourceVersionMatch
	Limit                int64
	Continue             string
	AllowWatchBookmarks  bool
	TimeoutSeconds       int64 // of a watch

	GracePeriodSeconds *int64
	Preconditions      *metav1.Preconditions
	PropagationPolicy  *metav1.DeletionPropagation
	DryRun             bool
	FieldManager       string

	User      string        // the authenticated user: system:node:worker-1, kubernetes-admin
	UserAgent string        // kubectl/v1.36.0, kube-scheduler/v1.36.0
	Within    time.Duration // the client's own deadline; 0 none
}

// HTTPPath makes it a hardware.HTTPGet.
func (r *Request) HTTPPath() string { return r.Path }

// Response is the answer to a Request that succeeded; a failure is an error, mostly a *errors.StatusError of
// apimachinery.
type Response struct {
	Object          Object   // the object, for verbs on one
	Items           []Object // of a list
	ResourceVersion string   // of a list
	Continue        string
	RemainingItems  *int64
	Status          int    // HTTP status
	Body            string // of non-resource paths
}

// HTTPStatus makes it a hardware.HTTPAnswer.
func (r *Response) HTTPStatus() (status int, body string) { return r.Status, r.Body }

// WatchEvent is one event of a watch.
type WatchEvent struct {
	Type   EventType
	Object Object // Added, Modified, Deleted (its last state), Bookmark (only its resourceVersion counts)
	Err    error  // of type Error: a *errors.StatusError, as 410 Gone
	Cause  sim.EventID
}

// EventType is the type of a WatchEvent.
type EventType string

// The types of watch events (apimachinery pkg/watch).
const (
	Added    EventType = "ADDED"
	Modified EventType = "MODIFIED"
	Deleted  EventType = "DELETED"
	Bookmark EventType = "BOOKMARK"
	Error    EventType = "ERROR"
)

// Client sends requests to an API server. Each component has its own, with its own connection, as its kubeconfig says.
type Client interface {
	// Do sends a request and waits for its answer. Errors: *errors.StatusError from the server; else what the
	// connection met (hardware.ErrRefused, ErrReset, ErrConnectionLost, sim.ErrTimeout).
	Do(p *sim.Proc, r *Request) (*Response, error)
	// Start is Do for callbacks: done runs in the client's scope.
	Start(r *Request, done func(*Response, error)) Cancel
	// Watch opens a watch: on is called in the client's scope for each event, ended once, with nil for a regular end
	// (the server's time-out) or what broke it; both never before Watch has returned.
	Watch(r *Request, on func(WatchEvent), ended func(error)) Cancel
	// Scope is the lifetime that the client's callbacks run in.
	Scope() *sim.Scope
}

// Cancel gives a request or watch up; nothing of it is called afterwards.
type Cancel func()
