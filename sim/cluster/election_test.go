package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// oneMachine is a control plane on a machine of its own.
func oneMachine(release string, install spec.Install) *spec.Cluster {
	s := specOf(spec.Single, install, 0)
	s.Kubernetes, s.Zones = release, nil
	return s
}

// exits returns what the first processes of a component to end since the fault ended with.
func (r *rig) exits(component string) (all []string) {
	for _, m := range r.marks {
		var code int
		if m.who == component+" cp-1" {
			if n, _ := fmt.Sscanf(m.what, "exit %d", &code); n == 1 {
				all = append(all, m.what[len("exit "):])
			}
		}
	}
	return all
}

// What the managers end with that cannot renew their lock: klog.Fatalf's 255 in older releases.
func TestManagersThatLoseTheirLockExit(t *testing.T) {
	const older, newer = "255 leaderelection lost", "1 leaderelection lost"
	for _, tc := range []struct{ release, manager, scheduler string }{
		{"v1.12", older, "1 lost lease"}, {"v1.15", older, "1 lost lease"}, {"v1.16", older, older},
		{"v1.21", older, older}, {"v1.22", older, newer}, {"v1.23", older, "1 Leaderelection lost"},
		{"v1.24", newer, "1 Leaderelection lost"}, {"v1.35", newer, "1 Leaderelection lost"},
		{"v1.36", "1 leaderelection lost/stopped", "1 Leaderelection lost"},
	} {
		t.Run(tc.release, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, oneMachine(tc.release, spec.Systemd))
			r.fault()
			require.NoError(t, r.faults.Pause("kube-apiserver", "cp-1", time.Minute))
			r.wait(25 * time.Second)
			assert.Equal(t, []string{tc.manager}, r.exits("kube-controller-manager"))
			assert.Equal(t, []string{tc.scheduler}, r.exits("kube-scheduler"))
			for _, component := range electedComponents {
				at := r.after(component+" cp-1", "exit", 0)
				assert.True(t, at >= 10 && at <= 17.1, "%s: %.1f", component, at)
			}
			assert.Empty(t, r.world.Leaders("kube-scheduler"))
		})
	}
}

// SIGTERM ends a controller manager as it ends any program that does not handle it, and with it a scheduler before
// v1.22: 143 for a shell, 2 for the first process of a container.
func TestManagersThatAreStoppedExit(t *testing.T) {
	for _, tc := range []struct {
		release   string
		install   spec.Install
		manager   string
		scheduler string
	}{
		{"v1.21", spec.Systemd, "143 terminated", "143 terminated"},
		{"v1.22", spec.Systemd, "143 terminated", "0 Requested to terminate, exiting"},
		{"v1.36", spec.Systemd, "143 terminated", "0 Requested to terminate, exiting"},
		{"v1.21", spec.Kubeadm, "2 terminated", "2 terminated"},
		{"v1.36", spec.Kubeadm, "2 terminated", "0 Requested to terminate, exiting"},
	} {
		t.Run(fmt.Sprint(tc.release, " ", tc.install), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1, oneMachine(tc.release, tc.install))
			r.fault()
			for _, component := range electedComponents {
				if tc.install == spec.Systemd {
					require.NoError(t, r.Systemd("cp-1").Stop(component, func() {}))
				} else {
					r.byName["cp-1"].machine.Disk().Remove(manifestDir + "/" + component + ".yaml")
				}
			}
			r.wait(time.Minute)
			assert.Equal(t, []string{tc.manager}, r.exits("kube-controller-manager"))
			assert.Equal(t, []string{tc.scheduler}, r.exits("kube-scheduler"))
			assert.NotEmpty(t, r.world.Holder("kube-controller-manager"), "it never releases")
			assert.Equal(t, tc.release == "v1.21", r.world.Holder("kube-scheduler") != "", "it releases from v1.22 on")
		})
	}
}

// With a feature gate of v1.36 the controller manager hands over as the scheduler does, and ends with nothing but 0.
func TestAControllerManagerReleasesItsLockIfItsGateSaysSo(t *testing.T) {
	s := oneMachine("v1.36", spec.Systemd)
	s.Flags = map[string][]spec.Flag{"kube-controller-manager": {
		{Name: "feature-gates", Value: "ControllerManagerReleaseLeaderElectionLockOnExit=true"}}}
	r := newRig(t, 1, s)
	r.fault()
	require.NoError(t, r.Systemd("cp-1").Stop("kube-controller-manager", func() {}))
	r.wait(time.Second)
	assert.Empty(t, r.world.Holder("kube-controller-manager"))
	require.NoError(t, r.Systemd("cp-1").Start("kube-controller-manager"))
	r.wait(5 * time.Second)
	assert.Equal(t, "cp-1", r.world.Holder("kube-controller-manager"), "an empty lock is taken at once")
	require.NoError(t, r.faults.Pause("kube-apiserver", "cp-1", time.Minute))
	r.wait(25 * time.Second)
	assert.Equal(t, []string{"0 leaderelection lost/stopped", "0 leaderelection lost/stopped"},
		r.exits("kube-controller-manager"))
}

// Flags that contradict each other, met only when somebody edits what a component is started with.
func TestManagersWithContradictingFlagsExit(t *testing.T) {
	for _, tc := range []struct{ release, flag, manager, scheduler string }{
		{"v1.36", "--leader-elect-lease-duration=5s", "2 panic: leaseDuration must be greater than renewDeadline",
			"1 leaderElection.leaseDuration: Invalid value: \"10s\": must be greater than `RenewDeadline`"},
		{"v1.36", "--leader-elect-retry-period=9s", "2 panic: renewDeadline must be greater than retryPeriod*JitterFactor",
			"1 couldn't create leader elector: renewDeadline must be greater than retryPeriod*JitterFactor"},
		{"v1.36", "--leader-elect-resource-lock=endpoints", `1 resourceLock value must be "leases"`,
			`1 leaderElection.resourceLock: Invalid value: "endpoints": resourceLock value must be "leases"`},
		{"v1.24", "--leader-elect-resource-lock=endpoints",
			"255 error creating lock: endpoints lock is removed, migrate to endpointsleases",
			"1 couldn't create resource lock: endpoints lock is removed, migrate to endpointsleases"},
	} {
		s := oneMachine(tc.release, spec.Systemd)
		r := newRig(t, 1, s)
		r.fault()
		for component, want := range map[string]string{"kube-controller-manager": tc.manager,
			"kube-scheduler": tc.scheduler} { // any order: independent
			program := r.servicePrograms(r.byName["cp-1"])[component]
			require.NoError(t, r.Systemd("cp-1").Stop(component, func() {}))
			r.wait(time.Second)
			argv := []string{"--kubeconfig=/etc/kubernetes/" + component[len("kube-"):] + ".conf", tc.flag}
			status := ""
			p := r.byName["cp-1"].machine.Start(component, func(p *hardware.Process) { program(p, argv) })
			p.Wait(r.kernel.Root(), func(s hardware.ExitStatus) { status = fmt.Sprint(s.Code, " ", s.Why) })
			r.wait(5 * time.Second)
			assert.Equal(t, want, status)
		}
	}
}
