package sim

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newKernel(t testing.TB) *Kernel {
	k := New(1)
	t.Cleanup(k.Close)
	return k
}

func runAll(t testing.TB, k *Kernel) {
	for {
		more, err := k.Step()
		require.NoError(t, err)
		if !more {
			return
		}
	}
}

func TestEventsOfOneInstantRunInTheOrderOfScheduling(t *testing.T) {
	k := newKernel(t)
	var got []string
	for _, name := range []string{"first", "second", "third"} {
		k.Root().After(time.Second, name, func() { got = append(got, name) })
	}
	k.Root().After(0, "now", func() { got = append(got, "now") })
	runAll(t, k)
	require.Equal(t, []string{"now", "first", "second", "third"}, got)
	require.Equal(t, Time(time.Second), k.Now())
}

func TestStoppedTimerDoesNotRunAndItsHandleGoesStale(t *testing.T) {
	k := newKernel(t)
	ran := 0
	timer := k.Root().After(time.Second, "x", func() { ran++ })
	require.True(t, timer.Stop())
	require.False(t, timer.Stop())
	k.Root().After(time.Second, "reuses the event", func() { ran += 10 })
	require.False(t, timer.Stop(), "a stale handle must not stop another's event")
	runAll(t, k)
	require.Equal(t, 10, ran)
}

func TestProcessWaitsInVirtualTime(t *testing.T) {
	k := newKernel(t)
	var got []string
	note := func(text string) { got = append(got, fmt.Sprintf("%s %s", k.Now(), text)) }
	answer := NewFuture[string]()
	k.Root().Go("asks", func(p *Proc) {
		p.Sleep(time.Second)
		value, err := answer.Await(p, time.Minute)
		note(fmt.Sprint(value, err))
		_, err = NewFuture[int]().Await(p, 5*time.Second)
		note(err.Error())
		require.ErrorIs(t, err, ErrTimeout)
	})
	k.Root().Go("answers", func(p *Proc) {
		p.Sleep(3 * time.Second)
		answer.Resolve("yes", nil)
	})
	runAll(t, k)
	require.Equal(t, []string{"0:03.000 yes<nil>", "0:08.000 context deadline exceeded"}, got)
	require.Zero(t, k.queue.length, "the timer of a wait that ended is taken out of the queue")
}

func TestKillEndsTimersProcessesAndChildren(t *testing.T) {
	k := newKernel(t)
	machine := k.Root().Child("worker-1")
	component := machine.Child("kubelet")
	var got []string
	component.OnKill(func() { got = append(got, "reset connections") })
	component.After(time.Second, "late", func() { got = append(got, "must not run") })
	component.Go("loop", func(p *Proc) {
		defer func() {
			// Defers run when a process is unwound, but a dead scope takes nothing.
			component.After(0, "from a defer", func() { got = append(got, "must not run") })
			require.Zero(t, component.Emit(Event{Reason: "FromTheDead"}))
			got = append(got, "unwound")
		}()
		p.Sleep(time.Hour)
		got = append(got, "must not run")
	})
	k.Root().After(500*time.Millisecond, "power off", func() {
		machine.Kill("power lost")
		got = append(got, "killed")
	})
	runAll(t, k)
	require.Equal(t, []string{"reset connections", "killed", "unwound"}, got)
	require.False(t, component.Alive())
	require.Equal(t, "power lost", machine.KilledBy())
	require.Zero(t, k.trace.Len())
}

// stop() called from inside its own body would silently abandon the coroutine; a process that kills its own scope
// must be unwound at its next wait instead, and its coroutine be usable again.
func TestProcessThatKillsItsOwnScopeIsUnwoundAtItsNextWait(t *testing.T) {
	k := newKernel(t)
	own := k.Root().Child("self")
	var got []string
	own.Go("suicide", func(p *Proc) {
		defer func() { got = append(got, "unwound") }()
		own.Kill("by itself")
		got = append(got, "still running")
		p.Sleep(0)
		got = append(got, "must not run")
	})
	runAll(t, k)
	k.Root().Go("next", func(*Proc) { got = append(got, "the coroutine lives") })
	runAll(t, k)
	require.Equal(t, []string{"still running", "unwound", "the coroutine lives"}, got)
	require.Len(t, k.coroutines, 1)
}

func TestPanicInAProcessReachesStepWithNameTimeSeedAndStack(t *testing.T) {
	k := newKernel(t)
	k.Root().Child("cp-1").Go("controller", func(p *Proc) {
		p.Sleep(2 * time.Second)
		explode()
	})
	err := k.RunUntil(Time(time.Minute))
	var p *Panic
	require.ErrorAs(t, err, &p)
	require.Equal(t, "cp-1 (process controller)", p.Where)
	require.Equal(t, Time(2*time.Second), p.At)
	require.Contains(t, string(p.Stack), "explode")
	_, again := k.Step()
	require.Equal(t, err, again, "a kernel that has failed does not go on")
}

func explode() { panic("boom") }

func TestPanicInACallbackIsAnErrorToo(t *testing.T) {
	k := newKernel(t)
	k.Root().After(0, "tick", explode)
	_, err := k.Step()
	require.ErrorContains(t, err, "panic in  (tick) at 0:00.000 (seed 1): boom")
}

func TestBrokenInvariantEndsTheRun(t *testing.T) {
	k := newKernel(t)
	n := 0
	k.Invariant("n stays below 3", func() error {
		if n >= 3 {
			return errors.New("n is 3")
		}
		return nil
	})
	for i := range 5 {
		k.Root().After(time.Duration(i)*time.Second, "count", func() { n++ })
	}
	err := k.RunUntil(Time(time.Minute))
	require.ErrorContains(t, err, "invariant broken at 0:02.000: n stays below 3: n is 3")
	require.Equal(t, 3, n)
}

func TestFrozenScopeRunsWhatFellDueWhenItThawsInOrder(t *testing.T) {
	k := newKernel(t)
	s := k.Root().Child("stopped")
	var got []string
	note := func(text string) func() { return func() { got = append(got, fmt.Sprintf("%s %s", k.Now(), text)) } }
	s.After(3*time.Second, "b", note("b"))
	s.Child("inner").After(2*time.Second, "a", note("a"))
	s.After(20*time.Second, "c", note("c"))
	stopped := s.After(4*time.Second, "stopped", note("must not run"))
	s.Freeze()
	require.NoError(t, k.RunUntil(Time(10*time.Second)))
	require.Empty(t, got)
	require.True(t, stopped.Pending())
	require.True(t, stopped.Stop(), "a timer that is due but held can still be stopped")
	s.Thaw()
	runAll(t, k)
	require.Equal(t, []string{"0:10.000 a", "0:10.000 b", "0:20.000 c"}, got)
}

func TestWaitOfAFrozenProcessEndsAfterTheThaw(t *testing.T) {
	k := newKernel(t)
	s := k.Root().Child("stopped")
	var at Time
	s.Go("waits", func(p *Proc) {
		p.Sleep(2 * time.Second)
		at = k.Now()
	})
	require.NoError(t, k.RunUntil(Time(time.Second)))
	s.Freeze()
	require.NoError(t, k.RunUntil(Time(30*time.Second)))
	s.Thaw()
	runAll(t, k)
	require.Equal(t, Time(30*time.Second), at)
}

func TestQueueGivesInOrderAndRespectsDeadlines(t *testing.T) {
	k := newKernel(t)
	q := NewQueue[int](k)
	var got []string
	k.Root().Go("consumer", func(p *Proc) {
		for {
			v, ok := q.Get(p, 5*time.Second)
			got = append(got, fmt.Sprintf("%s %d %v", k.Now(), v, ok))
			if !ok {
				return
			}
		}
	})
	for i := 1; i <= 2; i++ {
		k.Root().After(time.Duration(i)*time.Second, "put", func() { q.Put(i) })
	}
	runAll(t, k)
	require.Equal(t, []string{"0:01.000 1 true", "0:02.000 2 true", "0:07.000 0 false"}, got)
}

func TestSignalWakesAllWhoWait(t *testing.T) {
	k := newKernel(t)
	var signal Signal
	woken, late := 0, 0
	for range 3 {
		k.Root().Go("waits", func(p *Proc) {
			if signal.Wait(p, Forever) {
				woken++
			}
		})
	}
	k.Root().Go("gives up", func(p *Proc) {
		if !signal.Wait(p, time.Millisecond) {
			late++
		}
	})
	k.Root().After(time.Second, "broadcast", signal.Broadcast)
	runAll(t, k)
	require.Equal(t, 3, woken)
	require.Equal(t, 1, late)
}

func TestCauseTravelsThroughTimersFuturesAndQueues(t *testing.T) {
	k := newKernel(t)
	s := k.Root().Child("x")
	q := NewQueue[string](k)
	f := NewFuture[string]()
	s.Go("reacts", func(p *Proc) {
		_, _ = q.Get(p, Forever)
		s.Emit(Event{Reason: "FromQueue"})
		_, _ = f.Await(p, Forever)
		s.Emit(Event{Reason: "FromFuture"})
		p.Sleep(time.Second)
		s.Emit(Event{Reason: "AfterSleep"})
	})
	s.After(time.Second, "fault", func() {
		k.Because(s.Emit(Event{Reason: "Fault", Level: Fault}))
		q.Put("x")
	})
	s.After(2*time.Second, "other", func() {
		k.Because(s.Emit(Event{Reason: "Other"}))
		f.Resolve("x", nil)
	})
	runAll(t, k)
	var got []string
	for _, e := range k.Trace().Events() {
		got = append(got, fmt.Sprintf("%d<-%d %s", e.Seq, e.Cause, e.Reason))
	}
	require.Equal(t, []string{"1<-0 Fault", "2<-1 FromQueue", "3<-0 Other", "4<-3 FromFuture", "5<-3 AfterSleep"}, got)
}

func TestSilenceLeadsToTheFirstFaultOfThatMachine(t *testing.T) {
	k := newKernel(t)
	s := k.Root()
	heartbeat := s.Emit(Event{Reason: "Renewed", Level: Routine, Object: "lease/kube-node-lease/worker-1"})
	other := s.Emit(Event{Level: Fault, Object: "machine/worker-2"})
	require.Equal(t, other, k.Trace().Silence("worker-1", heartbeat), "some fault is better than none")
	crash := s.Emit(Event{Level: Fault, Object: "machine/worker-1"})
	s.Emit(Event{Level: Fault, Object: "machine/worker-1"})
	require.Equal(t, crash, k.Trace().Silence("worker-1", heartbeat))
	last := s.Emit(Event{Reason: "Renewed"})
	require.Equal(t, last, k.Trace().Silence("worker-1", last))
}

func TestStreamsAreIndependentAndRepeatable(t *testing.T) {
	draw := func(seed uint64, extra bool) []int64 {
		k := New(seed)
		defer k.Close()
		if extra {
			k.Rand("other").Int64()
		}
		return []int64{k.Rand("kubelet/worker-1").Int64(), k.Rand("kubelet/worker-1").Int64()}
	}
	require.Equal(t, draw(7, false), draw(7, true))
	require.NotEqual(t, draw(7, false), draw(8, false))
	k := newKernel(t)
	for range 1000 {
		d := k.Rand("jitter").Jitter(10*time.Second, 40)
		require.True(t, d >= 10*time.Second && d <= 10400*time.Millisecond, "%s", d)
	}
}

// workload runs many processes that wait, wake and kill each other at random, and returns the digest of what happened.
func workload(seed uint64, observe bool) string {
	k := New(seed)
	defer k.Close()
	if observe {
		k.Observe(func(Event) {})
	}
	q := NewQueue[int](k)
	for i := range 20 {
		s := k.Root().Child(fmt.Sprint(i))
		s.Go("worker", func(p *Proc) {
			for n := range 50 {
				p.Sleep(time.Duration(k.Rand("sleep").IntN(1000)) * time.Millisecond)
				q.Put(n)
				v, ok := q.Get(p, time.Duration(k.Rand("get").IntN(100))*time.Millisecond)
				s.Emit(Event{Reason: "Got", Object: fmt.Sprint(v, ok)})
				if k.Rand("kill").Chance(2000) {
					s.Kill("drawn")
				}
			}
		})
	}
	if err := k.RunUntil(Time(time.Minute)); err != nil {
		return err.Error()
	}
	return k.Trace().Digest()
}

func TestSameSeedSameDigestWithAndWithoutAnObserver(t *testing.T) {
	first := workload(1, false)
	require.Len(t, first, 64)
	require.Equal(t, first, workload(1, true))
	require.NotEqual(t, first, workload(2, false))
}

func TestKernelsDoNotSeeEachOther(t *testing.T) {
	digests := make(chan string)
	for range 4 {
		go func() { digests <- workload(1, false) }()
	}
	for range 4 {
		require.Equal(t, workload(1, false), <-digests)
	}
}

func TestCloseGivesBackAllCoroutines(t *testing.T) {
	k := New(1)
	unwound := 0
	for range 10 {
		k.Root().Go("waits", func(p *Proc) {
			defer func() { unwound++ }()
			p.Sleep(time.Hour)
		})
	}
	require.NoError(t, k.RunUntil(Time(time.Second)))
	k.Close()
	require.Equal(t, 10, unwound)
}

func TestScopePathNamesTheProcessInErrors(t *testing.T) {
	k := newKernel(t)
	s := k.Root().Child("worker-1").Child("kubelet")
	require.Equal(t, "worker-1/kubelet", s.Path())
	p := s.Go("sync", func(*Proc) {})
	require.True(t, strings.HasPrefix(p.String(), "sync"))
}

func BenchmarkEvent(b *testing.B) {
	k := newKernel(b)
	n := 0
	var next func()
	next = func() {
		if n++; n < b.N {
			k.Root().After(time.Millisecond, "tick", next)
		}
	}
	for i := range 100 { // a queue of ordinary depth
		k.Root().After(time.Hour+time.Duration(i), "later", func() {})
	}
	next()
	b.ReportAllocs()
	b.ResetTimer()
	require.NoError(b, k.RunUntil(Time(time.Duration(b.N+1)*time.Millisecond)))
}

func BenchmarkProcessSwitch(b *testing.B) {
	k := newKernel(b)
	k.Root().Go("sleeps", func(p *Proc) {
		for range b.N {
			p.Sleep(time.Millisecond)
		}
	})
	b.ReportAllocs()
	b.ResetTimer()
	require.NoError(b, k.RunUntil(Time(time.Duration(b.N+1)*time.Millisecond)))
}

func BenchmarkEmit(b *testing.B) {
	k := newKernel(b)
	b.ReportAllocs()
	for range b.N {
		k.Root().Emit(Event{Level: Routine, Machine: "cp-1", Component: "kube-apiserver", Reason: "Updated",
			Object: "lease/kube-node-lease/worker-1"})
	}
}
