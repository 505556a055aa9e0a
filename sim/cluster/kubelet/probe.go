package kubelet

import (
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/containerd"
	"ksim/sim/hardware"
)

// Models the probes themselves (pkg/kubelet/prober/prober.go, pkg/probe, v1.36): HTTP asked of simulated components
// over the machine's network; commands played; servers answer as their behaviour says.

// probeTransport asks components of the machine. The real prober opens a connection for each probe; here one is kept,
// whose end is noticed as early.
type probeTransport struct {
	kl        *Kubelet
	transport *hardware.Transport
}

func (t *probeTransport) init(kl *Kubelet) { t.kl = kl }

func (t *probeTransport) get() *hardware.Transport {
	if t.transport == nil {
		t.transport = hardware.NewTransport(t.kl.process, hardware.TransportConfig{})
	}
	return t.transport
}

// probe asks the container and goes on with the answer.
func (w *probeWorker) probe(pod *corev1.Pod, s *corev1.ContainerStatus) {
	kl := w.kl
	run := kl.runOf(w.uid, s.ContainerID)
	if run == nil {
		w.schedule(kl.kernel.Now())
		return
	}
	if run.Process() != nil && w.spec.HTTPGet != nil {
		w.ask(pod, run)
		return
	}
	result, message, takes := w.outcome(pod, run)
	if takes > 0 {
		w.probing = true
		kl.scope.After(takes, "probe", func() {
			w.probing = false
			w.answered(pod, result, message)
			w.again(run, result)
		})
		return
	}
	w.answered(pod, result, message)
	w.again(run, result)
}

// runOf finds a run of a pod's container by its ID.
func (kl *Kubelet) runOf(uid types.UID, id string) *containerd.Container {
	status, err := kl.runtime.Status(uid)
	if err != nil {
		return nil
	}
	for _, c := range status.Containers {
		if c.StatusID == id {
			return c
		}
	}
	return nil
}

// again schedules the next tick that can matter.
func (w *probeWorker) again(run *containerd.Container, result probeResult) {
	if w.stopped || w.onHold {
		return
	}
	now := w.kl.kernel.Now()
	settled := result == success && w.kl.probes.results[w.kind][w.container] == success
	if !settled || run == nil || run.Process() != nil || w.spec.Exec != nil && commandTakesTime(w.spec) {
		w.schedule(now)
		return
	}
	if change, ok := run.NextChange(now); ok {
		w.schedule(change - 1)
	}
}

func commandTakesTime(spec *corev1.Probe) bool {
	script, ok := containerd.ParseCommand(spec.Exec.Command)
	if !ok {
		return false
	}
	takes, _, _ := script.Outcome()
	return takes != 0
}

// outcome is what a server or a played command answers, and after what time.
func (w *probeWorker) outcome(pod *corev1.Pod, run *containerd.Container) (probeResult, string, time.Duration) {
	now := w.kl.kernel.Now()
	answers := run.Answers(now)
	if w.kind != readiness {
		answers = run.AnswersLiveness(now)
	}
	address := fmt.Sprintf("%s:%d", w.podIP(), w.port(pod))
	switch {
	case w.spec.Exec != nil:
		if script, ok := containerd.ParseCommand(w.spec.Exec.Command); ok && answers {
			return w.command(script)
		}
		if !answers {
			return failure, "not ok", 0
		}
	case !run.Serves():
		// A command that listens nowhere.
		if w.spec.HTTPGet != nil {
			return failure, fmt.Sprintf("Get %q: dial tcp %s: connect: connection refused", w.url(address), address), 0
		}
		return failure, fmt.Sprintf("dial tcp %s: connect: connection refused", address), 0
	case !answers && w.spec.HTTPGet != nil:
		return failure, "HTTP probe failed with statuscode: 503", 0
	case !answers:
		return failure, fmt.Sprintf("dial tcp %s: connect: connection refused", address), 0
	}
	return success, "", 0
}

func (w *probeWorker) command(script *containerd.Script) (probeResult, string, time.Duration) {
	takes, status, output := script.Outcome()
	timeout := w.timeout()
	if takes == containerd.Never || takes > timeout {
		return failure, fmt.Sprintf("command timed out: %q timed out after %s", w.spec.Exec.Command, timeout), timeout
	}
	if status != 0 {
		return failure, output, takes
	}
	return success, "", takes
}

func (w *probeWorker) podIP() string {
	if status := w.kl.status.get(w.uid); status != nil {
		return status.PodIP
	}
	return ""
}

func (w *probeWorker) url(address string) string {
	scheme := "http"
	if w.spec.HTTPGet.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	return scheme + "://" + address + w.spec.HTTPGet.Path
}

// port is the probe's, looked up by name among the container's.
func (w *probeWorker) port(pod *corev1.Pod) int { return probePort(w.spec, containerSpec(pod, w.name)) }

// probePort is the port that a probe asks, 0 if it is none or asks no port.
func probePort(probe *corev1.Probe, of *corev1.Container) int {
	var port int32
	var name string
	switch {
	case probe == nil:
	case probe.HTTPGet != nil:
		port, name = probe.HTTPGet.Port.IntVal, probe.HTTPGet.Port.StrVal
	case probe.TCPSocket != nil:
		port, name = probe.TCPSocket.Port.IntVal, probe.TCPSocket.Port.StrVal
	case probe.GRPC != nil:
		port = probe.GRPC.Port
	}
	if name == "" || of == nil {
		return int(port)
	}
	for _, p := range of.Ports {
		if p.Name == name {
			return int(p.ContainerPort)
		}
	}
	return 0
}

// address is where the probe of a program goes: to the machine itself.
func (w *probeWorker) address(pod *corev1.Pod) string {
	if w.target != "" {
		return w.target
	}
	host := w.spec.HTTPGet.Host
	if host == "" || host == w.podIP() {
		host = "127.0.0.1"
	}
	target := fmt.Sprintf("%s:%d", host, w.port(pod))
	if w.podIP() != "" {
		w.target = target
	}
	return target
}

// ask sends the probe to a simulated component. A tick that passes meanwhile is made up for at once.
func (w *probeWorker) ask(pod *corev1.Pod, run *containerd.Container) {
	kl := w.kl
	address := w.address(pod)
	begun := kl.kernel.Now()
	w.probing = true
	request := &api.Request{Verb: api.Get, Path: w.spec.HTTPGet.Path, User: "system:anonymous",
		UserAgent: kl.probes.userAgent}
	kl.probes.web.get().Start(address, request, w.timeout(), func(answer any, err error) {
		w.probing = false
		result, message := w.judge(answer, err, address)
		w.answered(pod, result, message)
		if w.stopped || w.onHold {
			return
		}
		if tick := nextTick(w.base, begun.Add(time.Nanosecond), w.period()); tick < kl.kernel.Now() {
			w.timer.Stop()
			w.timer = kl.scope.AfterRun(0, "probe", w)
			return
		}
		w.again(run, result)
	})
}

// judge says what an answer means: 200 to 399 is healthy (pkg/probe/http/http.go).
func (w *probeWorker) judge(answer any, err error, address string) (probeResult, string) {
	response, ok := answer.(hardware.HTTPAnswer)
	status := 0
	if ok {
		status, _ = response.HTTPStatus()
	}
	switch {
	case errors.Is(err, sim.ErrTimeout):
		return failure,
			fmt.Sprintf("Get %q: context deadline exceeded (Client.Timeout exceeded while awaiting headers)", w.url(address))
	case err != nil:
		return failure, fmt.Sprintf("Get %q: %v", w.url(address), err)
	case !ok:
		return failure, fmt.Sprintf("Get %q: malformed HTTP response", w.url(address))
	case status != 0 && (status < 200 || status >= 400):
		return failure, fmt.Sprintf("HTTP probe failed with statuscode: %d", status)
	}
	return success, ""
}
