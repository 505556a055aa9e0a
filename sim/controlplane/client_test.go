package controlplane

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// clientBench is a client on worker-1 and whatever answers on cp-1.
type clientBench struct {
	t      *testing.T
	k      *sim.Kernel
	dc     *hardware.Datacenter
	server *hardware.Process
	client api.Client
	calls  int
}

func newClientBench(t *testing.T, answer func(b *clientBench, call *hardware.Call)) *clientBench {
	k := sim.New(1)
	t.Cleanup(k.Close)
	b := &clientBench{t: t, k: k, dc: hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond})}
	for _, name := range []string{"cp-1", "worker-1"} {
		b.dc.AddMachine(hardware.MachineSpec{Name: name}).PowerOn()
	}
	b.server = b.dc.Machine("cp-1").Start("kube-apiserver", func(p *hardware.Process) {
		if answer == nil {
			return
		}
		_, err := p.Serve(6443, func(call *hardware.Call) {
			b.calls++
			answer(b, call)
		})
		require.NoError(t, err)
	})
	user := b.dc.Machine("worker-1").Start("kubelet", func(*hardware.Process) {})
	b.client = NewClient(user, ClientConfig{Server: "https://cp-1:6443", User: "system:node:worker-1",
		UserAgent: "kubelet/v1.36.0"})
	b.run(10 * time.Millisecond)
	return b
}

func (b *clientBench) run(d time.Duration) {
	b.t.Helper()
	require.NoError(b.t, b.k.RunUntil(b.k.Now().Add(d)))
}

type outcome struct {
	done bool
	err  error
	at   time.Duration
}

func (b *clientBench) start(r *api.Request) *outcome {
	o, began := &outcome{}, b.k.Now()
	b.client.Start(r, func(_ *api.Response, err error) { *o = outcome{true, err, b.k.Now().Sub(began)} })
	return o
}

func getPod() *api.Request {
	return &api.Request{Verb: api.Get, Resource: api.Pods, Namespace: "default", Name: "web-1"}
}

func TestClientNamesItsUserAndProgram(t *testing.T) {
	b := newClientBench(t, func(b *clientBench, call *hardware.Call) {
		r := call.Request.(*api.Request)
		assert.Equal(b.t, "system:node:worker-1", r.User)
		assert.Equal(b.t, "kubelet/v1.36.0", r.UserAgent)
		call.Reply(&api.Response{})
	})
	o := b.start(getPod())
	b.run(time.Second)
	require.True(t, o.done)
	require.NoError(t, o.err)
}

func TestRefusedRequestSaysWhichURLMetWhat(t *testing.T) {
	b := newClientBench(t, nil)
	o := b.start(getPod())
	b.run(time.Second)
	require.ErrorIs(t, o.err, hardware.ErrRefused)
	assert.Equal(t, `Get "https://cp-1:6443/api/v1/namespaces/default/pods/web-1": dial tcp `+b.dc.Machine("cp-1").IP()+
		`:6443: connect: connection refused`, o.err.Error())
}

func TestRequestEndsAtTheClientsOwnDeadline(t *testing.T) {
	b := newClientBench(t, func(*clientBench, *hardware.Call) {})
	r := getPod()
	r.Within = 10 * time.Second
	o := b.start(r)
	b.run(time.Minute)
	require.ErrorIs(t, o.err, sim.ErrTimeout)
	assert.Equal(t, 10*time.Second, o.at)
}

func TestAnswerWithRetryAfterIsAskedForTenTimes(t *testing.T) {
	b := newClientBench(t, func(_ *clientBench, call *hardware.Call) {
		call.Fail(apierrors.NewTooManyRequests("storage is (re)initializing", 2))
	})
	o := b.start(&api.Request{Verb: api.Create, Resource: api.Pods, Namespace: "default", Object: &corev1.Pod{}})
	b.run(time.Minute)
	require.True(t, apierrors.IsTooManyRequests(o.err))
	assert.Equal(t, 11, b.calls)
	assert.InDelta(t, 20, o.at.Seconds(), 0.1)
}

func TestRefusalWithoutRetryAfterIsFinal(t *testing.T) {
	b := newClientBench(t, func(_ *clientBench, call *hardware.Call) {
		call.Fail(apierrors.NewTooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", 0))
	})
	o := b.start(getPod())
	b.run(time.Second)
	require.Error(t, o.err)
	assert.Equal(t, 1, b.calls)
}

func TestOnlyReadsAreSentAgainAfterABrokenConnection(t *testing.T) {
	b := newClientBench(t, func(*clientBench, *hardware.Call) {})
	read := b.start(getPod())
	write := b.start(&api.Request{Verb: api.Update, Resource: api.Pods, Namespace: "default", Name: "web-1",
		Object: &corev1.Pod{}})
	b.run(time.Second)
	b.server.Signal(hardware.SIGKILL)
	b.run(500 * time.Millisecond)
	require.ErrorIs(t, write.err, hardware.ErrReset)
	assert.False(t, read.done)
	b.run(time.Second)
	require.ErrorIs(t, read.err, hardware.ErrRefused, "the second try finds nobody")
}

func TestWatchDeliversEventsWithTheirCauseAndEndsOnce(t *testing.T) {
	var stream *hardware.Call
	b := newClientBench(t, func(_ *clientBench, call *hardware.Call) { stream = call })
	var causes []sim.EventID
	ended := 0
	var err error
	b.client.Watch(&api.Request{Verb: api.Watch, Resource: api.Pods},
		func(api.WatchEvent) { causes = append(causes, b.k.Cause()) }, func(e error) { ended, err = ended+1, e })
	b.run(time.Second)
	id := b.k.Root().Emit(sim.Event{Reason: "Created"})
	stream.Send(&api.WatchEvent{Type: api.Added, Object: &corev1.Pod{}, Cause: id})
	b.run(time.Second)
	assert.Equal(t, []sim.EventID{id}, causes)
	stream.Reply(&api.Response{})
	b.run(time.Second)
	assert.Equal(t, 1, ended)
	assert.NoError(t, err)
}

func TestStatusErrorsReachTheCallerAsTheyAre(t *testing.T) {
	b := newClientBench(t, func(_ *clientBench, call *hardware.Call) {
		call.Fail(apierrors.NewNotFound(api.Pods.GroupResource(), "web-1"))
	})
	o := b.start(getPod())
	b.run(time.Second)
	var status *apierrors.StatusError
	require.True(t, errors.As(o.err, &status))
	assert.Equal(t, metav1.StatusReasonNotFound, status.ErrStatus.Reason)
	assert.Equal(t, `pods "web-1" not found`, o.err.Error())
}
