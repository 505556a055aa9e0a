package controllers

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// asked is a request that reached the API server.
type asked struct {
	at      time.Duration
	request *api.Request
}

// watchRequests returns all requests of the controllers but watches and lists, as they come in.
func (b *bench) watchRequests() *[]asked {
	all := &[]asked{}
	b.server.Fail = func(r *api.Request) error {
		if r.Verb != api.List && r.Verb != api.Watch && r.Path == "" {
			*all = append(*all, asked{b.kernel.Now().Duration(), r})
		}
		return nil
	}
	return all
}

func count(all []asked, until time.Duration, match func(*api.Request) bool) int {
	n := 0
	for _, a := range all {
		if a.at <= until && match(a.request) {
			n++
		}
	}
	return n
}

func creates(resource *api.Resource) func(*api.Request) bool {
	return func(r *api.Request) bool { return r.Verb == api.Create && r.Resource == resource }
}

// A ReplicaSet of 200 pods: the controller's client sends a burst of 30 requests and then 20 a second, events included
// (--kube-api-qps, --kube-api-burst). Creations come in ever larger batches and leave the events behind.
func TestReplicaSetControllerIsRateLimited(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	all := b.watchRequests()
	b.addReplicaSet("web", 200)
	b.start()
	b.at(time.Minute)
	require.Len(t, b.pods(), 200)
	require.Len(t, b.events("SuccessfulCreate"), 200)
	began := (*all)[0].at
	for second := range 25 {
		passed := time.Duration(second) * time.Second
		sent := count(*all, began+passed+20*time.Millisecond, func(*api.Request) bool { return true })
		assert.LessOrEqual(t, sent, 30+20*second+1, "after %s", passed)
	}
	pods := func(after time.Duration) int { return count(*all, began+after, creates(api.Pods)) }
	assert.InDelta(t, 30, pods(250*time.Millisecond), 3)
	assert.InDelta(t, 78, pods(5*time.Second)-pods(time.Second), 3, "nearly all tokens of four seconds")
}

// A controller that is busy does not slow the others: each has a token bucket.
func TestControllersHaveRateLimitsOfTheirOwn(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	b.addNodes(4)
	b.addReplicaSet("web", 400)
	b.start()
	b.at(5 * time.Second)
	one := int32(1)
	b.server.Put(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "db", Generation: 1},
		Spec: appsv1.StatefulSetSpec{Replicas: &one}})
	b.at(5500 * time.Millisecond)
	assert.NotNil(t, b.pod("db-0"))
	assert.Less(t, len(b.pods()), 200)
}

// The pods of a lost node are marked one after the other, each with an event, through the node lifecycle controller's
// client: ten a second after the burst. Two lost nodes share it.
func TestMarkingPodsOfALostNodeIsRateLimited(t *testing.T) {
	b := newBench(t, 1, "v1.36")
	b.addNodes(8)
	for i := range 100 {
		b.addPod(fmt.Sprintf("web-%d", i), "n1")
	}
	b.start()
	b.at(30 * time.Second)
	b.crash("n1")
	lost := b.when(2*time.Minute, "Unknown", func() bool { return ready(b.node("n1")) == corev1.ConditionUnknown })
	marked := func() int {
		n := 0
		for _, pod := range b.pods() {
			if !isPodReady(pod) {
				n++
			}
		}
		return n
	}
	b.at(lost + 200*time.Millisecond)
	first := marked()
	assert.InDelta(t, 15, first, 4)
	b.at(lost + 5200*time.Millisecond)
	assert.InDelta(t, first+50, marked(), 5)
	done := b.when(3*time.Minute, "all marked", func() bool { return marked() == 100 })
	assert.InDelta(t, 8.6, (done - lost).Seconds(), 1)
}

// --kube-api-qps and --kube-api-burst set the pace; without a limit everything goes at once.
func TestRateLimitFlags(t *testing.T) {
	for _, tt := range []struct {
		arguments []string
		want      int // pods after two seconds
	}{
		{nil, 60},
		{[]string{"--kube-api-qps=60", "--kube-api-burst=60"}, 165},
		{[]string{"--kube-api-qps=-1"}, 300},
	} {
		b := newBench(t, 1, "v1.36")
		require.NoError(t, b.options.flags(b.release).Parse(tt.arguments))
		b.addReplicaSet("web", 300)
		b.start()
		began := b.when(time.Minute, "first", func() bool { return len(b.pods()) > 0 })
		b.at(began + 2*time.Second)
		assert.InDelta(t, tt.want, len(b.pods()), float64(tt.want)/10, "%v", tt.arguments)
	}
	limit := controlplane.RateLimit{QPS: 20_000}
	assert.ErrorContains(t, limit.Check(), "burst is required to be greater than 0")
}
