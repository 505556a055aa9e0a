package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/scenarios/condition"
	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/truth"
	"ksim/sim/hardware"
)

// probe is a black-box prober: a process that asks at regular times, over a new connection each.
type probe struct {
	run     *Run
	spec    *Traffic
	within  time.Duration
	process *hardware.Process
	sent    int
	begins  time.Duration
	met     record
	heard   map[string]sim.EventID // of each machine: the last event before its last good answer

	target  target // of a Service
	address string // to ask; "": there is none, and missing says why
	missing string
	seen    uint64 // changes of Services at the last look
}

// apiPort is kube-apiserver's, on load balancers too (kubeadm's --apiserver-bind-port default).
const apiPort = 6443

// probeUser may do everything, as the administrator's kubeconfig.
const probeUser = "kubernetes-admin"

// servicesBegin is when requests to Services begin. chosen: at time zero pods run, but that they are ready must still
// get through slices and kube-proxies, which takes up to a second and a half.
const servicesBegin = 2 * time.Second

// startProbes starts the traffic at time zero.
func (r *Run) startProbes() {
	for i := range r.Scenario.Traffic {
		p := &probe{run: r, spec: &r.Scenario.Traffic[i], heard: map[string]sim.EventID{}}
		p.within = or(p.spec.Timeout, trafficTimeout)
		p.address = fmt.Sprintf("%s:%d", r.Scenario.Spec.Server(), apiPort)
		if p.spec.Service != "" {
			p.target, _ = parseTarget(p.spec.Service) // cannot fail: the scenario was checked
			p.begins, p.seen = servicesBegin, ^uint64(0)
		}
		p.met.lastOK, p.met.sentOK = p.begins, p.begins
		r.probes = append(r.probes, p)
		machine := r.Cluster.Machine(r.Scenario.from(p.spec))
		if machine.Up() {
			p.start(machine)
		}
		machine.OnBoot(func() { p.start(machine) })
	}
}

func (p *probe) start(machine *hardware.Machine) {
	machine.Start("probe-"+p.spec.Name, func(process *hardware.Process) {
		p.process = process
		if wait := p.begins - p.run.Now(); wait > 0 {
			process.Scope().After(wait, "probe", p.tick)
			return
		}
		p.tick()
	})
}

// tick sends one probe and arranges for the next.
func (p *probe) tick() {
	p.process.Scope().After(or(p.spec.Every, trafficEvery), "probe", p.tick)
	p.sent++
	s := p.met.send(p.run.Now())
	if p.spec.Service != "" {
		p.lookUp()
	}
	if p.address == "" {
		p.decide(s, p.missing)
		return
	}
	p.send(s, p.request())
}

// request is what the next probe asks. A write changes a ConfigMap of the probe's own; it is created by the first. A
// Service is asked for its health, which API servers answer, too.
func (p *probe) request() *api.Request {
	r := &api.Request{Verb: api.Get, User: probeUser, UserAgent: "probe/" + p.spec.Name, Within: p.within}
	switch {
	case p.spec.Service != "":
		r.Path, r.User = "/healthz", "system:anonymous"
	case p.spec.API == "write":
		r.Verb, r.Resource, r.Namespace, r.Name = api.Patch, api.ConfigMaps, metav1.NamespaceDefault, "probe-"+p.spec.Name
		r.Patch, r.PatchType = []byte(fmt.Sprintf(`{"data":{"probe":"%d"}}`, p.sent)), types.MergePatchType
	default:
		r.Resource, r.Name = api.Namespaces, metav1.NamespaceDefault
	}
	return r
}

func (p *probe) send(s *shot, r *api.Request) {
	transport := hardware.NewTransport(p.process, hardware.TransportConfig{DialTimeout: p.within,
		Routed: func(to *hardware.Machine) {
			if s.rule = p.run.Kernel.Cause(); to != nil {
				s.to = to.Name
			}
		}})
	transport.Start(p.address, r, p.within, func(resp any, err error) {
		transport.Close()
		if api.IsNotFound(err) && r.Verb == api.Patch {
			create := *r
			create.Verb, create.Patch, create.PatchType = api.Create, nil, ""
			create.Object = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: r.Name}}
			p.send(s, &create)
			return
		}
		if r.Verb == api.Create && api.IsAlreadyExists(err) {
			err = nil
		}
		what := failureOf(resp, err, p.within)
		switch {
		case p.spec.Service == "":
			s.to = "" // the balancer, mostly: it has only passed on what it met
		case s.to == "" && errors.Is(err, hardware.ErrRefused):
			what += " (no endpoints)"
		case s.to == "" && silent(err):
			what += " (no rule on " + p.process.Machine().Name + ")"
		}
		if silent(err) && s.to != "" {
			p.run.Kernel.Because(p.run.Kernel.Trace().Silence(s.to, p.heard[s.to]))
		}
		p.decide(s, what)
	})
}

// lookUp finds the address of the Service as it is now, as cluster DNS would tell: DNS itself is not asked, and does
// not fail.
func (p *probe) lookUp() {
	changes := p.run.world.Changes().Of[truth.Services]
	if changes == p.seen {
		return
	}
	p.seen = changes
	p.address, p.missing = "", "no such Service"
	for _, object := range p.run.world.Objects(api.Services) {
		service, ok := object.(*corev1.Service)
		if !ok || service.Namespace != p.target.namespace || service.Name != p.target.name {
			continue
		}
		port, err := p.target.portOf(service)
		if unreachable := p.target.reachable(service); unreachable != nil || err != nil {
			p.missing = errors.Join(unreachable, err).Error()
			return
		}
		p.address = fmt.Sprintf("%s:%d", service.Spec.ClusterIP, port.Port)
		return
	}
}

func silent(err error) bool {
	return errors.Is(err, hardware.ErrDialTimeout) || errors.Is(err, sim.ErrTimeout)
}

// failureOf says what went wrong with a request, "" if it was answered well.
func failureOf(resp any, err error, within time.Duration) string {
	var status apierrors.APIStatus
	answer, isAnswer := resp.(hardware.HTTPAnswer)
	switch {
	case err == nil && isAnswer:
		if code, _ := answer.HTTPStatus(); code >= 500 {
			return fmt.Sprintf("answered with status %d", code)
		}
		return ""
	case err == nil:
		return ""
	case silent(err):
		return "no answer within " + inWords(within)
	case errors.Is(err, hardware.ErrRefused):
		return "connection refused"
	case errors.Is(err, hardware.ErrUnreachable):
		return "no route to host"
	case errors.Is(err, hardware.ErrReset), errors.Is(err, hardware.ErrClosed):
		return "connection broken off"
	case errors.As(err, &status):
		return fmt.Sprintf("answered with status %d", status.Status().Code)
	}
	return err.Error()
}

// inWords writes a length of time for messages: 10 s, 0.5 s, 4 min 30 s.
func inWords(d time.Duration) string {
	if d >= 2*time.Minute {
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Round(100*time.Millisecond).Seconds()), ".0") + " s"
}

// decide records the outcome of a probe; what is "" when it was answered well.
func (p *probe) decide(s *shot, what string) {
	k := p.run.Kernel
	s.ended, s.what, s.cause = p.run.Now(), what, k.Cause()
	if what == "" && s.to != "" {
		p.heard[s.to] = sim.EventID(k.Trace().Len())
	}
	for _, spell := range p.met.note(s) {
		p.tell(spell)
	}
	p.run.world.Changes().Touch(truth.Traffic)
}

// tell puts into the trace that requests begin to fail, or that they are answered again.
func (p *probe) tell(s *Spell) {
	event := sim.Event{Level: sim.Story, Cause: s.began, Object: "traffic/" + p.spec.Name, Reason: "RequestsFail"}
	first := s.Failures[0]
	event.Message = "requests fail: " + first.What
	if first.Machine != "" {
		event.Related = "machine/" + first.Machine
		event.Message += ", sent to " + first.Machine
	}
	if s.To > 0 {
		event.Cause, event.Reason, event.Related = s.ended, "RequestsSucceed", ""
		event.Message = fmt.Sprintf("requests are answered since %s: %d of %d had failed in %s", Clock(s.To), s.Failed,
			s.Sent, inWords(s.To-s.From))
	}
	p.process.Scope().Emit(event)
}

// view is what conditions see; an outage that goes on counts up to now.
func (p *probe) view(now time.Duration) condition.TrafficView {
	m := &p.met
	v := condition.TrafficView{OK: m.ok, Failed: m.failed, Up: m.up, LongestOutage: m.longest}
	if !m.up && m.failed > 0 {
		v.LongestOutage = max(v.LongestOutage, now-m.lastOK)
	}
	return v
}

func (r *Run) trafficViews() map[string]condition.TrafficView {
	views := map[string]condition.TrafficView{}
	for _, p := range r.probes {
		views[p.spec.Name] = p.view(r.Now())
	}
	return views
}
