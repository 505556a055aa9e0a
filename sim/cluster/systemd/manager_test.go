package systemd

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/hardware"
)

// newMachine boots a machine whose service "job" runs a program that notes its starts and dies after life (0: never).
func newMachine(t *testing.T, unitText string, life time.Duration) (*sim.Kernel, *Manager, *[]string) {
	k := sim.New(1)
	t.Cleanup(k.Close)
	m := hardware.New(k, hardware.NetworkConfig{}).AddMachine(hardware.MachineSpec{Name: "a"})
	var starts []string
	s := Install(m, map[string]Program{"job": func(p *hardware.Process, argv []string) {
		starts = append(starts, fmt.Sprint(k.Now(), argv))
		if life > 0 {
			p.Scope().After(life, "die", func() { p.Exit(1, "failed") })
		}
	}})
	require.NoError(t, m.Disk().WriteFileSync(UnitDir+"/job.service", []byte(unitText)))
	require.NoError(t, s.Enable("job"))
	m.PowerOn()
	return k, s, &starts
}

func until(t *testing.T, k *sim.Kernel, at time.Duration) {
	require.NoError(t, k.RunUntil(sim.Time(at)))
}

const always = "[Service]\nExecStart=/usr/bin/job \\\n  --a=1 --b\nRestart=always\nRestartSec=10\nStartLimitInterval=0\n"

func TestServiceStartsAtBootAndIsRestarted(t *testing.T) {
	k, s, starts := newMachine(t, always, 5*time.Second)
	until(t, k, 22*time.Second)
	require.Equal(t, []string{"0:00.001 [--a=1 --b]", "0:15.002 [--a=1 --b]"}, *starts)
	status, err := s.Status("job")
	require.NoError(t, err)
	require.Equal(t, Activating, status.State)
	require.Equal(t, 1, status.Exit.Code)
	last := k.Trace().Event(sim.EventID(k.Trace().Len()))
	require.Equal(t, "ServiceExited", last.Reason)
	require.Equal(t, "job.service on a: main process exited with status 1: failed", last.Message)
}

func TestStoppedServiceStaysStoppedUntilTheNextBoot(t *testing.T) {
	k, s, starts := newMachine(t, always, 0)
	until(t, k, time.Second)
	stopped := false
	require.NoError(t, s.Stop("job", func() { stopped = true }))
	until(t, k, time.Minute)
	require.True(t, stopped)
	require.Len(t, *starts, 1)
	s.Machine().PowerOff()
	s.Machine().PowerOn()
	until(t, k, 2*time.Minute)
	require.Len(t, *starts, 2)
}

func TestChangedUnitFileCountsAfterDaemonReload(t *testing.T) {
	k, s, starts := newMachine(t, always, 0)
	until(t, k, time.Second)
	require.NoError(t, s.Machine().Disk().WriteFile(UnitDir+"/job.service",
		[]byte("[Service]\nExecStart=/usr/bin/job --new\n")))
	require.NoError(t, s.Restart("job", nil))
	until(t, k, 2*time.Second)
	s.DaemonReload()
	require.NoError(t, s.Restart("job", nil))
	until(t, k, 3*time.Second)
	require.Equal(t, []string{"0:00.001 [--a=1 --b]", "0:01.001 [--a=1 --b]", "0:02.001 [--new]"}, *starts)
}

func TestServiceThatKeepsFailingHitsTheStartLimit(t *testing.T) {
	k, s, starts := newMachine(t, "[Service]\nExecStart=/usr/bin/job\nRestart=always\n", time.Millisecond)
	until(t, k, time.Minute)
	require.Len(t, *starts, 5)
	status, err := s.Status("job")
	require.NoError(t, err)
	require.Equal(t, Failed, status.State)
}

func TestOnFailureDoesNotRestartWhatEndedWell(t *testing.T) {
	k, s, starts := newMachine(t, "[Service]\nExecStart=/usr/bin/job\nRestart=on-failure\n", 0)
	until(t, k, time.Second)
	s.Machine().Processes()[0].Signal(hardware.SIGTERM)
	until(t, k, time.Minute)
	require.Len(t, *starts, 1)
}

func TestUnknownServiceIsNotFound(t *testing.T) {
	_, s, _ := newMachine(t, always, 0)
	require.EqualError(t, s.Start("nothing"), "Unit nothing.service not found.")
}

func TestShutdownTerminatesWhatRunsAndWaitsForItAtMost90Seconds(t *testing.T) {
	k, s, _ := newMachine(t, always, 0)
	until(t, k, time.Second)
	off := sim.Time(0)
	s.Machine().Processes()[0].OnTerm(func() {}) // deaf
	s.Machine().Shutdown(func() { off = k.Now() })
	until(t, k, 10*time.Minute)
	require.Equal(t, sim.Time(91*time.Second), off)
	require.False(t, s.Machine().Up())
}

func TestInhibitorLockDelaysAShutdownAtMostThatLong(t *testing.T) {
	for name, prepare := range map[string]func(done func()){"done": func(done func()) { done() },
		"deaf": func(func()) {}} {
		k, s, _ := newMachine(t, always, 0)
		until(t, k, time.Second)
		s.DelayShutdown(s.Machine().Processes()[0], 30*time.Second, prepare)
		off := sim.Time(0)
		s.Machine().Shutdown(func() { off = k.Now() })
		until(t, k, time.Minute)
		require.Equal(t, map[string]sim.Time{"done": sim.Time(time.Second), "deaf": sim.Time(31 * time.Second)}[name], off)
	}
}
