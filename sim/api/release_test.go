package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReleasesAreReadAsUsersWriteThem(t *testing.T) {
	for text, want := range map[string]string{ // any order: each is checked alone
		"v1.36": "v1.36.0", "1.36": "v1.36.0", "v1.36.2": "v1.36.2", "1.11": "v1.11.0", "v1.37.0": "v1.37.0",
	} {
		r, err := ParseRelease(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, r.Version())
	}
}

func TestUnknownReleasesAreRefusedWithWhatIsAllowed(t *testing.T) {
	for _, text := range []string{"", "v1", "1.10", "v1.38", "2.36", "v1.36.x", "latest", "v1.36.0.1", "v1.-36"} {
		_, err := ParseRelease(text)
		require.Error(t, err, text)
		assert.Contains(t, err.Error(), "known: v1.11 to v1.37")
	}
}

func TestEveryReleaseHasItsImages(t *testing.T) {
	require.Len(t, bundled, NewestMinor-OldestMinor+1)
	for minor := OldestMinor; minor <= NewestMinor; minor++ {
		r := ReleaseOf(minor)
		assert.NotEmpty(t, r.Etcd)
		assert.NotEmpty(t, r.CoreDNS)
		assert.NotEmpty(t, r.Pause)
	}
	assert.Equal(t, Bundled{"3.5.6-0", "v1.9.3", "3.9"}, ReleaseOf(26).Bundled)
	assert.Equal(t, Bundled{"3.6.8-0", "v1.14.2", "3.10.2"}, ReleaseOf(36).Bundled)
	assert.Equal(t, "3.5.6", ReleaseOf(26).EtcdVersion())
}

func TestBehaviourChangesAtItsRelease(t *testing.T) {
	assert.Equal(t, 40*time.Second, ReleaseOf(31).NodeMonitorGracePeriod)
	assert.Equal(t, 50*time.Second, ReleaseOf(32).NodeMonitorGracePeriod)
	assert.True(t, ReleaseOf(33).TaintOneTickLate)
	assert.False(t, ReleaseOf(34).TaintOneTickLate)
	assert.False(t, ReleaseOf(12).TaintBasedEvictions)
	assert.True(t, ReleaseOf(13).TaintBasedEvictions)
	assert.Equal(t, Unlimited, ReleaseOf(11).ElectionTimeouts)
	assert.Equal(t, Deadline, ReleaseOf(20).ElectionTimeouts)
	assert.Equal(t, HalfDeadline, ReleaseOf(21).ElectionTimeouts)
	assert.False(t, ReleaseOf(29).RenewFastPath)
	assert.True(t, ReleaseOf(30).RenewFastPath)
	assert.False(t, ReleaseOf(16).PodGCQuarantine)
	assert.True(t, ReleaseOf(17).PodGCQuarantine)
	assert.False(t, ReleaseOf(24).JobFinalizers)
	assert.True(t, ReleaseOf(25).JobFinalizers)
	assert.False(t, ReleaseOf(30).StatefulSetReplacesSucceeded)
	assert.True(t, ReleaseOf(31).JobEndsLast)
	assert.Equal(t, EndpointsLock, ReleaseOf(16).LeaderElectLock)
	assert.Equal(t, EndpointsLeasesLock, ReleaseOf(19).LeaderElectLock)
	assert.Equal(t, LeasesLock, ReleaseOf(20).LeaderElectLock)
	assert.Equal(t, time.Minute, ReleaseOf(23).UnschedulableFlush)
	assert.Equal(t, 5*time.Minute, ReleaseOf(24).UnschedulableFlush)
	assert.Equal(t, 2, ReleaseOf(27).KubeletSkew)
	assert.Equal(t, 3, ReleaseOf(28).KubeletSkew)
	assert.Equal(t, []string{LabelMaster, LabelControlPlane}, ReleaseOf(24).ControlPlaneTaints)
	assert.Equal(t, int64(3), ReleaseOf(23).Scores.TaintToleration)
	assert.Equal(t, "/health", ReleaseOf(24).Probes.Etcd.Liveness)
	assert.Equal(t, "/livez", ReleaseOf(31).Probes.Etcd.Liveness)
}

func TestRemovedFlagsAreUnknown(t *testing.T) {
	assert.True(t, ReleaseOf(26).HasFlag("kube-controller-manager", "pod-eviction-timeout"))
	assert.False(t, ReleaseOf(27).HasFlag("kube-controller-manager", "pod-eviction-timeout"))
	assert.False(t, ReleaseOf(19).HasFlag("kubectl drain", "delete-emptydir-data"))
	assert.True(t, ReleaseOf(20).HasFlag("kubectl drain", "delete-emptydir-data"))
	assert.True(t, ReleaseOf(36).HasFlag("kubelet", "node-status-update-frequency"))
}
