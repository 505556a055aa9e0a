package controlplane

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// as sets what candidates that join from now on are: of a release, with its default lock.
func (c *contest) as(minor int) {
	name, release := c.config.Name, c.release
	c.config = DefaultLeaderElection(name, api.ReleaseOf(minor))
	c.release = release
}

// lockObjects returns who holds the lock according to the annotation of Endpoints, and to the Lease; "-": none there.
func (c *contest) lockObjects() (endpoints, lease string) {
	endpoints, lease = "-", "-"
	if e, ok := c.server.Get(api.Endpoints, "kube-system", "kube-controller-manager").(*corev1.Endpoints); ok {
		endpoints = (LockHolder(e) + "    ")[:4]
	}
	if l, ok := c.server.Get(api.Leases, "kube-system", "kube-controller-manager").(*coordinationv1.Lease); ok {
		lease = (LockHolder(l) + "    ")[:4]
	}
	return endpoints, lease
}

// leaders returns the candidates whose work runs.
func (c *contest) leaders() (names []string) {
	for _, m := range c.dc.Machines() {
		for _, p := range m.Processes() {
			if elector, ok := p.View().(*LeaderElector); ok && elector.Leading() {
				names = append(names, m.Name)
			}
		}
	}
	return names
}

func TestLockObjectsOfReleases(t *testing.T) {
	for _, tc := range []struct {
		minor            int
		endpoints, lease string
		events           []string
	}{
		{11, "cp-1", "-", []string{"Endpoints"}},
		{16, "cp-1", "-", []string{"Endpoints"}},
		{17, "cp-1", "cp-1", []string{"Endpoints", "Lease"}},
		{19, "cp-1", "cp-1", []string{"Endpoints", "Lease"}},
		{20, "-", "cp-1", []string{"Lease"}},
		{36, "-", "cp-1", []string{"Lease"}},
	} {
		c := newContest(t, 1)
		c.as(tc.minor)
		c.join("cp-1")
		c.at(5 * time.Second)
		endpoints, lease := c.lockObjects()
		assert.Equal(t, tc.endpoints, endpoints, "v1.%d", tc.minor)
		assert.Equal(t, tc.lease, lease, "v1.%d", tc.minor)
		var kinds []string
		for _, object := range c.server.List(api.Events) {
			e := object.(*corev1.Event)
			assert.Regexp(t, "^cp-1_[0-9a-f-]{36} became leader$", e.Message)
			assert.Equal(t, "kube-controller-manager", e.Source.Component)
			kinds = append(kinds, e.InvolvedObject.Kind)
		}
		assert.ElementsMatch(t, tc.events, kinds, "v1.%d", tc.minor)
	}
}

// In an upgrade candidates of two releases share a lock: endpoints and endpointsleases meet in Endpoints,
// endpointsleases and leases in the Lease. A candidate with both objects honours whoever renews either.
func TestCandidatesOfNeighbouringReleasesNeverLeadTogether(t *testing.T) {
	for _, tc := range []struct{ first, second int }{{16, 17}, {17, 16}, {19, 20}, {20, 19}} {
		c := newContest(t, 3)
		c.as(tc.first)
		first := c.join("cp-1")
		c.at(2 * time.Second)
		c.as(tc.second)
		c.join("cp-2")
		for second := time.Duration(3); second < 90; second++ {
			c.at(second * time.Second)
			assert.Equal(t, []string{"cp-1"}, c.leaders(), "v1.%d, v1.%d", tc.first, tc.second)
		}
		first.Signal(hardware.SIGKILL)
		c.at(120 * time.Second)
		assert.Equal(t, []string{"cp-2"}, c.leaders())
		c.as(tc.first)
		c.join("cp-1")
		c.at(180 * time.Second)
		assert.Equal(t, []string{"cp-2"}, c.leaders())
	}
}

// A release with leases alone never looks at the Endpoints that one with endpoints alone writes: two lead.
func TestLeapFromEndpointsToLeasesHasTwoLeaders(t *testing.T) {
	c := newContest(t, 4)
	c.as(16)
	c.join("cp-1")
	c.as(20)
	c.join("cp-2")
	c.at(time.Minute)
	assert.Equal(t, []string{"cp-1", "cp-2"}, c.leaders())
}

func TestLocksThatAReleaseRefuses(t *testing.T) {
	for _, tc := range []struct {
		minor      int
		lock, want string
	}{
		{11, "leases", "Invalid lock-type leases"},
		{16, "endpointsleases", "Invalid lock-type endpointsleases"},
		{16, "leases", ""},
		{17, "configmapsleases", ""},
		{23, "configmaps", ""},
		{24, "endpoints", "endpoints lock is removed, migrate to endpointsleases"},
		{26, "endpointsleases", ""},
		{27, "endpointsleases", `resourceLock value must be "leases"`},
		{36, "lease", `resourceLock value must be "leases"`},
	} {
		config := DefaultLeaderElection("kube-scheduler", api.ReleaseOf(tc.minor))
		require.NoError(t, config.CheckLock())
		config.ResourceLock = tc.lock
		if tc.want == "" {
			assert.NoError(t, config.CheckLock())
		} else {
			assert.EqualError(t, config.CheckLock(), tc.want, "v1.%d", tc.minor)
		}
		config.Enabled = false
		assert.NoError(t, config.CheckLock())
	}
}

// A record that says how long it is good for counts from v1.27 on; before, a candidate's own flag does.
func TestWhoseLeaseDurationCounts(t *testing.T) {
	for _, tc := range []struct {
		minor     int
		low, high time.Duration
	}{{26, 5 * time.Second, 14 * time.Second}, {27, 60 * time.Second, 69 * time.Second}} {
		c := newContest(t, 5)
		c.as(tc.minor)
		c.config.LeaseDuration = time.Minute
		first := c.join("cp-1")
		c.at(5 * time.Second)
		c.as(tc.minor)
		c.config.LeaseDuration, c.config.RenewDeadline = 5*time.Second, 4*time.Second
		c.config.RetryPeriod = 2 * time.Second
		c.join("cp-2")
		c.at(30 * time.Second)
		first.Signal(hardware.SIGKILL)
		took := c.runUntil(func() bool { return c.holder() == "cp-2" }) - 30*time.Second
		assert.True(t, took >= tc.low-2*time.Second && took <= tc.high, "v1.%d: %s", tc.minor, took)
	}
}

// Up to v1.13 an empty holder means nothing: the whole lease is waited for.
func TestAnEmptyHolderIsFreeFromV114On(t *testing.T) {
	for minor, free := range map[int]bool{13: false, 14: true} { // any order: two runs
		c := newContest(t, 6)
		c.as(minor)
		first := c.join("cp-1")
		c.at(5 * time.Second)
		first.Signal(hardware.SIGKILL)
		lock := c.server.Get(api.Endpoints, "kube-system", "kube-controller-manager")
		endpoints := lock.DeepCopyObject().(*corev1.Endpoints)
		writeAnnotation(endpoints, LeaderElectionRecord{})
		c.server.Put(endpoints)
		c.at(30 * time.Second)
		c.join("cp-2")
		took := c.runUntil(func() bool { return len(c.leaders()) > 0 }) - 30*time.Second
		assert.Equal(t, free, took < time.Second, "v1.%d: %s", minor, took)
	}
}

// A write that was under way when SIGTERM came makes the version stale that is released: v1.33 fails, v1.34 reads
// first, v1.37 also tries again.
func TestReleaseAfterAWriteUnderWay(t *testing.T) {
	for _, tc := range []struct {
		minor    int
		stale    bool // before the release; else: between its read and its write
		released bool
	}{{33, true, false}, {34, true, true}, {36, false, false}, {37, false, true}} {
		c := newContest(t, 7)
		c.as(tc.minor)
		c.release = true
		p := c.join("cp-1")
		c.at(5500 * time.Millisecond)
		touch := func() {
			lease := c.server.Get(api.Leases, "kube-system", "kube-controller-manager").DeepCopyObject().(api.Object)
			lease.SetLabels(map[string]string{"touched": "yes"})
			c.server.Put(lease)
		}
		if tc.stale {
			touch()
		} else {
			touched := false
			c.server.Fail = func(r *api.Request) error {
				if r.Verb == api.Update && !touched {
					touched = true
					touch()
				}
				return nil
			}
		}
		p.Signal(hardware.SIGTERM)
		c.at(6 * time.Second)
		require.False(t, p.Alive())
		assert.Equal(t, tc.released, c.holder() == "", "v1.%d", tc.minor)
	}
}

// One request that hangs ends a leader's term at its deadline, however it may be limited; only v1.11 waits for the
// answer.
func TestALeaderThatHangsLeavesAtItsDeadline(t *testing.T) {
	for minor, limit := range map[int]time.Duration{11: time.Minute, 12: 12100 * time.Millisecond,
		21: 12100 * time.Millisecond, 36: 12100 * time.Millisecond} { // any order: independent runs
		c := newContest(t, 8)
		c.as(minor)
		p := c.join("cp-1")
		c.at(20 * time.Second)
		c.server.Hang = func(*api.Request) bool { return true }
		ended := c.kernel.Now()
		c.at(ended.Duration() + 9900*time.Millisecond)
		assert.True(t, p.Alive())
		c.at(ended.Duration() + limit)
		assert.Equal(t, minor == 11, p.Alive(), "v1.%d", minor)
	}
}

// The 10 s begin with the first renewal that fails, up to 2 s after the last that did not; in v1.11 with that one.
func TestALeaderThatIsRefusedLeavesAfterTenSeconds(t *testing.T) {
	for minor, early := range map[int]time.Duration{11: 2 * time.Second, 12: 0, 36: 0} { // any order: independent runs
		c := newContest(t, 9)
		c.as(minor)
		p := c.join("cp-1")
		c.at(20 * time.Second)
		tries := 0
		c.server.Fail = func(*api.Request) error { tries++; return errors.New("refused") }
		var left sim.Time
		p.Wait(c.kernel.Root(), func(hardware.ExitStatus) { left = c.kernel.Now() })
		c.at(time.Minute)
		took := left.Duration() - 20*time.Second
		assert.True(t, took >= 9999*time.Millisecond-early && took <= 12100*time.Millisecond-early, "v1.%d: %s", minor, took)
		assert.GreaterOrEqual(t, tries, 5)
	}
}
