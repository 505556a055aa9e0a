package controlplane

import (
	"encoding/json"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
)

// Models client-go's resource locks (tools/leaderelection/resourcelock, v0.17 to v0.36).

// LeaderElectionRecord is what a lock says, whatever object it lies in.
type LeaderElectionRecord struct {
	HolderIdentity string
	LeaseDuration  time.Duration
	AcquireTime    time.Time
	RenewTime      time.Time
	Transitions    int
}

// resourceLock is an object that holds a LeaderElectionRecord. Requests take at most within.
type resourceLock interface {
	// get also returns the trace event of the write that made the record.
	get(p *sim.Proc, within time.Duration) (LeaderElectionRecord, sim.EventID, error)
	create(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error
	// update writes over what get, create or update returned last; a conflict if it has changed since.
	update(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error
	lastWrite() sim.EventID
	resource() *api.Resource
	object() api.Object // the last known, else an empty one with its name
}

// unknownLeader is the holder that a multi-lock reports when its two objects disagree (resourcelock/multilock.go).
const unknownLeader = "leaderelection.k8s.io/unknown"

// leaderAnnotation is where Endpoints and ConfigMaps keep the record (resourcelock/interface.go).
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

func newResourceLock(client api.Client, config LeaderElectionConfig) (resourceLock, error) {
	key := api.Key{Namespace: config.Namespace, Name: config.Name}
	leases := &objectLock{client: client, key: key, of: api.Leases, read: leaseRecord, write: writeLease}
	annotated := func(r *api.Resource) *objectLock {
		return &objectLock{client: client, key: key, of: r, read: annotationRecord, write: writeAnnotation}
	}
	switch config.ResourceLock {
	case "leases":
		return leases, nil
	case "endpoints":
		return annotated(api.Endpoints), nil
	case "configmaps":
		return annotated(api.ConfigMaps), nil
	case "endpointsleases":
		return &multiLock{annotated(api.Endpoints), leases}, nil
	case "configmapsleases":
		return &multiLock{annotated(api.ConfigMaps), leases}, nil
	}
	return leases, fmt.Errorf("invalid lock-type %s", config.ResourceLock)
}

// objectLock keeps the record in one object.
type objectLock struct {
	client api.Client
	key    api.Key
	of     *api.Resource
	read   func(api.Object) LeaderElectionRecord
	write  func(api.Object, LeaderElectionRecord)
	last   api.Object
}

func (l *objectLock) resource() *api.Resource { return l.of }

func (l *objectLock) object() api.Object {
	if l.last != nil {
		return l.last
	}
	return l.empty()
}

func (l *objectLock) empty() api.Object {
	object := l.of.New()
	object.SetNamespace(l.key.Namespace)
	object.SetName(l.key.Name)
	return object
}

func (l *objectLock) lastWrite() sim.EventID {
	if l.last == nil {
		return 0
	}
	return api.CauseOf(l.client.Scope().Kernel(), l.last)
}

func (l *objectLock) get(p *sim.Proc, within time.Duration) (LeaderElectionRecord, sim.EventID, error) {
	answer, err := l.client.Do(p, &api.Request{Verb: api.Get, Resource: l.of, Namespace: l.key.Namespace, Name: l.key.Name,
		Within: within})
	if err != nil {
		return LeaderElectionRecord{}, 0, err
	}
	l.last = answer.Object
	return l.read(l.last), l.lastWrite(), nil
}

func (l *objectLock) create(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error {
	object := l.empty()
	l.write(object, record)
	return l.send(p, api.Create, object, within)
}

func (l *objectLock) update(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error {
	if l.last == nil {
		return fmt.Errorf("%s not initialized, call get or create first", l.of.Singular)
	}
	object, ok := l.last.DeepCopyObject().(api.Object)
	sim.Assert(ok, "a copy of %s is a %T", l.key, object)
	l.write(object, record)
	return l.send(p, api.Update, object, within)
}

func (l *objectLock) send(p *sim.Proc, verb api.Verb, object api.Object, within time.Duration) error {
	answer, err := l.client.Do(p, &api.Request{Verb: verb, Resource: l.of, Namespace: l.key.Namespace, Name: l.key.Name,
		Object: object, Within: within})
	if err != nil {
		return err
	}
	l.last = answer.Object
	return nil
}

func leaseRecord(object api.Object) LeaderElectionRecord {
	lease, ok := object.(*coordinationv1.Lease)
	sim.Assert(ok, "a lease lock holds a %T", object)
	var record LeaderElectionRecord
	if spec := &lease.Spec; true {
		if spec.HolderIdentity != nil {
			record.HolderIdentity = *spec.HolderIdentity
		}
		if spec.LeaseDurationSeconds != nil {
			record.LeaseDuration = time.Duration(*spec.LeaseDurationSeconds) * time.Second
		}
		if spec.LeaseTransitions != nil {
			record.Transitions = int(*spec.LeaseTransitions)
		}
		if spec.AcquireTime != nil {
			record.AcquireTime = spec.AcquireTime.UTC()
		}
		if spec.RenewTime != nil {
			record.RenewTime = spec.RenewTime.UTC()
		}
	}
	return record
}

func writeLease(object api.Object, record LeaderElectionRecord) {
	lease, ok := object.(*coordinationv1.Lease)
	sim.Assert(ok, "a lease lock holds a %T", object)
	seconds, transitions := int32(record.LeaseDuration/time.Second), int32(record.Transitions)
	lease.Spec.HolderIdentity = &record.HolderIdentity
	lease.Spec.LeaseDurationSeconds = &seconds
	lease.Spec.LeaseTransitions = &transitions
	lease.Spec.AcquireTime = &metav1.MicroTime{Time: record.AcquireTime}
	lease.Spec.RenewTime = &metav1.MicroTime{Time: record.RenewTime}
}

// annotation is the record's form in an annotation (resourcelock.LeaderElectionRecord).
type annotation struct {
	HolderIdentity       string      `json:"holderIdentity"`
	LeaseDurationSeconds int         `json:"leaseDurationSeconds"`
	AcquireTime          metav1.Time `json:"acquireTime"`
	RenewTime            metav1.Time `json:"renewTime"`
	LeaderTransitions    int         `json:"leaderTransitions"`
}

func annotationRecord(object api.Object) LeaderElectionRecord {
	var a annotation
	text := object.GetAnnotations()[leaderAnnotation]
	if text == "" || json.Unmarshal([]byte(text), &a) != nil {
		return LeaderElectionRecord{}
	}
	return LeaderElectionRecord{HolderIdentity: a.HolderIdentity,
		LeaseDuration: time.Duration(a.LeaseDurationSeconds) * time.Second,
		AcquireTime:   a.AcquireTime.UTC(), RenewTime: a.RenewTime.UTC(), Transitions: a.LeaderTransitions}
}

func writeAnnotation(object api.Object, record LeaderElectionRecord) {
	text, err := json.Marshal(annotation{HolderIdentity: record.HolderIdentity,
		LeaseDurationSeconds: int(record.LeaseDuration / time.Second), AcquireTime: metav1.NewTime(record.AcquireTime),
		RenewTime: metav1.NewTime(record.RenewTime), LeaderTransitions: record.Transitions})
	sim.Assert(err == nil, "a lock record cannot be written: %v", err)
	annotations := map[string]string{leaderAnnotation: string(text)}
	for key, value := range object.GetAnnotations() { // any order: fills a map
		if key != leaderAnnotation {
			annotations[key] = value
		}
	}
	object.SetAnnotations(annotations)
	if endpoints, ok := object.(*corev1.Endpoints); ok { //nolint:staticcheck // the lock of releases before v1.20
		endpoints.Subsets = nil
	}
}

// multiLock writes the record to two objects, so that components of two releases can compete (v1.17 to v1.19).
type multiLock struct{ primary, secondary *objectLock }

func (l *multiLock) resource() *api.Resource { return l.primary.of }
func (l *multiLock) object() api.Object      { return l.primary.object() }
func (l *multiLock) lastWrite() sim.EventID  { return l.primary.lastWrite() }

func (l *multiLock) get(p *sim.Proc, within time.Duration) (LeaderElectionRecord, sim.EventID, error) {
	primary, written, err := l.primary.get(p, within)
	if err != nil {
		return primary, written, err
	}
	secondary, _, err := l.secondary.get(p, within)
	if apierrors.IsNotFound(err) {
		return primary, written, nil // held by a client of an older release
	}
	if err != nil {
		return primary, written, err
	}
	if primary.HolderIdentity != secondary.HolderIdentity {
		primary.HolderIdentity = unknownLeader
	}
	return primary, written, nil
}

func (l *multiLock) create(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error {
	err := l.primary.create(p, record, within)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return l.secondary.create(p, record, within)
}

func (l *multiLock) update(p *sim.Proc, record LeaderElectionRecord, within time.Duration) error {
	if err := l.primary.update(p, record, within); err != nil {
		return err
	}
	if _, _, err := l.secondary.get(p, within); apierrors.IsNotFound(err) {
		return l.secondary.create(p, record, within)
	}
	return l.secondary.update(p, record, within)
}
