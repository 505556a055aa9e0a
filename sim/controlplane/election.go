package controlplane

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Models client-go's leader election (tools/leaderelection/leaderelection.go, v0.36): acquire, renew with the fast
// path, release. Leaves out: coordinated leader election (off by default) and the health check's adaptor.

// LeaderElectionConfig says what is competed for and how patiently.
type LeaderElectionConfig struct {
	LeaseDuration time.Duration // how long others wait after they saw the last renewal
	RenewDeadline time.Duration // after which a holder that cannot renew gives up
	RetryPeriod   time.Duration // between two tries
	ResourceLock  string        // leases, endpoints, configmaps, endpointsleases, configmapsleases
	Namespace     string
	Name          string
	// ReleaseOnCancel has Release called on a clean stop write an empty holder (kube-scheduler since v1.22).
	ReleaseOnCancel bool
	// FastPath renews without reading first (client-go from v0.30).
	FastPath bool
	// Reporter is the component that LeaderElection events name, "" for Name.
	Reporter string
}

// DefaultLeaderElection returns component-base's defaults (config/v1alpha1/defaults.go, the same in every release):
// 15 s, 10 s, 2 s, in kube-system.
func DefaultLeaderElection(name string) LeaderElectionConfig {
	return LeaderElectionConfig{LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second,
		RetryPeriod: 2 * time.Second, ResourceLock: "leases", Namespace: "kube-system", Name: name, FastPath: true}
}

// jitterPerMille spreads the tries to acquire over 1 to 2.2 retry periods (tools/leaderelection.JitterFactor = 1.2).
const jitterPerMille = 1200

// LeaderElector competes for a lock. Identity is unknown to every other process, also to one that ran here before.
type LeaderElector struct {
	Identity string

	config   LeaderElectionConfig
	process  *hardware.Process
	kernel   *sim.Kernel
	client   api.Client
	recorder *Recorder
	lock     resourceLock
	random   *sim.Stream

	observed   LeaderElectionRecord
	observedAt sim.Time
	seen       bool        // observed is a record that was read
	seenBy     sim.EventID // the write of the record that was observed
	renewed    sim.EventID // our own last successful write
	waitedFor  LeaderElectionRecord
}

// NewLeaderElector makes an elector for the process; its identity is the machine's name and a new UUID.
// Errors: durations that contradict each other, an unknown lock; texts are client-go's.
func NewLeaderElector(p *hardware.Process, client api.Client, config LeaderElectionConfig) (*LeaderElector, error) {
	if config.LeaseDuration <= config.RenewDeadline {
		return nil, errors.New("leaseDuration must be greater than renewDeadline")
	}
	if config.RenewDeadline*1000 <= config.RetryPeriod*jitterPerMille {
		return nil, errors.New("renewDeadline must be greater than retryPeriod*JitterFactor")
	}
	random := p.Scope().Rand(p.Machine().Name + "/" + p.Name + "/leader-election")
	identity := p.Machine().Name + "_" + api.NewUUID(random)
	elector := &LeaderElector{Identity: identity, config: config, process: p, kernel: p.Kernel(), client: client,
		random: random, recorder: NewRecorder(client, cmp.Or(config.Reporter, config.Name)).On("", p.Machine().Clock().Now)}
	lock, err := newResourceLock(client, config)
	elector.lock = lock
	return elector, err
}

// IsLeader reports whether the elector believes that it holds the lock.
func (le *LeaderElector) IsLeader() bool { return le.observed.HolderIdentity == le.Identity }

// Leader returns whom the elector saw holding the lock last, "" nobody.
func (le *LeaderElector) Leader() string { return le.observed.HolderIdentity }

// Run waits, however long, until it holds the lock, calls started in a process of its own, and returns when the lock
// could not be renewed for RenewDeadline.
func (le *LeaderElector) Run(p *sim.Proc, started func(p *sim.Proc)) {
	le.acquire(p)
	p.Scope().Go("leading", started)
	le.renew(p)
}

func (le *LeaderElector) acquire(p *sim.Proc) {
	for !le.tryAcquireOrRenew(p, sim.Forever) {
		p.Sleep(le.random.Jitter(le.config.RetryPeriod, jitterPerMille))
	}
	le.becameLeader()
}

func (le *LeaderElector) renew(p *sim.Proc) {
	for {
		if !le.renewOnce(p) {
			break
		}
		p.Sleep(le.config.RetryPeriod)
	}
	le.stoppedLeading()
	if le.config.ReleaseOnCancel {
		le.Release(p)
	}
}

// renewOnce tries every RetryPeriod until it worked or RenewDeadline has passed. A try that takes longer than the
// period is followed by the next at once: the ticker keeps one tick (apimachinery wait.PollUntilContextTimeout).
func (le *LeaderElector) renewOnce(p *sim.Proc) bool {
	start := p.Now()
	for tick := time.Duration(0); ; tick++ {
		if le.tryAcquireOrRenew(p, le.config.RenewDeadline-p.Now().Sub(start)) {
			return true
		}
		if passed := p.Now().Sub(start) / le.config.RetryPeriod; passed > tick {
			tick = passed - 1
			if p.Now().Sub(start) >= le.config.RenewDeadline {
				return false
			}
			continue
		}
		next := (tick + 1) * le.config.RetryPeriod
		p.Sleep(min(next, le.config.RenewDeadline) - p.Now().Sub(start))
		if next >= le.config.RenewDeadline {
			return false
		}
	}
}

// tryAcquireOrRenew takes at most within (Forever: no limit but each request's own).
func (le *LeaderElector) tryAcquireOrRenew(p *sim.Proc, within time.Duration) bool {
	start := p.Now()
	record := LeaderElectionRecord{HolderIdentity: le.Identity, LeaseDuration: le.config.LeaseDuration,
		RenewTime: le.clock(), AcquireTime: le.clock()}
	left := func() time.Duration { return le.requestTimeout(within, start, p.Now()) }

	if le.config.FastPath && le.IsLeader() && le.leaseValid(start) {
		record.AcquireTime, record.Transitions = le.observed.AcquireTime, le.observed.Transitions
		if err := le.lock.update(p, record, left()); err == nil {
			le.wrote(record)
			return true
		}
		if left() <= 0 {
			return false
		}
	}

	old, written, err := le.lock.get(p, left())
	if apierrors.IsNotFound(err) {
		if err := le.lock.create(p, record, left()); err != nil {
			return false
		}
		le.waitedFor = LeaderElectionRecord{}
		le.wrote(record)
		return true
	}
	if err != nil {
		return false
	}
	if !le.seen || old != le.observed {
		le.observe(old)
		le.seenBy = written
	}
	if old.HolderIdentity != "" && le.leaseValid(start) && !le.IsLeader() {
		return false
	}
	le.waitedFor = old
	if le.IsLeader() {
		record.AcquireTime, record.Transitions = old.AcquireTime, old.Transitions
	} else {
		record.Transitions = old.Transitions + 1
		le.explainTakeover(old)
	}
	if left() <= 0 || le.lock.update(p, record, left()) != nil {
		return false
	}
	le.wrote(record)
	return true
}

// requestTimeout is what a request may take: half the renew deadline, the time-out of the client that is made for the
// lock (kube-controller-manager and kube-scheduler app/options), and what is left of the round.
func (le *LeaderElector) requestTimeout(within time.Duration, start, now sim.Time) time.Duration {
	timeout := le.config.RenewDeadline / 2
	if within >= 0 {
		timeout = min(timeout, within-now.Sub(start))
	}
	return timeout
}

// observe remembers a record and when it was first seen by the local clock: the times in it are never compared.
func (le *LeaderElector) observe(record LeaderElectionRecord) {
	led := le.IsLeader()
	le.observed, le.observedAt, le.seen = record, le.kernel.Now(), true
	if led != le.IsLeader() {
		le.process.Changed()
	}
}

func (le *LeaderElector) wrote(record LeaderElectionRecord) {
	le.observe(record)
	le.renewed = le.lock.lastWrite()
}

func (le *LeaderElector) leaseValid(now sim.Time) bool {
	return le.observedAt.Add(le.observed.LeaseDuration) > now
}

func (le *LeaderElector) clock() time.Time {
	return le.process.Machine().Clock().Now().UTC().Truncate(time.Microsecond)
}

// Release writes an empty holder, which the next candidate takes at its next look (ReleaseOnCancel). It takes at most
// the renew deadline.
func (le *LeaderElector) Release(p *sim.Proc) bool {
	deadline := p.Now().Add(le.config.RenewDeadline)
	for p.Now() < deadline {
		old, _, err := le.lock.get(p, min(deadline.Sub(p.Now()), le.config.RenewDeadline/2))
		if err != nil {
			return false
		}
		if !le.IsLeader() {
			return true
		}
		now := le.clock()
		record := LeaderElectionRecord{Transitions: old.Transitions, LeaseDuration: time.Second, RenewTime: now,
			AcquireTime: now}
		err = le.lock.update(p, record, min(deadline.Sub(p.Now()), le.config.RenewDeadline/2))
		if err == nil {
			le.observe(record)
			return true
		}
		if !apierrors.IsConflict(err) {
			return false
		}
	}
	return false
}

func (le *LeaderElector) object() string {
	return le.lock.resource().Singular + "/" + le.config.Namespace + "/" + le.config.Name
}

// explainTakeover makes what silenced the former holder the cause of the write that takes the lock over.
func (le *LeaderElector) explainTakeover(old LeaderElectionRecord) {
	if old.HolderIdentity != "" {
		machine, _, _ := strings.Cut(old.HolderIdentity, "_")
		le.kernel.Because(le.kernel.Trace().Silence(machine, le.seenBy))
	} else {
		le.kernel.Because(le.seenBy)
	}
}

func (le *LeaderElector) becameLeader() {
	le.kernel.Because(le.renewed)
	event := sim.Event{Level: sim.Story, Related: "machine/" + le.process.Machine().Name}
	old := le.waitedFor
	switch {
	case old.HolderIdentity == "":
		event.Message = fmt.Sprintf("%s became leader: nobody held the lock", le.Identity)
		event.Since = le.seenBy
	case old.HolderIdentity == le.Identity:
		event.Message = fmt.Sprintf("%s became leader again", le.Identity)
	default:
		event.Since, event.Wait, event.Setting = le.seenBy, old.LeaseDuration, "leaseDurationSeconds"
		event.Message = fmt.Sprintf("%s became leader: no renewal by %s for %d s (leaseDurationSeconds)",
			le.Identity, old.HolderIdentity, int64(old.LeaseDuration/time.Second))
	}
	le.record("became leader", event)
}

func (le *LeaderElector) stoppedLeading() {
	since := le.renewed
	le.kernel.Because(le.kernel.Trace().Silence(le.process.Machine().Name, since))
	le.record("stopped leading", sim.Event{Level: sim.Story, Since: since, Wait: le.config.RenewDeadline,
		Setting: "renewDeadline", Related: "machine/" + le.process.Machine().Name,
		Message: fmt.Sprintf("%s stopped leading: it could not renew the lock for %d s (renewDeadline)",
			le.Identity, int64(le.config.RenewDeadline/time.Second))})
}

// record writes the LeaderElection event object and the trace event (client-go resourcelock RecordEvent).
func (le *LeaderElector) record(what string, event sim.Event) {
	event.Object = le.object()
	le.kernel.Because(le.recorder.Record(Event{Resource: le.lock.resource(), Object: le.lock.object(),
		Reason: "LeaderElection", Message: le.Identity + " " + what, Trace: event}))
}
