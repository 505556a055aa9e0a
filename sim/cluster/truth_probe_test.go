package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

const (
	probeEvery = 200 * time.Millisecond
	probeLimit = 10 * time.Second
)

// probe asks again and again, as the recordings' clients do: W, R and C on a new connection each, whether the one
// before was answered or not; WK and RK one after the other on a connection that is kept until it breaks; D a
// machine directly.
type probe struct {
	rig     *rig
	name    string
	addr    string
	kept    *hardware.Transport
	request func() *api.Request
	tries   []try
}

// try is one request.
type try struct {
	began, ended sim.Time
	err          error
}

// startProbes starts all of them.
func (r *rig) startProbes() {
	create(r.t, r.Cluster, configMap("probe"), configMap("idle"))
	r.prober = r.Machine(spec.Admin).Start("probe", func(*hardware.Process) {})
	server := spec.BalancerName + ":6443"
	// One after the other, so that of three kept connections one is on each server.
	for _, name := range []string{"WK", "RK", "WB", "WI"} {
		for i := range 3 {
			if full := fmt.Sprintf("%s%d", name, i+1); strings.HasSuffix(name, "K") {
				r.probe(full, server).closed()
			} else {
				(&watcher{rig: r, name: full}).connect()
			}
			r.wait(20 * time.Millisecond)
		}
	}
	for _, name := range []string{"W", "R", "C"} {
		r.probe(name, server).open()
	}
	for _, h := range r.hosts {
		if h.Role == spec.RoleControlPlane {
			for _, path := range []string{"livez", "readyz"} {
				p := r.probe(path+" "+h.Name, h.Name+":6443")
				p.request = func() *api.Request { return &api.Request{Verb: api.Get, Path: "/" + path} }
				p.direct()
			}
		}
	}
	r.wait(10*time.Second + 70*time.Millisecond) // the fault falls between two probes
}

// stopProbes ends them.
func (r *rig) stopProbes() { r.prober.Signal(hardware.SIGKILL) }

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}}
}

func (r *rig) probe(name, addr string) *probe {
	p := &probe{rig: r, name: name, addr: addr}
	read := api.Request{Verb: api.Get, Resource: api.ConfigMaps, Namespace: "default", Name: "probe"}
	switch name[0] {
	case 'W':
		n := 0
		p.request = func() *api.Request {
			n++
			return &api.Request{Verb: api.Patch, Resource: api.ConfigMaps, Namespace: "default", Name: "probe",
				Patch:     []byte(fmt.Sprintf(`{"data":{"%s":"%d"}}`, name, n)),
				PatchType: types.MergePatchType}
		}
	case 'C':
		read.ResourceVersion = "0"
		fallthrough
	default:
		p.request = func() *api.Request { r := read; return &r }
	}
	r.probes = append(r.probes, p)
	return p
}

func (p *probe) send(t *hardware.Transport, done func(error)) {
	request := p.request()
	request.User, request.UserAgent, request.Within = "kubernetes-admin", "probe", probeLimit
	began := p.rig.kernel.Now()
	t.Start(p.addr, request, probeLimit, func(resp any, err error) {
		one := try{began: began, ended: p.rig.kernel.Now(), err: err}
		if answer, ok := resp.(*api.Response); ok && answer.Status >= 400 {
			one.err = fmt.Errorf("HTTP %d %s", answer.Status, answer.Body)
		}
		p.tries = append(p.tries, one)
		done(one.err)
	})
}

// open asks at a fixed pace.
func (p *probe) open() {
	p.rig.prober.Scope().After(probeEvery, p.name, p.open)
	t := hardware.NewTransport(p.rig.prober, hardware.TransportConfig{})
	p.send(t, func(error) { t.Close() })
}

// closed asks a pause after each answer; a connection that met an error is given up.
func (p *probe) closed() {
	if p.kept == nil {
		p.kept = hardware.NewTransport(p.rig.prober, hardware.TransportConfig{})
	}
	began := p.rig.kernel.Now()
	p.send(p.kept, func(err error) {
		var status apierrors.APIStatus
		if err != nil && !asStatus(err, &status) {
			p.kept.Close()
			p.kept = nil
		}
		p.rig.prober.Scope().After(max(0, probeEvery-p.rig.kernel.Now().Sub(began)), p.name, p.closed)
	})
}

// direct asks a machine half a second after each answer, and notes what it says when that changes.
func (p *probe) direct() {
	t := hardware.NewTransport(p.rig.prober, hardware.TransportConfig{})
	began := p.rig.now()
	p.send(t, func(err error) {
		t.Close()
		text := "ok"
		if err != nil {
			text, _, _ = strings.Cut(err.Error(), "\n")
		}
		if who := "D " + p.name; p.rig.state[who] != text {
			p.rig.state[who] = text
			p.rig.marks = append(p.rig.marks, mark{began, who, text})
		}
		p.rig.prober.Scope().After(500*time.Millisecond, p.name, p.direct)
	})
}

func asStatus(err error, status *apierrors.APIStatus) bool {
	s, ok := err.(apierrors.APIStatus) //nolint:errorlint // the transport returns the server's own
	*status = s
	return ok
}

// failed returns the failures of requests that began in a span.
func (p *probe) failed(from, to float64) []try {
	var all []try
	for _, one := range p.tries {
		if one.err != nil && p.rig.since(one.began) >= from && p.rig.since(one.began) < to {
			all = append(all, one)
		}
	}
	return all
}

// slow counts answers that took longer than so many seconds.
func (p *probe) slow(than float64) int {
	n := 0
	for _, one := range p.tries {
		if one.err == nil && one.ended.Sub(one.began).Seconds() > than {
			n++
		}
	}
	return n
}

// slowest returns how long the slowest answer took.
func (p *probe) slowest() (longest float64) {
	for _, one := range p.tries {
		if one.err == nil {
			longest = max(longest, one.ended.Sub(one.began).Seconds())
		}
	}
	return longest
}

// successes counts answers that came in a span.
func (r *rig) successes(name string, from, to float64) (n int) {
	for _, one := range r.named(name).tries {
		if at := r.since(one.ended); one.err == nil && at >= from && at < to {
			n++
		}
	}
	return n
}

// lastFailure returns when the last request began that failed.
func (r *rig) lastFailure(names ...string) (last float64) {
	for _, name := range names {
		for _, one := range r.named(name).failed(-1, 1e6) {
			last = max(last, r.since(one.began))
		}
	}
	return last
}

// gap returns the longest time without a success that touches a span, and when it began.
func (p *probe) gap(from, to float64) (length, began float64) {
	var good []float64
	for _, one := range p.tries {
		if one.err == nil {
			good = append(good, p.rig.since(one.ended))
		}
	}
	slices.Sort(good)
	for i := 1; i < len(good); i++ {
		if d := good[i] - good[i-1]; d > length && good[i] >= from && good[i-1] <= to {
			length, began = d, good[i-1]
		}
	}
	return length, began
}

func (p *probe) summary() string {
	texts := map[string]int{}
	first, last, n := 0.0, 0.0, 0
	for _, one := range p.tries {
		if one.err != nil {
			if n == 0 {
				first = p.rig.since(one.began)
			}
			n++
			last = p.rig.since(one.began)
			text, _, _ := strings.Cut(one.err.Error(), "\n")
			texts[text]++
		}
	}
	gap, at := p.gap(-10, 1e6)
	return fmt.Sprintf("%s: %d tries, %d failed %.2f..%.2f, gap %.2f at %.2f, %d slow, %v", p.name, len(p.tries), n,
		first, last, gap, at, p.slow(0.9), texts)
}

// watcher keeps a watch open: on an object that is written often, or on one that never is.
type watcher struct {
	rig  *rig
	name string
	last sim.Time
}

func (w *watcher) connect() {
	name, r := "probe", w.rig
	if strings.HasPrefix(w.name, "WI") {
		name = "idle"
	}
	t := hardware.NewTransport(r.prober, hardware.TransportConfig{})
	up := false
	request := &api.Request{Verb: api.Watch, Resource: api.ConfigMaps, Namespace: "default", ResourceVersion: "0",
		FieldSelector: fields.OneTermEqualSelector("metadata.name", name), User: "kubernetes-admin", UserAgent: "probe"}
	t.Stream(spec.BalancerName+":6443", request, func(any) {
		now := r.kernel.Now()
		if !up {
			up, w.last = true, now
			r.change("watch "+w.name, "up")
		}
		if gap := now.Sub(w.last); name == "probe" && gap > time.Second {
			text := fmt.Sprintf("gap %.2f", gap.Seconds())
			r.marks = append(r.marks, mark{r.since(w.last), "watch " + w.name, text})
		}
		w.last = now
	}, func(err error) {
		if up {
			r.change("watch "+w.name, "break "+fmt.Sprint(err))
		}
		t.Close()
		r.prober.Scope().After(100*time.Millisecond, w.name, w.connect)
	})
}

// named returns a probe.
func (r *rig) named(name string) *probe {
	for _, p := range r.probes {
		if p.name == name {
			return p
		}
	}
	r.t.Fatalf("no probe %s", name)
	return nil
}
