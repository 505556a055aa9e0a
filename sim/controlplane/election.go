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

// Models client-go's leader election (tools/leaderelection/leaderelection.go, v0.36, and what differs in v8 to v0.37):
// acquire, renew with the fast path, release, the health check of who leads. Leaves out: coordinated leader election
// (alpha in v1.31, off by default in every release).

// LeaderElectionConfig says what is competed for and how patiently.
type LeaderElectionConfig struct {
	api.ElectionFacts

	Enabled       bool
	LeaseDuration time.Duration // how long others wait after they saw the last renewal
	RenewDeadline time.Duration // after which a holder that cannot renew gives up
	RetryPeriod   time.Duration // between two tries
	ResourceLock  string        // leases, endpoints, configmaps, endpointsleases, configmapsleases
	Namespace     string
	Name          string
	// ReleaseOnCancel has a leader that stops leading write an empty holder.
	ReleaseOnCancel bool
	// Reporter is the component that LeaderElection events name, "" for Name.
	Reporter string
}

// DefaultLeaderElection returns component-base's defaults (config/v1alpha1/defaults.go, the same in every release):
// 15 s, 10 s, 2 s, in kube-system.
func DefaultLeaderElection(name string, release *api.Release) LeaderElectionConfig {
	return LeaderElectionConfig{ElectionFacts: release.ElectionFacts, Enabled: true, LeaseDuration: 15 * time.Second,
		RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ResourceLock: string(release.LeaderElectLock),
		Namespace: "kube-system", Name: name}
}

// CheckTimes says which durations contradict each other, in client-go's words.
func (c *LeaderElectionConfig) CheckTimes() error {
	switch {
	case !c.Enabled:
		return nil
	case c.LeaseDuration <= c.RenewDeadline:
		return errors.New("leaseDuration must be greater than renewDeadline")
	case c.RenewDeadline*1000 <= c.RetryPeriod*jitterPerMille:
		return errors.New("renewDeadline must be greater than retryPeriod*JitterFactor")
	case c.LeaseDuration < 1:
		return errors.New("leaseDuration must be greater than zero")
	case c.RenewDeadline < 1:
		return errors.New("renewDeadline must be greater than zero")
	case c.RetryPeriod < 1:
		return errors.New("retryPeriod must be greater than zero")
	}
	return nil
}

const (
	// jitterPerMille spreads the tries to acquire over 1 to 2.2 retry periods (leaderelection.JitterFactor = 1.2).
	jitterPerMille = 1200
	// expiredTolerance is how long after its lease has expired a leader is still called healthy
	// (NewLeaderHealthzAdaptor in the mains).
	expiredTolerance = 20 * time.Second
	// never is when what has never been observed was observed.
	never sim.Time = -1 << 62
)

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

	leading    bool
	observed   LeaderElectionRecord // read or written last
	observedAt sim.Time             // when it was first seen, by the local clock: the times in it are never compared
	read       lockState            // read last
	seenBy     sim.EventID          // the write of the record that was observed
	renewed    sim.EventID          // our own last successful write
	waitedFor  LeaderElectionRecord
}

// NewLeaderElector makes an elector for the process; its identity is the machine's name and a new UUID.
// Errors: durations that contradict each other, a lock that the release does not have; texts are client-go's.
func NewLeaderElector(p *hardware.Process, client api.Client, config LeaderElectionConfig) (*LeaderElector, error) {
	if err := config.CheckTimes(); err != nil {
		return nil, err
	}
	random := p.Scope().Rand(p.Machine().Name + "/" + p.Name + "/leader-election")
	identity := p.Machine().Name + "_" + api.NewUUID(random)
	elector := &LeaderElector{Identity: identity, config: config, process: p, kernel: p.Kernel(), client: client,
		random: random, recorder: NewRecorder(client, cmp.Or(config.Reporter, config.Name)).On("", p.Machine().Clock().Now),
		observedAt: never}
	lock, err := newResourceLock(client, &config, identity)
	elector.lock = lock
	return elector, err
}

// IsLeader reports whether the record that the elector saw or wrote last names it as the holder.
func (le *LeaderElector) IsLeader() bool { return le.observed.HolderIdentity == le.Identity }

// Leader returns whom the elector saw holding the lock last, "" nobody.
func (le *LeaderElector) Leader() string { return le.observed.HolderIdentity }

// Leading reports whether what the lock guards is running. It goes on for up to RenewDeadline after the lock was lost.
func (le *LeaderElector) Leading() bool { return le.leading }

// Check says that a leader has not renewed its lock for long, for its health endpoints (HealthzAdaptor.Check).
func (le *LeaderElector) Check() error {
	if le.IsLeader() && le.kernel.Now().Sub(le.observedAt) > le.config.LeaseDuration+expiredTolerance {
		return fmt.Errorf("failed election to renew leadership on lease %s", le.config.Name)
	}
	return nil
}

// Run waits, however long, until it holds the lock, calls started in a process of its own, and returns when the lock
// could not be renewed for RenewDeadline. What was started is left to the caller.
func (le *LeaderElector) Run(p *sim.Proc, started func(p *sim.Proc)) {
	le.acquire(p)
	le.lead(true)
	p.Scope().Go("leading", started)
	le.renew(p)
}

// Stop tells that Run and what the lock guards have been stopped. A leader releases its lock; then exit is called.
func (le *LeaderElector) Stop(exit func()) {
	if !le.leading {
		exit()
		return
	}
	le.lead(false)
	le.process.Go("release lock", func(p *sim.Proc) {
		le.Release(p)
		exit()
	})
}

func (le *LeaderElector) lead(leading bool) {
	if le.leading != leading {
		le.leading = leading
		le.process.Changed()
	}
}

func (le *LeaderElector) acquire(p *sim.Proc) {
	for !le.tryAcquireOrRenew(p, sim.Forever) {
		p.Sleep(le.random.Jitter(le.config.RetryPeriod, jitterPerMille))
	}
	le.becameLeader()
}

func (le *LeaderElector) renew(p *sim.Proc) {
	if le.config.ElectionTimeouts == api.Unlimited {
		for le.poll(p) {
		}
	} else {
		for le.renewOnce(p) {
			p.Sleep(le.config.RetryPeriod)
		}
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

// poll is renewOnce of client-go v8 (v1.11): it waits first, nothing ends a try but its answer, ticks that come during
// a try are lost, and there is a last try at the deadline (apimachinery wait.Poll).
func (le *LeaderElector) poll(p *sim.Proc) bool {
	start := p.Now()
	for {
		passed := p.Now().Sub(start)
		next := min((passed/le.config.RetryPeriod+1)*le.config.RetryPeriod, le.config.RenewDeadline)
		p.Sleep(next - passed)
		if le.tryAcquireOrRenew(p, sim.Forever) {
			return true
		}
		if next >= le.config.RenewDeadline {
			return false
		}
	}
}

// tryAcquireOrRenew takes at most within (Forever: no limit but each request's own).
func (le *LeaderElector) tryAcquireOrRenew(p *sim.Proc, within time.Duration) bool {
	start := p.Now()
	limit := le.limit(start, within)
	record := LeaderElectionRecord{HolderIdentity: le.Identity, LeaseDuration: le.config.LeaseDuration,
		RenewTime: le.clock(), AcquireTime: le.clock()}

	if le.config.RenewFastPath && le.IsLeader() && le.leaseValid(start) {
		record.AcquireTime, record.Transitions = le.observed.AcquireTime, le.observed.Transitions
		if le.lock.update(p, record, limit) == nil {
			le.wrote(record)
			return true
		}
	}

	old, err := le.lock.get(p, limit)
	if apierrors.IsNotFound(err) {
		if le.lock.create(p, record, limit) != nil {
			return false
		}
		le.waitedFor = LeaderElectionRecord{}
		le.wrote(record)
		return true
	}
	if err != nil {
		return false
	}
	if !old.same(&le.read) {
		le.observe(old.record)
		le.read, le.seenBy = old, old.written
	}
	held := old.record.HolderIdentity != "" || !le.config.FreeLocks
	if held && le.leaseValid(start) && !le.IsLeader() {
		return false
	}
	le.waitedFor = old.record
	if le.IsLeader() {
		record.AcquireTime, record.Transitions = old.record.AcquireTime, old.record.Transitions
	} else {
		record.Transitions = old.record.Transitions + 1
		le.explainTakeover(old.record)
	}
	if le.lock.update(p, record, limit) != nil {
		return false
	}
	le.wrote(record)
	return true
}

// limit is until when requests may take that are sent in a round which began at start: the time-out of the client that
// is made for the lock, and what is left of the round.
func (le *LeaderElector) limit(start sim.Time, within time.Duration) requestLimit {
	l := requestLimit{each: sim.Forever, end: never}
	switch le.config.ElectionTimeouts {
	case api.Deadline:
		l.each = le.config.RenewDeadline
	case api.HalfDeadline:
		l.each = max(le.config.RenewDeadline/2, time.Second)
	}
	if within >= 0 {
		l.end = start.Add(within)
	}
	return l
}

// observe remembers a record and when it was first seen.
func (le *LeaderElector) observe(record LeaderElectionRecord) {
	le.observed, le.observedAt = record, le.kernel.Now()
}

func (le *LeaderElector) wrote(record LeaderElectionRecord) {
	le.observe(record)
	le.renewed = le.lock.lastWrite()
}

func (le *LeaderElector) leaseValid(now sim.Time) bool {
	duration := le.config.LeaseDuration
	if le.config.LockTellsDuration {
		duration = le.observed.LeaseDuration
	}
	return le.observedAt.Add(duration) > now
}

func (le *LeaderElector) clock() time.Time {
	return le.process.Machine().Clock().Now().UTC().Truncate(time.Microsecond)
}

// Release writes an empty holder, which the next candidate takes at its next look (ReleaseOnCancel). It takes at most
// the renew deadline.
func (le *LeaderElector) Release(p *sim.Proc) bool {
	limit := le.limit(p.Now(), le.config.RenewDeadline)
	for {
		transitions := le.observed.Transitions
		if le.config.ReleaseReadsLock {
			old, err := le.lock.get(p, limit)
			if err != nil {
				return false
			}
			transitions = old.record.Transitions
		}
		if !le.IsLeader() {
			return true
		}
		now := le.clock()
		record := LeaderElectionRecord{Transitions: transitions, LeaseDuration: time.Second, RenewTime: now, AcquireTime: now}
		err := le.lock.update(p, record, limit)
		if err == nil {
			le.observe(record)
			return true
		}
		if !le.config.ReleaseTriesAgain || !apierrors.IsConflict(err) {
			return false
		}
	}
}

func (le *LeaderElector) object() string {
	return le.lock.objects()[0].of.Singular + "/" + le.config.Namespace + "/" + le.config.Name
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
	case old.HolderIdentity == "" && old.AcquireTime.IsZero():
		event.Message = fmt.Sprintf("%s became leader: nobody held the lock", le.Identity)
		event.Since = le.seenBy
	case old.HolderIdentity == "":
		event.Message = fmt.Sprintf("%s became leader: the lock had been released", le.Identity)
		event.Since = le.seenBy
	case old.HolderIdentity == le.Identity:
		event.Message = fmt.Sprintf("%s became leader again", le.Identity)
	default:
		holder := old.HolderIdentity
		if strings.HasPrefix(holder, le.process.Machine().Name+"_") {
			holder = "its predecessor there"
		}
		event.Since, event.Wait, event.Setting = le.seenBy, old.LeaseDuration, "leaseDurationSeconds"
		event.Message = fmt.Sprintf("%s became leader: no renewal by %s for %d s (leaseDurationSeconds)",
			le.Identity, holder, int64(old.LeaseDuration/time.Second))
	}
	le.record("became leader", event)
}

func (le *LeaderElector) stoppedLeading() {
	since := le.renewed
	le.kernel.Because(le.kernel.Trace().Silence(le.process.Machine().Name, since))
	seconds := int64(le.config.RenewDeadline / time.Second)
	why := fmt.Sprintf("it could not renew the lock for %d s (renewDeadline)", seconds)
	if other := le.Leader(); other != "" && !le.IsLeader() {
		why = fmt.Sprintf("%s had taken the lock, and it tried for %d s to renew it (renewDeadline)", other, seconds)
	}
	le.record("stopped leading", sim.Event{Level: sim.Story, Since: since, Wait: le.config.RenewDeadline,
		Setting: "renewDeadline", Related: "machine/" + le.process.Machine().Name,
		Message: le.Identity + " stopped leading: " + why})
}

// record writes the LeaderElection event objects, one for each object of the lock, and the trace event (client-go
// resourcelock RecordEvent).
func (le *LeaderElector) record(what string, event sim.Event) {
	event.Object = le.object()
	for i, lock := range le.lock.objects() {
		e := Event{Resource: lock.of, Object: lock.object(), Reason: "LeaderElection", Message: le.Identity + " " + what}
		if i == 0 {
			e.Trace = event
			le.kernel.Because(le.recorder.Record(e))
		} else {
			le.recorder.Write(e, le.kernel.Cause())
		}
	}
}
