package apiserver

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"ksim/sim/api"
)

func (b *bench) changeConfigMap(name, value string) int64 {
	b.t.Helper()
	cm := newConfigMap(name)
	cm.Data["a"] = value
	resp, err := b.update(cm)
	require.NoError(b.t, err)
	return api.Revision(resp.Object)
}

func revisions(events []api.WatchEvent) []int64 {
	var all []int64
	for _, ev := range events {
		all = append(all, api.Revision(ev.Object))
	}
	return all
}

// The guarantees of a watch, by their names.

func TestWatchIsOrderedWithoutGaps(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default"})
	b.run(time.Second)
	wanted := revisions(w.events)
	for i := range 20 {
		wanted = append(wanted, b.changeConfigMap("cm", strconv.Itoa(i+2)))
	}
	assert.Equal(t, wanted, revisions(w.events))
}

func TestWatchIsResumableFromAnyRevisionOfItsWindow(t *testing.T) {
	b := newBench(t).ready()
	resp, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	from := []int64{api.Revision(resp.Object)}
	for i := range 10 {
		from = append(from, b.changeConfigMap("cm", strconv.Itoa(i+2)))
	}
	for i, revision := range from {
		w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: formatRevision(revision)})
		b.run(time.Second)
		assert.Len(t, w.events, len(from)-1-i, "from %d", revision)
		w.cancel()
	}
}

func TestWatchFromBeforeTheWindowGetsGone(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	first := b.changeConfigMap("cm", "first")
	for i := range windowMin + 10 { // slowly, so that the window does not grow
		b.changeConfigMap("cm", strconv.Itoa(i))
	}
	w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: formatRevision(first - 1)})
	b.run(time.Second)
	require.Len(t, w.events, 1)
	require.Equal(t, api.Error, w.events[0].Type)
	assert.True(t, apierrors.IsResourceExpired(w.events[0].Err), "%v", w.events[0].Err)
	assert.Contains(t, w.events[0].Err.Error(), fmt.Sprintf("too old resource version: %d (", first-1))
}

func TestWatchIsFilteredByWhatAnObjectWasAndIs(t *testing.T) {
	b := newBench(t).ready()
	w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: "0",
		LabelSelector: labels.SelectorFromSet(labels.Set{"app": "web"})})
	b.run(time.Second)
	cm := newConfigMap("cm")
	resp, err := b.create(cm)
	require.NoError(t, err)
	for _, app := range []string{"web", "web", "other"} {
		next := resp.Object.DeepCopyObject().(*corev1.ConfigMap)
		next.Labels = map[string]string{"app": app}
		next.Data["a"] += "x"
		resp, err = b.update(next)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"ADDED cm", "MODIFIED cm", "DELETED cm"}, w.strings())
	assert.Equal(t, resp.Object.GetResourceVersion(), w.events[2].Object.GetResourceVersion())
}

func TestKubeletsWatchSeesOnlyPodsOfItsNode(t *testing.T) {
	b := newBench(t).ready()
	w := b.watch(&api.Request{Resource: api.Pods, ResourceVersion: "0",
		FieldSelector: fields.ParseSelectorOrDie("spec.nodeName=worker-1")})
	b.run(time.Second)
	b.boundPod("web-1", "worker-1")
	b.boundPod("web-2", "worker-2")
	assert.Equal(t, []string{"ADDED web-1"}, w.strings())
}

func TestWatchWithoutRevisionBeginsWithTheState(t *testing.T) {
	b := newBench(t).ready()
	for _, name := range []string{"b", "a"} {
		_, err := b.create(newConfigMap(name))
		require.NoError(t, err)
	}
	w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default"})
	b.run(time.Second)
	b.changeConfigMap("a", "2")
	assert.Equal(t, []string{"ADDED a", "ADDED b", "MODIFIED a"}, w.strings())
}

func TestBookmarkTellsAWatcherHowFarItIs(t *testing.T) {
	b := newBench(t).ready()
	w := b.watch(&api.Request{Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: "0",
		AllowWatchBookmarks: true, FieldSelector: fields.ParseSelectorOrDie("metadata.name=other")})
	b.run(time.Second)
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	revision := b.changeConfigMap("cm", "2")
	b.run(2 * bookmarkPeriod)
	require.Equal(t, []string{"BOOKMARK "}, w.strings())
	assert.Equal(t, revision, api.Revision(w.events[0].Object))
}

func TestWatchEndsWhenTheClientSaidOrAfterHalfAnHour(t *testing.T) {
	b := newBench(t).ready()
	began := b.k.Now()
	short := b.watch(&api.Request{Resource: api.ConfigMaps, TimeoutSeconds: 300})
	long := b.watch(&api.Request{Resource: api.ConfigMaps})
	b.run(61 * time.Minute)
	require.True(t, short.ended)
	require.NoError(t, short.err)
	assert.InDelta(t, 300, short.endedAt.Sub(began).Seconds(), 1)
	require.True(t, long.ended)
	assert.Greater(t, long.endedAt.Sub(began), 29*time.Minute)
}

func TestConsistentListSeesWhatWasWrittenBefore(t *testing.T) {
	b := newBench(t).ready()
	// Nothing happens to the resource: only asking etcd for progress tells the cache that it is up to date.
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	resp, err := b.request(&api.Request{Verb: api.List, Resource: api.Secrets})
	require.NoError(t, err)
	assert.GreaterOrEqual(t, resp.ResourceVersion, formatRevision(b.etcd.revision-1))
}

func TestListWaitsThreeSecondsForARevision(t *testing.T) {
	b := newBenchOf(t, 30).ready()
	resp, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	wanted := api.Revision(resp.Object) + 1000
	began := b.k.Now()
	var took time.Duration
	cancel := b.client.Start(&api.Request{Verb: api.List, Resource: api.ConfigMaps,
		ResourceVersion:      formatRevision(wanted),
		ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, Within: 3500 * time.Millisecond},
		func(_ *api.Response, e error) { took, err = b.k.Now().Sub(began), e })
	b.run(5 * time.Second)
	cancel()
	require.Error(t, err) // the client repeats it, as the answer says Retry-After: 1
	assert.InDelta(t, 3.5, took.Seconds(), 0.1)
	assert.Contains(t, tooLarge(wanted, 7).Error(), fmt.Sprintf("Too large resource version: %d, current: 7", wanted))
}

func TestListOfOneKindIsInTheOrderOfKeysAndPaged(t *testing.T) {
	b := newBench(t).ready()
	for _, name := range []string{"c", "a", "b"} {
		_, err := b.create(newConfigMap(name))
		require.NoError(t, err)
	}
	r := &api.Request{Verb: api.List, Resource: api.ConfigMaps, Namespace: "default", Limit: 2}
	resp, err := b.request(r)
	require.NoError(t, err)
	require.Len(t, resp.Items, 2)
	require.NotEmpty(t, resp.Continue)
	assert.Equal(t, int64(1), *resp.RemainingItems)
	rest, err := b.request(&api.Request{Verb: api.List, Resource: api.ConfigMaps, Namespace: "default", Limit: 2,
		Continue: resp.Continue})
	require.NoError(t, err)
	require.Len(t, rest.Items, 1)
	assert.Equal(t, "c", rest.Items[0].GetName())
	assert.Equal(t, resp.ResourceVersion, rest.ResourceVersion)
}

func TestLostEtcdWatchLeavesTheCacheReadyForHalfAMinute(t *testing.T) {
	b := newBench(t).ready()
	w := b.watch(&api.Request{Resource: api.ConfigMaps, ResourceVersion: "0"})
	b.run(time.Second)
	began := b.k.Now()
	b.etcd.frozen = true
	fails := func() { b.etcd.failWatches(0) }
	for range 400 { // every new watch ends with "no leader", too
		fails()
		b.run(100 * time.Millisecond)
	}
	require.True(t, w.ended)
	require.NoError(t, w.err, "a regular end")
	assert.InDelta(t, 31, w.endedAt.Sub(began).Seconds(), 0.5, "30 s of trying, 1 s until the cache begins anew")
}

func TestUnreadyCacheAnswersListsWith429AndSendsReadsToEtcd(t *testing.T) {
	b := newBench(t).ready()
	_, err := b.create(newConfigMap("cm"))
	require.NoError(t, err)
	b.etcd.failWatches(5) // compacted: the caches list again
	b.etcd.frozen = true
	b.run(100 * time.Millisecond)
	_, err = b.raw(&api.Request{Verb: api.List, Resource: api.ConfigMaps, ResourceVersion: "0"})
	require.True(t, apierrors.IsTooManyRequests(err), "%v", err)
	assert.Equal(t, "storage is (re)initializing", err.Error())
	_, err = b.request(&api.Request{Verb: api.Get, Resource: api.ConfigMaps, Namespace: "default", Name: "cm",
		ResourceVersion: "0", Within: 2 * time.Second})
	assert.ErrorContains(t, err, "context deadline exceeded", "it hangs at etcd")
}
