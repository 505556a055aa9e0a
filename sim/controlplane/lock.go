package controlplane

import (
	"encoding/json"
	"errors"
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

// lockState is what a lock was found to say.
type lockState struct {
	record  LeaderElectionRecord
	second  LeaderElectionRecord // of a multi-lock's other object
	written sim.EventID          // the write that made the record
	found   bool
}

// same compares as client-go does: the records as JSON, which has whole seconds.
func (s *lockState) same(other *lockState) bool {
	return s.found == other.found && s.record.inSeconds() == other.record.inSeconds() &&
		s.second.inSeconds() == other.second.inSeconds()
}

func (r LeaderElectionRecord) inSeconds() LeaderElectionRecord {
	r.AcquireTime, r.RenewTime = r.AcquireTime.Truncate(time.Second), r.RenewTime.Truncate(time.Second)
	return r
}

// requestLimit says how long requests may take: each of them, and all until a moment (never: no such moment).
type requestLimit struct {
	each time.Duration
	end  sim.Time
}

// from returns what a request may take that is sent now; false: nothing.
func (l requestLimit) from(now sim.Time) (time.Duration, bool) {
	if l.end == never {
		return l.each, true
	}
	left := l.end.Sub(now)
	if l.each >= 0 {
		left = min(left, l.each)
	}
	return left, left > 0
}

// resourceLock is an object that holds a LeaderElectionRecord, or two.
type resourceLock interface {
	get(p *sim.Proc, limit requestLimit) (lockState, error)
	create(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error
	// update writes over what get, create or update returned last; a conflict if it has changed since.
	update(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error
	lastWrite() sim.EventID
	objects() []*objectLock
}

// unknownLeader is the holder that a multi-lock reports when its two objects disagree (resourcelock/multilock.go).
const unknownLeader = "leaderelection.k8s.io/unknown"

// leaderAnnotation is where Endpoints and ConfigMaps keep the record (resourcelock/interface.go).
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

// CheckLock says why a release does not take a kind of lock, in client-go's words.
func (c *LeaderElectionConfig) CheckLock() error {
	annotated := c.ResourceLock == "endpoints" || c.ResourceLock == "configmaps"
	multi := c.ResourceLock == "endpointsleases" || c.ResourceLock == "configmapsleases"
	switch {
	case !c.Enabled:
		return nil
	case c.OnlyLeaseLocks && c.ResourceLock != "leases":
		return errors.New(`resourceLock value must be "leases"`)
	case annotated && !c.AnnotationLocks:
		return fmt.Errorf("%s lock is removed, migrate to %[1]sleases", c.ResourceLock)
	case annotated, multi && c.MultiLocks, c.ResourceLock == "leases" && c.LeaseLocks:
		return nil
	}
	return fmt.Errorf("Invalid lock-type %s", c.ResourceLock) //nolint:staticcheck // client-go's text
}

func newResourceLock(client api.Client, config *LeaderElectionConfig, identity string) (resourceLock, error) {
	key := api.Key{Namespace: config.Namespace, Name: config.Name}
	leases := &objectLock{client: client, key: key, of: api.Leases, read: leaseRecord, write: writeLease}
	annotated := func(r *api.Resource) *objectLock {
		return &objectLock{client: client, key: key, of: r, read: annotationRecord, write: writeAnnotation}
	}
	switch config.ResourceLock {
	case "endpoints":
		return annotated(api.Endpoints), config.CheckLock()
	case "configmaps":
		return annotated(api.ConfigMaps), config.CheckLock()
	case "endpointsleases":
		return &multiLock{annotated(api.Endpoints), leases, identity}, config.CheckLock()
	case "configmapsleases":
		return &multiLock{annotated(api.ConfigMaps), leases, identity}, config.CheckLock()
	}
	return leases, config.CheckLock()
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

func (l *objectLock) objects() []*objectLock { return []*objectLock{l} }

// object returns the last known, else an empty one with its name.
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

func (l *objectLock) get(p *sim.Proc, limit requestLimit) (lockState, error) {
	object, err := l.do(p, api.Get, nil, limit)
	if err != nil {
		return lockState{}, err
	}
	l.last = object
	return lockState{record: l.read(l.last), written: l.lastWrite(), found: true}, nil
}

func (l *objectLock) create(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error {
	object := l.empty()
	l.write(object, record)
	return l.send(p, api.Create, object, limit)
}

func (l *objectLock) update(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error {
	if l.last == nil {
		return fmt.Errorf("%s not initialized, call get or create first", l.of.Singular)
	}
	object, ok := l.last.DeepCopyObject().(api.Object)
	sim.Assert(ok, "a copy of %s is a %T", l.key, object)
	l.write(object, record)
	return l.send(p, api.Update, object, limit)
}

func (l *objectLock) send(p *sim.Proc, verb api.Verb, object api.Object, limit requestLimit) error {
	answer, err := l.do(p, verb, object, limit)
	if err == nil {
		l.last = answer
	}
	return err
}

func (l *objectLock) do(p *sim.Proc, verb api.Verb, object api.Object, limit requestLimit) (api.Object, error) {
	within, ok := limit.from(p.Now())
	if !ok {
		return nil, sim.ErrTimeout
	}
	answer, err := l.client.Do(p, &api.Request{Verb: verb, Resource: l.of, Namespace: l.key.Namespace, Name: l.key.Name,
		Object: object, Within: within})
	if err != nil {
		return nil, err
	}
	return answer.Object, nil
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

// LockHolder returns the holder that a lock's object names, "" nobody.
func LockHolder(object api.Object) string {
	if _, ok := object.(*coordinationv1.Lease); ok {
		return leaseRecord(object).HolderIdentity
	}
	return annotationRecord(object).HolderIdentity
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

// multiLock writes the record to two objects, so that components of two releases can compete (v1.17 to v1.26).
type multiLock struct {
	primary, secondary *objectLock
	identity           string // of who competes
}

func (l *multiLock) objects() []*objectLock { return []*objectLock{l.primary, l.secondary} }
func (l *multiLock) lastWrite() sim.EventID { return l.primary.lastWrite() }

func (l *multiLock) get(p *sim.Proc, limit requestLimit) (lockState, error) {
	state, err := l.primary.get(p, limit)
	if err != nil {
		return state, err
	}
	secondary, err := l.secondary.get(p, limit)
	if apierrors.IsNotFound(err) && state.record.HolderIdentity != l.identity {
		return state, nil // held by a client of an older release
	}
	if err != nil {
		return state, err
	}
	state.second = secondary.record
	if state.record.HolderIdentity != secondary.record.HolderIdentity {
		state.record.HolderIdentity = unknownLeader
	}
	return state, nil
}

func (l *multiLock) create(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error {
	err := l.primary.create(p, record, limit)
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return l.secondary.create(p, record, limit)
}

func (l *multiLock) update(p *sim.Proc, record LeaderElectionRecord, limit requestLimit) error {
	if err := l.primary.update(p, record, limit); err != nil {
		return err
	}
	if _, err := l.secondary.get(p, limit); apierrors.IsNotFound(err) {
		return l.secondary.create(p, record, limit)
	}
	return l.secondary.update(p, record, limit)
}
