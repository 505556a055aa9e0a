package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProcessBegunByACallbackCostsNoEventWhereItNeverWaits(t *testing.T) {
	k := newKernel(t)
	var got []string
	k.Root().After(time.Second, "callback", func() {
		k.Because(7)
		k.Root().Begin("process", func(p *Proc) {
			p.Because(8)
			got = append(got, "body")
		})
		got = append(got, "callback")
		require.Equal(t, EventID(7), k.Cause(), "the process has a cause of its own")
	})
	runAll(t, k)
	require.Equal(t, []string{"body", "callback"}, got)
	require.Equal(t, uint64(1), k.Steps())
}

func TestProcessBegunByAProcessOrInAFrozenScopeGoesThroughTheQueue(t *testing.T) {
	k := newKernel(t)
	frozen := k.Root().Child("frozen")
	var got []string
	k.Root().Go("outer", func(p *Proc) {
		k.Root().Begin("inner", func(*Proc) { got = append(got, "inner") })
		got = append(got, "outer")
	})
	frozen.Freeze()
	k.Root().After(0, "callback", func() { frozen.Begin("later", func(*Proc) { got = append(got, "later") }) })
	k.Root().After(time.Second, "thaw", frozen.Thaw)
	require.NoError(t, k.RunUntil(0))
	require.Equal(t, []string{"outer", "inner"}, got)
	runAll(t, k)
	require.Equal(t, []string{"outer", "inner", "later"}, got)
}

func TestFutureHandedOverByACallbackLetsTheProcessGoOnAtOnce(t *testing.T) {
	k := newKernel(t)
	scope := k.Root().Child("scope")
	var answer, never Future[int]
	var got []int
	scope.Go("waits", func(p *Proc) {
		value, err := answer.Await(p, time.Minute)
		require.NoError(t, err)
		got = append(got, value)
		_, _ = never.Await(p, Forever)
		got = append(got, -1)
	})
	scope.After(time.Second, "answer", func() {
		answer.Hand(5, nil)
		require.Equal(t, []int{5}, got)
	})
	scope.After(2*time.Second, "end", func() {
		scope.Kill("test")
		never.Hand(0, nil)
	})
	runAll(t, k)
	require.Equal(t, []int{5}, got, "nothing of a dead scope goes on")
	require.Equal(t, uint64(3), k.Steps())
}

func TestFutureHandedOverByAProcessOrToSeveralGoesThroughTheQueue(t *testing.T) {
	k := newKernel(t)
	var one, both Future[int]
	var got []string
	wait := func(name string, f *Future[int]) {
		k.Root().Go(name, func(p *Proc) {
			_, _ = f.Await(p, Forever)
			got = append(got, name)
		})
	}
	wait("first", &one)
	wait("second", &both)
	wait("third", &both)
	k.Root().Go("gives", func(*Proc) {
		one.Hand(1, nil)
		got = append(got, "gave")
	})
	k.Root().After(time.Second, "gives", func() { both.Hand(1, nil) })
	runAll(t, k)
	require.Equal(t, []string{"gave", "first", "second", "third"}, got)
}
