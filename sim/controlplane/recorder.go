package controlplane

import (
	"errors"
	"fmt"
	"strconv"
	"time"

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
	queue     []*pendingEvent
	known     map[eventKey]*knownEvent
	order     []eventKey // of known, oldest first
	spam      map[spamKey]sim.Time
	now       func() time.Time
}

type eventKey struct {
	uid                             types.UID
	kind, namespace, name, eventTyp string
	reason, message                 string
}

type spamKey struct{ kind, namespace, name string }

// knownEvent is an event object that was written, or is about to be.
type knownEvent struct {
	name  string
	count int32
	first metav1.Time
}

type pendingEvent struct {
	event *corev1.Event
	key   eventKey
	patch bool // count it up instead of creating it
	cause sim.EventID
	tries int
}

// NewRecorder makes a recorder that reports as that component.
func NewRecorder(client api.Client, component string) *Recorder {
	scope := client.Scope()
	return &Recorder{client: client, component: component, random: scope.Rand(scope.Path() + "/events"),
		known: map[eventKey]*knownEvent{}, spam: map[spamKey]sim.Time{},
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
	kernel := r.client.Scope().Kernel()
	before := kernel.Cause()
	r.enqueue(&e, id)
	kernel.Because(before)
	return id
}

func (r *Recorder) enqueue(e *Event, cause sim.EventID) {
	if e.Type == "" {
		e.Type = corev1.EventTypeNormal
	}
	key := eventKey{uid: e.Object.GetUID(), kind: e.Resource.GVK.Kind, namespace: e.Object.GetNamespace(),
		name: e.Object.GetName(), eventTyp: e.Type, reason: e.Reason, message: e.Message}
	if len(r.queue) >= eventQueue || r.isSpam(spamKey{key.kind, key.namespace, key.name}) {
		return
	}
	now := r.now()
	stamp := metav1.NewTime(now.Truncate(time.Second))
	known := r.known[key]
	patch := known != nil
	if known == nil {
		known = &knownEvent{name: e.Object.GetName() + "." + strconv.FormatInt(now.UnixNano(), 16), first: stamp}
		r.remember(key, known)
	}
	known.count++
	r.queue = append(r.queue, &pendingEvent{key: key, patch: patch, cause: cause, event: r.object(e, known, stamp)})
	if len(r.queue) == 1 {
		r.send()
	}
}

func (r *Recorder) object(e *Event, known *knownEvent, stamp metav1.Time) *corev1.Event {
	namespace := e.Object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: known.name, Namespace: namespace},
		InvolvedObject: corev1.ObjectReference{Kind: e.Resource.GVK.Kind, APIVersion: e.Resource.GVK.GroupVersion().String(),
			Namespace: e.Object.GetNamespace(), Name: e.Object.GetName(), UID: e.Object.GetUID(),
			ResourceVersion: e.Object.GetResourceVersion()},
		Reason: e.Reason, Message: e.Message, Type: e.Type, Count: known.count,
		FirstTimestamp: known.first, LastTimestamp: stamp,
		Source:              corev1.EventSource{Component: r.component, Host: r.host},
		ReportingController: r.component, ReportingInstance: r.host,
	}
}

func (r *Recorder) remember(key eventKey, known *knownEvent) {
	r.known[key] = known
	r.order = append(r.order, key)
	if len(r.order) > eventCache {
		delete(r.known, r.order[0])
		r.order[0] = eventKey{}
		r.order = r.order[1:]
	}
}

// isSpam takes one from the object's bucket; true when it is empty (tools/record EventSourceObjectSpamFilter).
func (r *Recorder) isSpam(key spamKey) bool {
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
	e := r.queue[0]
	e.tries++
	request := &api.Request{Verb: api.Create, Resource: api.Events, Namespace: e.event.Namespace, Name: e.event.Name,
		Object: e.event.DeepCopy()}
	if e.patch {
		request = &api.Request{Verb: api.Patch, Resource: api.Events, Namespace: e.event.Namespace, Name: e.event.Name,
			PatchType: types.StrategicMergePatchType,
			Patch: fmt.Appendf(nil, `{"count":%d,"lastTimestamp":%q}`, e.event.Count,
				e.event.LastTimestamp.UTC().Format(time.RFC3339))}
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
	r.queue[0] = nil
	r.queue = r.queue[1:]
	if len(r.queue) > 0 {
		r.send()
	}
}
