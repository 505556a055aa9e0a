package scheduler

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
	"ksim/sim/controlplane"
)

// Models client-go's recorder of the events.k8s.io API (tools/events/event_broadcaster.go, v0.36), which
// kube-scheduler uses since v1.19: an object for each event, a series when the same is said again of the same version
// of an object. Leaves out: the refresh of a series each 30 min.

const (
	seriesFinish   = 6 * time.Minute // finishTime: after so long a silence a series has ended
	recordTries    = 12              // maxTriesPerEvent
	recordRetry    = 10 * time.Second
	recordRetryMax = 12500 * time.Millisecond // wait.Jitter by a quarter
)

// record is what the scheduler has to say about a pod.
type record struct {
	pod     *corev1.Pod
	kind    string // corev1.EventTypeNormal, corev1.EventTypeWarning
	reason  string
	action  string
	note    string
	related *corev1.Pod
	trace   sim.Event // Reason, Object and Message are filled in where they are empty
}

// eventRecorder writes event objects and trace events. It never waits.
type eventRecorder struct {
	client   api.Client
	kernel   *sim.Kernel
	random   *sim.Stream
	instance string
	now      func() time.Time
	started  time.Time
	legacy   *controlplane.Recorder // before v1.19

	cache map[recordKey]*corev1.Event
	order []recordKey // of cache, oldest first
}

type recordKey struct {
	uid                   types.UID
	resourceVersion       string
	kind, reason, related string
}

func newEventRecorder(s *Scheduler, client api.Client) *eventRecorder {
	r := &eventRecorder{client: client, kernel: s.kernel, random: s.scope.Rand(s.scope.Path() + "/events"),
		instance: defaultSchedulerName + "-" + s.options.Host, now: s.now,
		started: s.now(), cache: map[recordKey]*corev1.Event{}}
	if s.features.Minor < 19 {
		r.legacy = controlplane.NewRecorder(client, defaultSchedulerName).On("", s.now)
	}
	return r
}

// Record emits the trace event, sends the event object and returns the trace event. The current cause stays.
func (r *eventRecorder) Record(e record) sim.EventID {
	if r.legacy != nil {
		return r.legacy.Record(controlplane.Event{Resource: api.Pods, Object: e.pod, Type: e.kind, Reason: e.reason,
			Message: e.note, Trace: e.trace})
	}
	e.trace.Reason, e.trace.Object = e.reason, api.ResourceEventName(api.Pods, e.pod.Namespace, e.pod.Name)
	if e.trace.Message == "" {
		e.trace.Message = e.note
	}
	id := r.client.Scope().Emit(e.trace)
	before := r.kernel.Cause()
	r.kernel.Because(id)
	r.recordToSink(&e)
	r.kernel.Because(before)
	return id
}

func (r *eventRecorder) recordToSink(e *record) {
	now := r.now()
	r.finishSeries(now)
	key := recordKey{uid: e.pod.UID, resourceVersion: e.pod.ResourceVersion, kind: e.kind, reason: e.reason}
	if e.related != nil {
		key.related = string(e.related.UID)
	}
	known := r.cache[key]
	if known == nil || r.finished(known, now) {
		event := r.event(e, now)
		r.cache[key] = event
		r.order = append(r.order, key)
		r.send(&api.Request{Verb: api.Create, Resource: api.Events, Namespace: event.Namespace, Name: event.Name,
			Object: event.DeepCopy()}, event)
		return
	}
	if known.Series != nil {
		known.Series.Count++
		known.Series.LastObservedTime = metav1.NewMicroTime(now)
		return
	}
	known.Series = &corev1.EventSeries{Count: 2, LastObservedTime: metav1.NewMicroTime(now)}
	r.sendSeries(known)
}

func (r *eventRecorder) event(e *record, now time.Time) *corev1.Event {
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: e.pod.Namespace,
			Name: e.pod.Name + "." + strconv.FormatInt(now.UnixNano(), 16)},
		EventTime: metav1.NewMicroTime(now), InvolvedObject: podReference(e.pod),
		Type: e.kind, Reason: e.reason, Action: e.action, Message: e.note,
		ReportingController: defaultSchedulerName, ReportingInstance: r.instance,
	}
	if e.related != nil {
		related := podReference(e.related)
		event.Related = &related
	}
	return event
}

func podReference(pod *corev1.Pod) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion}
}

func (r *eventRecorder) sendSeries(event *corev1.Event) {
	patch := fmt.Appendf(nil, `{"series":{"count":%d,"lastObservedTime":%q}}`, event.Series.Count,
		event.Series.LastObservedTime.UTC().Format(metav1.RFC3339Micro))
	r.send(&api.Request{Verb: api.Patch, Resource: api.Events, Namespace: event.Namespace, Name: event.Name,
		PatchType: types.StrategicMergePatchType, Patch: patch}, event)
}

// finished reports whether an event was not said again for 6 min when upstream looked, which it does each 6 min.
func (r *eventRecorder) finished(event *corev1.Event, now time.Time) bool {
	last := event.EventTime.Time
	if event.Series != nil {
		last = event.Series.LastObservedTime.Time
	}
	looked := r.started.Add(now.Sub(r.started).Truncate(seriesFinish))
	return looked.Sub(last) > seriesFinish
}

// finishSeries forgets events that are finished, the oldest first; the last count of a series is written. It happens
// when the next event is recorded.
func (r *eventRecorder) finishSeries(now time.Time) {
	for len(r.order) > 0 {
		event := r.cache[r.order[0]]
		if event != nil {
			if !r.finished(event, now) {
				return
			}
			if event.Series != nil && event.Series.Count > 2 {
				r.sendSeries(event)
			}
			delete(r.cache, r.order[0])
		}
		r.order[0] = recordKey{}
		r.order = r.order[1:]
	}
}

// send sends, and sends again when nobody answered.
func (r *eventRecorder) send(request *api.Request, event *corev1.Event) {
	r.try(request, event, 1)
}

func (r *eventRecorder) try(request *api.Request, event *corev1.Event, n int) {
	again := *request // a request belongs to its receiver
	r.client.Start(&again, func(_ *api.Response, err error) { r.sent(request, event, n, err) })
}

func (r *eventRecorder) sent(request *api.Request, event *corev1.Event, n int, err error) {
	var status apierrors.APIStatus
	switch {
	case err == nil:
	case request.Verb == api.Patch && apierrors.IsNotFound(err):
		r.try(&api.Request{Verb: api.Create, Resource: api.Events, Namespace: event.Namespace, Name: event.Name,
			Object: event.DeepCopy()}, event, n)
	case errors.As(err, &status), n >= recordTries: // the server rejected it, or it has taken too long
	default:
		r.client.Scope().After(r.random.Between(recordRetry, recordRetryMax), "event", func() { r.try(request, event, n+1) })
	}
}
