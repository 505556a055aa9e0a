package apiserver

import (
	"bytes"
	"slices"
	"sort"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// fakeEtcd is a store that answers as etcd does while nothing is wrong, for the tests of this package that are not
// about etcd.
type fakeEtcd struct {
	kernel   *sim.Kernel
	revision int64
	compact  int64
	keys     map[string]*raft.KeyValue
	history  []raft.Event
	watches  []*fakeWatch
	leases   int64
	frozen   bool // answers nothing, as without quorum
	requests int
}

type fakeWatch struct {
	client  *fakeClient
	request *raft.WatchRequest
	on      func(*raft.WatchResponse)
	closed  bool
}

type fakeClient struct {
	etcd  *fakeEtcd
	scope *sim.Scope
}

const fakeLatency = 500 * time.Microsecond

func newFakeEtcd(k *sim.Kernel) *fakeEtcd {
	return &fakeEtcd{kernel: k, revision: 1, keys: map[string]*raft.KeyValue{}}
}

func (e *fakeEtcd) connect(s *Server) etcdClient { return &fakeClient{e, s.scope} }

// wait takes the time of a request, or all of within when nobody answers.
func (c *fakeClient) wait(p *sim.Proc, within time.Duration) error {
	c.etcd.requests++
	if c.etcd.frozen {
		if within < 0 {
			within = 100 * 365 * 24 * time.Hour
		}
		p.Sleep(within)
		return raft.ErrDeadline
	}
	p.Sleep(fakeLatency)
	return nil
}

func (c *fakeClient) Range(p *sim.Proc, r *raft.RangeRequest, within time.Duration) (*raft.RangeResponse, error) {
	if err := c.wait(p, within); err != nil {
		return nil, err
	}
	return c.etcd.list(r), nil
}

func (e *fakeEtcd) list(r *raft.RangeRequest) *raft.RangeResponse {
	resp := &raft.RangeResponse{Header: raft.ResponseHeader{Revision: e.revision}}
	for _, key := range e.inRange(r.Key, r.RangeEnd) {
		resp.Kvs = append(resp.Kvs, e.keys[key])
	}
	resp.Count = int64(len(resp.Kvs))
	return resp
}

func (e *fakeEtcd) inRange(key, end []byte) []string {
	if len(end) == 0 {
		if e.keys[string(key)] == nil {
			return nil
		}
		return []string{string(key)}
	}
	var keys []string
	for k := range e.keys { // any order: sorted below
		if k >= string(key) && k < string(end) {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

func (c *fakeClient) Txn(p *sim.Proc, r *raft.TxnRequest, within time.Duration) (*raft.TxnResponse, error) {
	if err := c.wait(p, within); err != nil {
		return nil, err
	}
	e := c.etcd
	resp := &raft.TxnResponse{Succeeded: true}
	for _, cmp := range r.Compare {
		var is int64
		if kv := e.keys[string(cmp.Key)]; kv != nil {
			is = kv.ModRevision
			if cmp.Target == raft.CompareVersion {
				is = kv.Version
			}
		}
		resp.Succeeded = resp.Succeeded && is == cmp.Number
	}
	ops := r.Success
	if !resp.Succeeded {
		ops = r.Failure
	}
	for _, op := range ops {
		switch {
		case op.Put != nil:
			e.put(op.Put)
			resp.Responses = append(resp.Responses, raft.ResponseOp{Put: &raft.PutResponse{}})
		case op.DeleteRange != nil:
			e.remove(string(op.DeleteRange.Key))
			resp.Responses = append(resp.Responses, raft.ResponseOp{DeleteRange: &raft.DeleteRangeResponse{}})
		default:
			resp.Responses = append(resp.Responses, raft.ResponseOp{Range: e.list(op.Range)})
		}
	}
	resp.Header.Revision = e.revision
	return resp, nil
}

func (e *fakeEtcd) put(r *raft.PutRequest) {
	e.revision++
	kv := raft.KeyValue{Key: r.Key, ModRevision: e.revision, CreateRevision: e.revision, Version: 1,
		Lease: r.Lease}.With(r.Value)
	if old := e.keys[string(r.Key)]; old != nil {
		kv.CreateRevision, kv.Version = old.CreateRevision, old.Version+1
	}
	e.keys[string(r.Key)] = kv
	e.tell(raft.Event{Type: raft.EventPut, Kv: kv})
}

func (e *fakeEtcd) remove(key string) {
	if e.keys[key] == nil {
		return
	}
	e.revision++
	delete(e.keys, key)
	e.tell(raft.Event{Type: raft.EventDelete, Kv: &raft.KeyValue{Key: []byte(key), ModRevision: e.revision}})
}

func (e *fakeEtcd) tell(ev raft.Event) {
	e.history = append(e.history, ev)
	for _, w := range e.watches {
		w.send(ev)
	}
}

func (w *fakeWatch) send(events ...raft.Event) {
	var mine []raft.Event
	for _, ev := range events {
		if bytes.Compare(ev.Kv.Key, w.request.Key) >= 0 && bytes.Compare(ev.Kv.Key, w.request.RangeEnd) < 0 &&
			ev.Kv.ModRevision >= w.request.StartRevision {
			mine = append(mine, ev)
		}
	}
	if len(mine) > 0 {
		w.respond(&raft.WatchResponse{Header: raft.ResponseHeader{Revision: w.client.etcd.revision}, Events: mine})
	}
}

func (w *fakeWatch) respond(resp *raft.WatchResponse) {
	w.client.scope.After(fakeLatency, "watch", func() {
		if !w.closed {
			w.on(resp)
		}
	})
}

func (c *fakeClient) WaitConnected(p *sim.Proc, within time.Duration) error { return c.wait(p, within) }

func (c *fakeClient) LeaseGrant(p *sim.Proc, r *raft.LeaseGrantRequest,
	within time.Duration) (*raft.LeaseGrantResponse, error) {
	if err := c.wait(p, within); err != nil {
		return nil, err
	}
	c.etcd.leases++
	return &raft.LeaseGrantResponse{ID: c.etcd.leases, TTL: r.TTL}, nil
}

func (c *fakeClient) Compact(p *sim.Proc, r *raft.CompactionRequest,
	within time.Duration) (*raft.CompactionResponse, error) {
	if err := c.wait(p, within); err != nil {
		return nil, err
	}
	c.etcd.compact = r.Revision
	return &raft.CompactionResponse{}, nil
}

func (c *fakeClient) Watch(r *raft.WatchRequest, on func(*raft.WatchResponse)) (cancel func()) {
	w := &fakeWatch{client: c, request: r, on: on}
	c.etcd.watches = append(c.etcd.watches, w)
	w.send(c.etcd.history...)
	return func() { w.closed = true }
}

func (c *fakeClient) RequestProgress() {
	for _, w := range c.etcd.watches {
		if w.client == c {
			w.respond(&raft.WatchResponse{Header: raft.ResponseHeader{Revision: c.etcd.revision}})
		}
	}
}

// fail ends all watches with an error, as a member without a leader does.
func (e *fakeEtcd) failWatches(compacted int64) {
	watches := slices.Clone(e.watches)
	e.watches = nil
	for _, w := range watches {
		w.respond(&raft.WatchResponse{Canceled: true, Err: raft.ErrNoLeader, CompactRevision: compacted})
	}
}

// bench is one API server on cp-1 with a store, and a client on worker-1.
type bench struct {
	t       testing.TB
	k       *sim.Kernel
	dc      *hardware.Datacenter
	etcd    *fakeEtcd
	family  *family
	server  *hardware.Process
	user    *hardware.Process
	client  api.Client
	release *api.Release
}

func newBench(t testing.TB, argv ...string) *bench { return newBenchOf(t, api.DefaultMinor, argv...) }

func newBenchOf(t testing.TB, minor int, argv ...string) *bench {
	k := sim.New(1)
	t.Cleanup(k.Close)
	b := &bench{t: t, k: k, dc: hardware.New(k, hardware.NetworkConfig{Latency: 500 * time.Microsecond}),
		etcd: newFakeEtcd(k), family: newFamily(k), release: api.ReleaseOf(minor)}
	b.family.connect = b.etcd.connect
	for _, name := range []string{"cp-1", "worker-1"} {
		b.dc.AddMachine(hardware.MachineSpec{Name: name}).PowerOn()
	}
	b.start(argv...)
	b.user = b.dc.Machine("worker-1").Start("kubectl", func(*hardware.Process) {})
	b.client = controlplane.NewClient(b.user, controlplane.ClientConfig{Server: "https://cp-1:6443",
		User: "kubernetes-admin", UserAgent: "kubectl/v1.36.0"})
	return b
}

// start starts an API server on cp-1.
func (b *bench) start(argv ...string) {
	argv = append([]string{"--etcd-servers=https://127.0.0.1:2379", "--service-cluster-ip-range=10.96.0.0/12",
		"--authorization-mode=Node,RBAC"}, argv...)
	b.server = b.dc.Machine("cp-1").Start("kube-apiserver", func(p *hardware.Process) {
		b.family.start(p, b.release, argv)
	})
}

// ready lets the server start up.
func (b *bench) ready() *bench {
	b.run(6 * time.Second)
	require.True(b.t, b.server.View().(*View).Ready(), "the server is ready after six seconds")
	return b
}

// run lets time pass.
func (b *bench) run(d time.Duration) {
	b.t.Helper()
	require.NoError(b.t, b.k.RunUntil(b.k.Now().Add(d)))
}

// do runs body as a process of the user and lets it end.
func (b *bench) do(body func(p *sim.Proc)) {
	b.t.Helper()
	done := false
	b.user.Go("test", func(p *sim.Proc) {
		body(p)
		done = true
	})
	for range 300 {
		b.run(time.Second)
		if done {
			return
		}
	}
	b.t.Fatal("the test's process does not end")
}

// request is Do for the tests.
func (b *bench) request(r *api.Request) (resp *api.Response, err error) {
	b.t.Helper()
	b.do(func(p *sim.Proc) { resp, err = b.client.Do(p, r) })
	return resp, err
}

// raw sends a request without the retries of client-go.
func (b *bench) raw(r *api.Request) (resp *api.Response, err error) {
	b.t.Helper()
	r.User = "kubernetes-admin"
	b.do(func(p *sim.Proc) {
		var answer any
		answer, err = hardware.NewTransport(b.user, hardware.TransportConfig{}).Do(p, "cp-1:6443", r, 100*time.Second)
		resp, _ = answer.(*api.Response)
	})
	return resp, err
}

func (b *bench) create(obj api.Object) (*api.Response, error) {
	b.t.Helper()
	return b.request(&api.Request{Verb: api.Create, Resource: api.ResourceOf(obj), Namespace: obj.GetNamespace(),
		Object: obj})
}

func (b *bench) update(obj api.Object) (*api.Response, error) {
	b.t.Helper()
	return b.request(&api.Request{Verb: api.Update, Resource: api.ResourceOf(obj), Namespace: obj.GetNamespace(),
		Name: obj.GetName(), Object: obj})
}

func (b *bench) get(r *api.Resource, name string) (*api.Response, error) {
	b.t.Helper()
	return b.request(&api.Request{Verb: api.Get, Resource: r, Namespace: "default", Name: name})
}

func (b *bench) bind(pod, node string) error {
	b.t.Helper()
	_, err := b.request(&api.Request{Verb: api.Create, Resource: api.Pods, Subresource: "binding", Namespace: "default",
		Name: pod, Object: &corev1.Binding{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: "default"},
			Target: corev1.ObjectReference{Kind: "Node", Name: node}}})
	return err
}

// watch opens a watch and collects what comes.
func (b *bench) watch(r *api.Request) *collected {
	r.Verb = api.Watch
	c := &collected{}
	c.cancel = b.client.Watch(r, func(ev api.WatchEvent) { c.events = append(c.events, ev) },
		func(err error) { c.ended, c.err, c.endedAt = true, err, b.k.Now() })
	return c
}

type collected struct {
	events  []api.WatchEvent
	ended   bool
	endedAt sim.Time
	err     error
	cancel  api.Cancel
}

// strings tells the events: ADDED web-1.
func (c *collected) strings() []string {
	var all []string
	for _, ev := range c.events {
		name := ""
		if ev.Object != nil {
			name = " " + ev.Object.GetName()
		}
		all = append(all, string(ev.Type)+name)
	}
	return all
}
