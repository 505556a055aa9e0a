package cluster

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim/cluster/spec"
)

// reaches reports, for a and b, whether a's packets reach b and b's reach a.
func reaches(c *Cluster, a, b string) [2]bool {
	left, right := c.Machine(a), c.Machine(b)
	return [2]bool{c.dc.Reaches(left, right), c.dc.Reaches(right, left)}
}

func TestPartitionsCutBothWaysUnlessOneWay(t *testing.T) {
	c := start(t, 1, specOf(spec.Stacked, spec.Kubeadm, 1))
	groups := [2][]string{{"cp-1"}, {"cp-2", "worker-1"}}
	require.NoError(t, c.faults.Partition(groups[0], groups[1], false, false))
	require.Equal(t, [2]bool{false, false}, reaches(c, "cp-1", "worker-1"))
	require.Equal(t, [2]bool{true, true}, reaches(c, "cp-2", "worker-1"))
	require.NoError(t, c.faults.Heal([]string{"cp-1"}))
	require.Equal(t, [2]bool{true, true}, reaches(c, "cp-1", "worker-1"))

	require.NoError(t, c.faults.Partition(groups[0], groups[1], true, false))
	require.Equal(t, [2]bool{false, true}, reaches(c, "cp-1", "cp-2"))
	require.NoError(t, c.faults.Isolate("worker-1"))
	require.NoError(t, c.faults.Heal(nil))
	require.Equal(t, [2]bool{true, true}, reaches(c, "worker-1", "cp-1"))
}

func TestHealEndsFaultsOfDisksAndClocks(t *testing.T) {
	c := start(t, 1, specOf(spec.Single, spec.Systemd, 1))
	m := c.Machine("cp-1")
	was := m.Disk().Fsync()
	require.NoError(t, c.faults.SlowDisk("cp-1", time.Second))
	require.NoError(t, c.faults.FullDisk("cp-1"))
	require.NoError(t, c.faults.SkewClock("cp-1", time.Hour))
	require.Equal(t, time.Second, m.Disk().Fsync())
	require.True(t, m.Disk().Full())
	require.Equal(t, time.Hour, m.Clock().SkewNow())
	require.NoError(t, c.faults.Heal([]string{"cp-1"}))
	require.Equal(t, was, m.Disk().Fsync())
	require.False(t, m.Disk().Full())
	require.Zero(t, m.Clock().SkewNow())
}

func TestFaultsWithoutATargetSayWhy(t *testing.T) {
	c := start(t, 1, specOf(spec.Single, spec.Systemd, 1))
	require.EqualError(t, c.faults.Kill("kubelet", "cp-1"), "no process kubelet on cp-1")
	require.EqualError(t, c.faults.Isolate("cp-9"), `no machine "cp-9"`)
	require.EqualError(t, c.faults.KillPod("default", "web"), "no container of pod default/web runs on any machine")
	require.NoError(t, c.faults.Crash("worker-1"))
	require.EqualError(t, c.faults.Pause("", "worker-1", time.Minute), "worker-1 is off")
}

// With shutdownGracePeriod a reboot ends the pods first: Failed, with the kubelet's reason. Without it, the default,
// they come back with the machine.
func TestRebootEndsPodsFirstWhereTheKubeletIsToldTo(t *testing.T) {
	for _, grace := range []string{"", "shutdownGracePeriod: 30s\nshutdownGracePeriodCriticalPods: 10s\n"} {
		c := start(t, 1, specOf(spec.Single, spec.Kubeadm, 1))
		disk := c.Machine("worker-1").Disk()
		text, err := disk.ReadFile(kubeletConfig)
		require.NoError(t, err)
		require.NoError(t, disk.WriteFile(kubeletConfig, append(append([]byte(nil), text...), grace...)))
		require.NoError(t, c.Systemd("worker-1").Restart("kubelet", nil))
		create(t, c, deployment("web", 1))
		runFor(t, c, 20*time.Second)
		name := pods(c)[0].Name
		require.NoError(t, c.faults.Reboot("worker-1", time.Minute))
		runFor(t, c, 3*time.Minute)
		failed := false
		for _, pod := range pods(c) {
			failed = failed || pod.Name == name && pod.Status.Reason == "Terminated"
		}
		require.Equal(t, grace != "", failed, "grace %q", grace)
	}
}
