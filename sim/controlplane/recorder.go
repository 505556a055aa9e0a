package controlplane

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Models client-go's event recorder (tools/record, v0.36): asynchronous writing in order, counting of repeated
// events, the limit per object, retries. Leaves out: combining similar events of one object under one message.

const (
	// tools/record/event.go: maxTriesPerEvent and defaultSleepDuration.
	eventTries      = 12
	eventRetryAfter = 10 * time.Second
	// tools/record/event.go: maxQueuedEvents.
	eventQueue = 1000
	// tools/record/events_cache.go: maxLruCacheEntries, defaultSpamBurst and defaultSpamQPS (1 in 5 min).
	eventCache     = 4096
	eventSpamBurst = 25
	eventSpamEvery = 300 * time.Second
)

// Event is what a component has to say about an object: once for users of the API, once for readers of the trace.
type Event struct {
	Resource *api.Resource
	Object   api.Object
	Type     string // corev1.EventTypeNormal when ""
	Reason   string
	Message  string
	// Trace is the trace event that goes with it; where it is empty, Reason, Object and Message are filled in.
	Trace sim.Event
}

// Recorder writes Event objects and trace events. It never waits, and gives up when the API is away for long.
type Recorder struct {
	client    api.Client
	component string
	host      string
	random    *sim.Stream
	first     *pendingEvent // of the queue
	last      *pendingEvent
	queued    int
	known     map[uint64]knownEvent // by hash of the key
	order     []uint64              // the hashes, oldest first
	spam      map[uint64]sim.Time   // by hash of the object
	now       func() time.Time
	stamped   int64 // the clock at the last event
	after     int64 // how many were made at that same moment before it
}

// eventKey is what makes two events one with a count. A cluster's recorders remember many thousands of them, so they
// keep the hash alone: that two of the 4096 keys of a recorder have the same one of 64 bits happens once in 10^12 runs,
// and then one event is counted as another.
type eventKey struct {
	resource        *api.Resource
	uid             types.UID
	namespace, name string
	eventType       string // corev1.EventTypeNormal, EventTypeWarning
	reason, message string
}

func (k *eventKey) hash() uint64 {
	return hashOf(k.resource.GVK.Kind, string(k.uid), k.namespace, k.name, k.eventType, k.reason, k.message)
}

// spamHash stands for the object that a key is about.
func (k *eventKey) spamHash() uint64 { return hashOf(k.resource.GVK.Kind, k.namespace, k.name) }

func hashOf(texts ...string) (h uint64) {
	for _, text := range texts {
		h = (bits.RotateLeft64(h, 29) ^ xxhash.Sum64String(text)) * 0x9e3779b97f4a7c15
	}
	return h
}

// knownEvent is an event object that was written, or is about to be.
type knownEvent struct {
	nano  int64 // the clock when it came first: part of its name
	count int32
}

// pendingEvent is an event object that is to be written. It is made when it is sent.
type pendingEvent struct {
	eventKey
	knownEvent
	version string // of the object that it is about
	stamp   metav1.Time
	patch   bool // count it up instead of creating it
	tries   int
	cause   sim.EventID
	next    *pendingEvent
}

// NewRecorder makes a recorder that reports as that component.
func NewRecorder(client api.Client, component string) *Recorder {
	scope := client.Scope()
	return &Recorder{client: client, component: component, random: scope.Rand(scope.Path() + "/events"),
		known: map[uint64]knownEvent{}, spam: map[uint64]sim.Time{},
		now: func() time.Time { return epoch.Add(scope.Now().Duration()) }}
}

// epoch is what the clock of a component without a machine shows at the start.
var epoch = hardware.WallTime(0)

// On sets the host that events name as their source and the clock that they are stamped by. It returns the recorder.
func (r *Recorder) On(host string, now func() time.Time) *Recorder {
	r.host, r.now = host, now
	return r
}

// Record emits the trace event, queues the event object, and returns the trace event's ID. The current cause stays.
func (r *Recorder) Record(e Event) sim.EventID {
	trace := e.Trace
	if trace.Reason == "" {
		trace.Reason = e.Reason
	}
	if trace.Object == "" {
		trace.Object = api.ResourceEventName(e.Resource, e.Object.GetNamespace(), e.Object.GetName())
	}
	if trace.Message == "" {
		trace.Message = e.Message
	}
	id := r.client.Scope().Emit(trace)
	r.Write(e, id)
	return id
}

// Write queues the event object alone, caused by a trace event. The current cause stays.
func (r *Recorder) Write(e Event, cause sim.EventID) {
	kernel := r.client.Scope().Kernel()
	before := kernel.Cause()
	r.enqueue(&e, cause)
	kernel.Because(before)
}

func (r *Recorder) enqueue(e *Event, cause sim.EventID) {
	if e.Type == "" {
		e.Type = corev1.EventTypeNormal
	}
	key := eventKey{resource: e.Resource, uid: e.Object.GetUID(), namespace: e.Object.GetNamespace(),
		name: e.Object.GetName(), eventType: e.Type, reason: e.Reason, message: e.Message}
	if r.queued >= eventQueue || r.isSpam(key.spamHash()) {
		return
	}
	now := r.now()
	known := r.remember(key.hash(), r.stamp(now.UnixNano()))
	pending := &pendingEvent{eventKey: key, knownEvent: known, version: e.Object.GetResourceVersion(),
		stamp: metav1.NewTime(now.Truncate(time.Second)), patch: known.count > 1, cause: cause}
	if r.queued++; r.queued > 1 {
		r.last.next, r.last = pending, pending
		return
	}
	r.first, r.last = pending, pending
	r.send()
}

// stamp returns the time that goes into an event's name. No two events of a real component come at the same nanosecond.
func (r *Recorder) stamp(nano int64) int64 {
	if nano != r.stamped {
		r.stamped, r.after = nano, 0
	} else {
		r.after++
	}
	return nano + r.after
}

// remember counts an event and returns what is known of it.
func (r *Recorder) remember(hash uint64, nano int64) knownEvent {
	known, before := r.known[hash]
	if !before {
		known.nano = nano
		r.order = append(r.order, hash)
		if len(r.order) > eventCache {
			delete(r.known, r.order[0])
			r.order = r.order[1:]
		}
	}
	known.count++
	r.known[hash] = known
	return known
}

// name returns the name of the event object (tools/record makeEvent).
func (e *pendingEvent) objectName() string { return e.name + "." + strconv.FormatInt(e.nano, 16) }

func (e *pendingEvent) objectNamespace() string {
	if e.namespace == "" {
		return metav1.NamespaceDefault
	}
	return e.namespace
}

func (r *Recorder) object(e *pendingEvent) *corev1.Event {
	gvk := &e.resource.GVK
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: e.objectName(), Namespace: e.objectNamespace()},
		InvolvedObject: corev1.ObjectReference{Kind: gvk.Kind, APIVersion: gvk.GroupVersion().String(),
			Namespace: e.namespace, Name: e.name, UID: e.uid, ResourceVersion: e.version},
		Reason: e.reason, Message: e.message, Type: e.eventType, Count: e.count,
		FirstTimestamp: metav1.NewTime(time.Unix(0, e.nano).UTC().Truncate(time.Second)), LastTimestamp: e.stamp,
		Source:              corev1.EventSource{Component: r.component, Host: r.host},
		ReportingController: r.component, ReportingInstance: r.host,
	}
}

// isSpam takes one from the object's bucket; true when it is empty (tools/record EventSourceObjectSpamFilter).
func (r *Recorder) isSpam(key uint64) bool {
	now := r.client.Scope().Now()
	paid := max(r.spam[key], now).Add(eventSpamEvery)
	if paid.Sub(now) > eventSpamBurst*eventSpamEvery {
		return true
	}
	if len(r.spam) >= eventCache {
		for k, t := range r.spam { // any order: removes what has no effect any more
			if t <= now {
				delete(r.spam, k)
			}
		}
	}
	r.spam[key] = paid
	return false
}

// send writes the first event of the queue.
func (r *Recorder) send() {
	e := r.first
	e.tries++
	request := &api.Request{Verb: api.Create, Resource: api.Events, Namespace: e.objectNamespace()}
	if e.patch {
		request.Verb, request.Name = api.Patch, e.objectName()
		request.PatchType = types.StrategicMergePatchType
		request.Patch = fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, e.count, e.stamp.UTC().Format(time.RFC3339))
	} else {
		object := r.object(e)
		request.Name, request.Object = object.Name, object
	}
	r.client.Scope().Kernel().Because(e.cause)
	r.client.Start(request, func(_ *api.Response, err error) { r.sent(e, err) })
}

func (r *Recorder) sent(e *pendingEvent, err error) {
	status := apierrors.APIStatus(nil)
	switch {
	case err == nil:
	case e.patch && apierrors.IsNotFound(err):
		e.patch = false
		r.send()
		return
	case errors.As(err, &status), e.tries >= eventTries: // the server rejected it; unable to write it
	default:
		wait := eventRetryAfter
		if e.tries == 1 { // spreads the clients of a master that is coming back (tools/record recordToSink)
			wait = r.random.Between(0, eventRetryAfter)
		}
		r.client.Scope().After(wait, "event", r.send)
		return
	}
	r.first = e.next
	if r.queued--; r.queued > 0 {
		r.send()
	}
}
