package hardware

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ksim/sim"
)

func TestOnlySyncedContentSurvivesPowerLoss(t *testing.T) {
	k, _, a, _ := pairOf(t)
	disk := a.Disk()
	process := a.Start("writer", func(p *Process) {
		require.NoError(t, disk.WriteFile("/var/lib/synced", []byte("1")))
		disk.Sync("/var/lib/synced", p.Scope(), func(err error) {
			require.NoError(t, err)
			require.NoError(t, disk.WriteFile("/var/lib/synced", []byte("2")))
			require.NoError(t, disk.WriteFile("/var/lib/new", []byte("3")))
		})
	})
	run(t, k, time.Second)
	text, err := disk.ReadFile("/var/lib/synced")
	require.NoError(t, err)
	require.Equal(t, "2", string(text), "what is written is seen before it is synced")
	a.PowerOff()
	require.False(t, process.Alive())
	text, err = disk.ReadFile("/var/lib/synced")
	require.NoError(t, err)
	require.Equal(t, "1", string(text))
	_, err = disk.ReadFile("/var/lib/new")
	require.ErrorIs(t, err, ErrNotExist)
}

func TestCleanShutdownLosesNothing(t *testing.T) {
	k, _, a, _ := pairOf(t)
	require.NoError(t, a.Disk().WriteFile("/x", []byte("1")))
	off := sim.Time(-1)
	a.Shutdown(func() { off = k.Now() })
	run(t, k, time.Second)
	require.False(t, a.Up())
	require.Equal(t, sim.Time(0), off)
	require.True(t, a.Disk().Exists("/x"))
}

func TestSyncsAreDoneOneAfterTheOther(t *testing.T) {
	k, _, a, _ := pairOf(t)
	var done []sim.Time
	log := a.Disk().OpenLog("/wal")
	for i := range 3 {
		require.NoError(t, log.Append(i))
		log.Sync(a.Scope(), func() { done = append(done, k.Now()) })
	}
	a.Disk().SetSlow(500 * time.Millisecond)
	log.Sync(a.Scope(), func() { done = append(done, k.Now()) })
	run(t, k, time.Second)
	ms := sim.Time(time.Millisecond)
	require.Equal(t, []sim.Time{1 * ms, 2 * ms, 3 * ms, 503 * ms}, done)
}

func TestFullDiskRefusesAndLostDiskIsEmpty(t *testing.T) {
	_, _, a, _ := pairOf(t)
	disk := a.Disk()
	require.NoError(t, disk.WriteFile("/d/x", nil))
	disk.SetFull(true)
	require.ErrorIs(t, disk.WriteFile("/d/y", nil), ErrNoSpace)
	require.ErrorIs(t, disk.OpenLog("/wal").Append(1), ErrNoSpace)
	disk.SetFull(false)
	disk.Lose()
	require.False(t, disk.Exists("/d"))
}

func TestWatchesSeeWritesAndRemovalsBelowTheirDirectory(t *testing.T) {
	k, _, a, _ := pairOf(t)
	var seen []string
	a.Disk().Watch("/etc/kubernetes/manifests", a.Scope(), func(path string) { seen = append(seen, path) })
	require.NoError(t, a.Disk().WriteFile("/etc/kubernetes/manifests/etcd.yaml", nil))
	require.NoError(t, a.Disk().WriteFile("/etc/other", nil))
	require.NoError(t, a.Disk().Rename("/etc/kubernetes/manifests/etcd.yaml", "/tmp/etcd.yaml"))
	run(t, k, time.Second)
	require.Equal(t, []string{"/etc/kubernetes/manifests/etcd.yaml", "/etc/kubernetes/manifests/etcd.yaml"}, seen)
	require.True(t, a.Disk().Exists("/tmp/etcd.yaml"))
}

// TestLogAfterACrashIsAPrefixThatHoldsAllThatWasConfirmed runs a log against a model over random appends, syncs and
// crashes.
func TestLogAfterACrashIsAPrefixThatHoldsAllThatWasConfirmed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := sim.New(rapid.Uint64().Draw(t, "seed"))
		defer k.Close()
		machine := New(k, NetworkConfig{}).AddMachine(MachineSpec{Name: "a", Fsync: time.Millisecond})
		machine.PowerOn()
		log := machine.Disk().OpenLog("/wal")
		var written []string
		confirmed := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(*rapid.T) {
				written = append(written, fmt.Sprint(len(written)))
				require.NoError(t, log.Append(written[len(written)-1]))
			},
			"sync": func(*rapid.T) {
				n := len(written)
				log.Sync(machine.Scope(), func() { confirmed = max(confirmed, n) })
			},
			"wait": func(t *rapid.T) {
				d := time.Duration(rapid.IntRange(0, 3000).Draw(t, "µs")) * time.Microsecond
				require.NoError(t, k.RunUntil(k.Now().Add(d)))
			},
			"crash": func(*rapid.T) {
				machine.PowerOff()
				machine.PowerOn()
				log = machine.Disk().OpenLog("/wal")
				require.GreaterOrEqual(t, len(log.Records()), confirmed)
				written = written[:len(log.Records())]
				confirmed = len(written)
			},
			"": func(*rapid.T) {
				require.Len(t, log.Records(), len(written))
				for i, record := range log.Records() {
					require.Equal(t, written[i], record)
				}
			},
		})
	})
}

func TestProcessesEndWithTheirExitStatus(t *testing.T) {
	k, _, a, _ := pairOf(t)
	var ends []string
	note := func(name string) func(ExitStatus) {
		return func(s ExitStatus) { ends = append(ends, fmt.Sprintf("%s %s %d %s", k.Now(), name, s.Code, s.Why)) }
	}
	outside := k.Root().Child("observer")
	plain := a.Start("plain", func(*Process) {})
	graceful := a.Start("graceful", func(p *Process) {
		p.OnTerm(func() { p.Scope().After(time.Second, "drain", func() { p.Exit(0, "drained") }) })
	})
	stuck := a.Start("stuck", func(*Process) {})
	plain.Wait(outside, note("plain"))
	graceful.Wait(outside, note("graceful"))
	stuck.Wait(outside, note("stuck"))
	run(t, k, 10*time.Millisecond)
	stuck.Signal(SIGSTOP)
	for _, p := range []*Process{plain, graceful, stuck} {
		p.Signal(SIGTERM)
	}
	run(t, k, 5*time.Second)
	require.Len(t, a.Processes(), 1, "a stopped process does not even die of SIGTERM")
	stuck.Signal(SIGCONT)
	run(t, k, 6*time.Second)
	require.Equal(t, []string{"0:00.010 plain 143 terminated", "0:01.010 graceful 0 drained",
		"0:05.000 stuck 143 terminated"}, ends)
}

func TestClocksJumpAndTheKernelDoesNot(t *testing.T) {
	k, _, a, b := pairOf(t)
	run(t, k, time.Minute)
	a.Clock().Skew(30 * time.Second)
	require.Equal(t, 30*time.Second, a.Clock().Now().Sub(b.Clock().Now()))
	require.Equal(t, WallTime(k.Now()), b.Clock().Now())
}

func TestLossMakesMessagesLateButNeitherLostNorOvertaken(t *testing.T) {
	k, d, a, b := pairOf(t)
	var got []int
	b.Start("sink", func(p *Process) {
		_, err := p.Listen(80, func(c *Conn) { c.OnMessage(func(m any) { got = append(got, m.(int)) }) })
		require.NoError(t, err)
	})
	run(t, k, 10*time.Millisecond)
	d.DropLink(a, b, 300_000)
	a.Start("source", func(p *Process) {
		p.Dial("b:80", time.Minute, func(c *Conn, err error) {
			require.NoError(t, err)
			for i := range 100 {
				c.Send(i)
			}
		})
	})
	run(t, k, 5*time.Minute)
	require.Len(t, got, 100)
	for i, v := range got {
		require.Equal(t, i, v)
	}
}

func TestRecordsThatWereNotSyncedAreGoneAfterACrash(t *testing.T) {
	k, _, a, _ := pairOf(t)
	log := a.Disk().OpenLog("/wal")
	require.NoError(t, log.Append("synced"))
	log.Sync(a.Scope(), func() {})
	run(t, k, 10*time.Millisecond)
	require.NoError(t, log.Append("under way"))
	log.Sync(a.Scope(), func() { t.Error("a crash ends the sync") })
	require.NoError(t, log.Append("never synced"))
	a.PowerOff()
	require.Equal(t, []any{"synced"}, a.Disk().OpenLog("/wal").Records())
}
