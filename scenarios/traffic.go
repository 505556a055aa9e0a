package scenarios

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/scenarios/condition"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// probe is a black-box prober: a process that asks at regular times, over a new connection each.
type probe struct {
	run     *Run
	name    string
	spec    *Traffic
	process *hardware.Process
	addr    string
	sent    int

	ok, failed int
	up         bool
	last       time.Duration // the last success
	longest    time.Duration
}

// apiPort is kube-apiserver's, on load balancers too (kubeadm's --apiserver-bind-port default).
const apiPort = 6443

// probeUser may do everything, as the administrator's kubeconfig.
const probeUser = "kubernetes-admin"

// startProbes starts the traffic at time zero.
func (r *Run) startProbes() {
	for i := range r.Scenario.Traffic {
		t := &r.Scenario.Traffic[i]
		from := t.From
		if from == "" {
			from = spec.Admin
		}
		p := &probe{run: r, name: t.Name, spec: t, addr: fmt.Sprintf("%s:%d", r.Scenario.Spec.Server(), apiPort)}
		r.probes = append(r.probes, p)
		machine := r.Cluster.Machine(from)
		if machine.Up() {
			p.start(machine)
		}
		machine.OnBoot(func() { p.start(machine) })
	}
}

func (p *probe) start(machine *hardware.Machine) {
	machine.Start("probe-"+p.name, func(process *hardware.Process) {
		p.process = process
		p.tick()
	})
}

// tick sends one probe and arranges for the next.
func (p *probe) tick() {
	every := or(p.spec.Every, trafficEvery)
	p.process.Scope().After(every, "probe", p.tick)
	p.send(p.request())
}

// request is what the next probe asks. A write changes a ConfigMap of the probe's own; it is created by the first.
func (p *probe) request() *api.Request {
	p.sent++
	r := &api.Request{Verb: api.Get, Resource: api.Namespaces, Name: metav1.NamespaceDefault, User: probeUser,
		UserAgent: "probe/" + p.name, Within: or(p.spec.Timeout, trafficTimeout)}
	if p.spec.API == "write" {
		r.Verb, r.Resource, r.Namespace, r.Name = api.Patch, api.ConfigMaps, metav1.NamespaceDefault, "probe-"+p.name
		r.Patch, r.PatchType = []byte(fmt.Sprintf(`{"data":{"probe":"%d"}}`, p.sent)), types.MergePatchType
	}
	return r
}

func (p *probe) send(r *api.Request) {
	transport := hardware.NewTransport(p.process, hardware.TransportConfig{})
	transport.Start(p.addr, r, r.Within, func(_ any, err error) {
		transport.Close()
		if api.IsNotFound(err) && r.Verb == api.Patch {
			create := *r
			create.Verb, create.Patch, create.PatchType = api.Create, nil, ""
			create.Object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}
			p.send(&create)
			return
		}
		p.done(err == nil || api.IsAlreadyExists(err))
	})
}

// done records the outcome of a probe.
func (p *probe) done(ok bool) {
	now := p.run.Now()
	p.up = ok
	if ok {
		if p.ok > 0 {
			p.longest = max(p.longest, now-p.last)
		}
		p.ok++
		p.last = now
	} else {
		p.failed++
	}
	p.run.world.Changes().Touch(truth.Traffic)
}

// view is what conditions see; an outage that goes on counts up to now.
func (p *probe) view(now time.Duration) condition.TrafficView {
	v := condition.TrafficView{OK: p.ok, Failed: p.failed, Up: p.up, LongestOutage: p.longest}
	if !p.up && p.ok > 0 {
		v.LongestOutage = max(v.LongestOutage, now-p.last)
	}
	return v
}

func (r *Run) trafficViews() map[string]condition.TrafficView {
	views := map[string]condition.TrafficView{}
	for _, p := range r.probes {
		views[p.name] = p.view(r.Now())
	}
	return views
}
