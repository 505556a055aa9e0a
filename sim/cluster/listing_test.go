package cluster

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"ksim/sim/api"
	"ksim/sim/raft/mvcc"
)

// Whatever changes between two looks, a listing is what a map of the objects, sorted by key, would be.
func TestListingFollowsChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, model, revision := &listing{}, map[string]int64{}, int64(0)
		decode := func(kv *mvcc.KeyValue) api.Object {
			return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s@%d", kv.Key, kv.ModRevision)}}
		}
		for range rapid.IntRange(1, 8).Draw(t, "looks") {
			for range rapid.IntRange(0, 12).Draw(t, "changes") {
				revision++
				key := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"}).Draw(t, "key")
				kv := &mvcc.KeyValue{Key: []byte(key), ModRevision: revision, Version: 1}
				if delete(model, key); rapid.Bool().Draw(t, "deleted") {
					kv.Version = 0
				} else {
					model[key] = revision
				}
				l.note(key, kv)
			}
			l.update(decode)
			var want, have []string
			for key, at := range model { // any order: sorted below
				want = append(want, fmt.Sprintf("%s@%d", key, at))
			}
			slices.Sort(want)
			for _, object := range l.objects {
				have = append(have, object.GetName())
			}
			require.Equal(t, want, have)
			require.Len(t, l.keys, len(have))
		}
	})
}

// Each key of etcd belongs to one resource, so that the first that fits is the one.
func TestResourcesLieApart(t *testing.T) {
	prefixes := map[string]string{}
	for _, res := range api.Resources() {
		require.Empty(t, prefixes[res.Prefix], "%s lies where %s does", res.Plural, prefixes[res.Prefix])
		prefixes[res.Prefix] = res.Plural
	}
}
