package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// asked is one request from the administrator's machine on a connection of its own, and what came of it.
type asked struct {
	r      *rig
	began  float64
	done   bool
	took   float64
	status int
	err    string
}

func (r *rig) ask(request *api.Request) *asked {
	request.User, request.UserAgent = "kubernetes-admin", "kubectl/v1.36.0"
	if r.prober == nil {
		r.prober = r.Machine(spec.Admin).Start("kubectl", func(*hardware.Process) {})
	}
	a := &asked{r: r, began: r.now()}
	t := hardware.NewTransport(r.prober, hardware.TransportConfig{})
	t.Start(r.spec.Server()+":6443", request, 0, func(resp any, err error) {
		a.done, a.took = true, r.now()-a.began
		if err != nil {
			a.err = err.Error()
		} else if answer, ok := resp.(*api.Response); ok {
			a.status = answer.Status
		}
		t.Close()
	})
	return a
}

// figure gives how long the answer took, and requires its text.
func (a *asked) figure(f *figures, name, text string) {
	a.r.t.Helper()
	require.True(a.r.t, a.done, "%s: no answer", name)
	require.Contains(a.r.t, a.err, text, name)
	f.set(name, a.took)
}

func createMap(name string) *api.Request {
	return &api.Request{Verb: api.Create, Resource: api.ConfigMaps, Namespace: metav1.NamespaceDefault,
		Object: configMap(name)}
}

func listPods(version string) *api.Request {
	return &api.Request{Verb: api.List, Resource: api.Pods, Namespace: metav1.NamespaceDefault, ResourceVersion: version}
}

func path(path string) *api.Request { return &api.Request{Verb: api.Get, Path: path} }

// One API server with three members of its own, two of which are killed for 240 s; nobody probes its liveness. Recorded
// times contain kubectl's own second or two of start, and a slower start of etcd; systemd restarts the managers after
// 5 s here, the recording's supervisor did after 0, 10, 20 s.
func TestTimelineQuorumLostUnderOneAPIServer(t *testing.T) {
	one := func() *spec.Cluster {
		s := specOf(spec.External, spec.Systemd, 4)
		s.ControlPlanes, s.LoadBalancer = 1, nil
		return s
	}
	timeline(t, "08", one, func(r *rig, f *figures) {
		create(t, r.Cluster, deployment("web", 4))
		r.wait(30 * time.Second)
		lost := []string{r.world.Etcd().Leader, r.follows()}
		r.ask(path("/healthz")) // asked more often than once a second, it repeats what it has found
		r.wait(300 * time.Millisecond)
		r.fault()
		for _, member := range lost {
			r.endEtcd(member)
		}
		r.wait(300 * time.Millisecond)
		healthz, cached := r.ask(path("/healthz")), r.ask(listPods("0"))
		r.wait(300 * time.Millisecond)
		first, list := r.ask(createMap("first")), r.ask(listPods(""))
		r.wait(time.Second)
		livez := r.ask(path("/livez"))
		r.wait(200 * time.Millisecond)
		readyz := r.ask(path("/readyz"))
		r.wait(13 * time.Second)
		require.Equal(t, 200, healthz.status, "the first second still 200")
		require.Empty(t, cached.err)
		first.figure(f, "create while the old leader is believed in", "etcdserver: request timed out")
		f.set("livez and readyz fail after", max(livez.took, readyz.took))
		require.Equal(t, []int{500, 500}, []int{livez.status, readyz.status})
		second, cached := r.ask(createMap("second")), r.ask(listPods("0"))
		r.wait(75 * time.Second)
		require.Empty(t, cached.err, "cached reads go on")
		second.figure(f, "create without a leader", "Timeout: request did not complete within requested timeout")
		list.figure(f, "list", "the server was unable to return a response in the time allotted")
		late := r.ask(listPods("0"))
		r.wait(150 * time.Second)
		late.figure(f, "cached list of a cache that has lost etcd", "storage is (re)initializing")
		f.at(r, "KCM exits", "kube-controller-manager cp-1", "exit 1", 0)
		f.at(r, "scheduler exits", "kube-scheduler cp-1", "exit 1", 0)
		back := r.now()
		require.NoError(t, r.Systemd(lost[1]).Start("etcd"))
		write := r.ask(createMap("third"))
		for ready := (&asked{}); ready.status != 200 && r.now() < back+30; r.wait(100 * time.Millisecond) {
			if ready.done || ready.r == nil {
				ready = r.ask(path("/readyz"))
			}
		}
		f.set("ready after return", r.now()-back)
		r.wait(70 * time.Second)
		require.Empty(t, write.err)
		f.set("write after return", write.took)
		for _, worker := range r.spec.Workers {
			f.set("lease after return", r.leaseAfter(worker.Name, back))
		}
		f.takenOver(r, back)
		f.set("workers falsely Unknown", r.workersLost())
		f.set("pods deleted", float64(r.count("pod ", "Running Terminating")))
		require.True(t, strings.HasPrefix(r.world.Holder("kube-scheduler"), "cp-"))
	})
}
