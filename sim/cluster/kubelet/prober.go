package kubelet

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/cluster/containerd"
)

// Models the kubelet's prober (pkg/kubelet/prober/{worker,prober_manager}.go, v1.36): a worker for each probe of each
// container, its ticks, thresholds and results. A tick that cannot change anything is left out: of a container whose
// answer is known until a known time, and of one that waits for news of its container. Leaves out: gRPC beyond asking
// the port.

type probeType uint8

const (
	liveness probeType = iota
	readiness
	startup
)

func (t probeType) String() string { return [...]string{"Liveness", "Readiness", "Startup"}[t] }

type probeResult uint8

const (
	unknown probeResult = iota
	success
	failure
)

// proberManager holds the workers, and the results that are in force by container.
type proberManager struct {
	kl      *Kubelet
	byPod   map[types.UID][]*probeWorker
	results [3]map[string]probeResult // by container ID
	web     probeTransport

	userAgent string
}

// probeWorker runs one probe of one container.
type probeWorker struct {
	kl        *Kubelet
	uid       types.UID
	kind      probeType
	name      string // of the container
	initial   bool   // an init container
	spec      *corev1.Probe
	base      sim.Time // a tick
	container string   // ID
	last      probeResult
	run       int // how often in a row
	onHold    bool
	stopped   bool
	probing   bool
	target    string // machine:port of a program, once it is known
	timer     sim.Timer
}

func (m *proberManager) init(kl *Kubelet) {
	m.kl, m.byPod = kl, map[types.UID][]*probeWorker{}
	for i := range m.results {
		m.results[i] = map[string]probeResult{}
	}
	m.web.init(kl)
	m.userAgent = "kube-probe/" + kl.options.Release.MinorVersion()[1:]
}

// add makes the workers of a pod that are not there yet (AddPod).
func (m *proberManager) add(w *podWorker, pod *corev1.Pod) {
	for i := range pod.Spec.Containers {
		m.addContainer(w, &pod.Spec.Containers[i], false)
	}
	for i := range pod.Spec.InitContainers {
		if isSidecar(&pod.Spec.InitContainers[i]) {
			m.addContainer(w, &pod.Spec.InitContainers[i], true)
		}
	}
}

func (m *proberManager) addContainer(w *podWorker, c *corev1.Container, initial bool) {
	specs := [...]*corev1.Probe{liveness: c.LivenessProbe, readiness: c.ReadinessProbe, startup: c.StartupProbe}
	for kind, spec := range specs {
		kind := probeType(kind)
		if spec == nil || kind == startup && !m.kl.options.Release.StartupProbes || m.worker(w.uid, c.Name, kind) != nil {
			continue
		}
		worker := &probeWorker{kl: m.kl, uid: w.uid, kind: kind, name: c.Name, initial: initial, spec: spec}
		m.byPod[w.uid] = append(m.byPod[w.uid], worker)
		worker.base = m.kl.kernel.Now()
		if period := worker.period(); period > m.kl.kernel.Now().Sub(m.kl.began) {
			worker.base = worker.base.Add(m.kl.rand().Between(0, period))
		}
		worker.timer = m.kl.scope.AtRun(worker.base, "probe", worker)
	}
}

func (m *proberManager) worker(uid types.UID, name string, kind probeType) *probeWorker {
	for _, w := range m.byPod[uid] {
		if w.name == name && w.kind == kind {
			return w
		}
	}
	return nil
}

// stopLivenessAndStartup ends those probes of a pod that is being terminated.
func (m *proberManager) stopLivenessAndStartup(uid types.UID) {
	for _, w := range append([]*probeWorker(nil), m.byPod[uid]...) {
		if w.kind != readiness {
			w.stop()
		}
	}
}

// remove ends all probes of a pod.
func (m *proberManager) remove(uid types.UID) {
	for _, w := range append([]*probeWorker(nil), m.byPod[uid]...) {
		w.stop()
	}
}

func (w *probeWorker) stop() {
	w.stopped = true
	w.timer.Stop()
	m := &w.kl.probes
	if w.container != "" {
		delete(m.results[w.kind], w.container)
	}
	list := m.byPod[w.uid]
	for i, other := range list {
		if other == w {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	m.byPod[w.uid] = list
	if len(list) == 0 {
		delete(m.byPod, w.uid)
	}
}

// failed reports whether a probe's result in force says that the container, by its ID in statuses, must be restarted.
func (m *proberManager) failed(id string, kind probeType) bool {
	return m.results[kind][id] == failure
}

// started reports whether a sidecar has started, so that what comes after it may.
func (m *proberManager) started(pod *corev1.Pod, spec *corev1.Container, c *containerd.Container) bool {
	if m.worker(pod.UID, spec.Name, startup) == nil {
		return true
	}
	return m.results[startup][c.StatusID] == success
}

// setReadiness sets Started and Ready of all containers in a status (UpdatePodStatus). A readiness probe that has not
// succeeded yet is asked again at once.
func (m *proberManager) setReadiness(pod *corev1.Pod, status *corev1.PodStatus) {
	for i := range status.ContainerStatuses {
		m.setContainer(pod, &status.ContainerStatuses[i])
	}
	for i := range status.InitContainerStatuses {
		s := &status.InitContainerStatuses[i]
		if isSidecar(&pod.Spec.InitContainers[i]) {
			m.setContainer(pod, s)
			continue
		}
		begun := s.State.Running != nil
		s.Started = m.kl.draft.bool(begun)
		s.Ready = s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
	}
}

func (m *proberManager) setContainer(pod *corev1.Pod, s *corev1.ContainerStatus) {
	begun := m.containerStarted(pod, s)
	s.Started = m.kl.draft.bool(begun)
	if !begun || s.State.Running == nil {
		return
	}
	result, known := m.results[readiness][s.ContainerID]
	if known && result == success {
		s.Ready = true
		return
	}
	worker := m.worker(pod.UID, s.Name, readiness)
	s.Ready = worker == nil
	if worker != nil {
		worker.trigger()
	}
	m.keepReady(pod, s, known, worker != nil || hasReadinessProbe(pod, s.Name))
}

func hasReadinessProbe(pod *corev1.Pod, name string) bool {
	spec := containerSpec(pod, name)
	return spec != nil && spec.ReadinessProbe != nil
}

// keepReady lets a container that ran before this kubelet began keep the readiness that the API shows until it was
// probed (setReadyStateOnKubeletRestart, from v1.35).
func (m *proberManager) keepReady(pod *corev1.Pod, s *corev1.ContainerStatus, known, probed bool) {
	if m.kl.options.Release.Minor < 35 || !m.beforeRestart(s) {
		return
	}
	if !known {
		s.Ready = true
	}
	if !probed {
		return
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return
		}
	}
	s.Ready = false
}

// restartGrace: 10 s (kubeletRestartGracePeriod, pkg/kubelet/prober/prober_manager.go).
const restartGrace = 10 * time.Second

func (m *proberManager) beforeRestart(s *corev1.ContainerStatus) bool {
	began := m.kl.machine.Clock().Now().Add(-m.kl.kernel.Now().Sub(m.kl.began))
	return s.State.Running != nil && s.State.Running.StartedAt.Time.Before(began.Add(-restartGrace))
}

func (m *proberManager) containerStarted(pod *corev1.Pod, s *corev1.ContainerStatus) bool {
	if s.State.Running == nil {
		return false
	}
	if result, ok := m.results[startup][s.ContainerID]; ok {
		return result == success
	}
	if m.kl.options.Release.Minor >= 35 && s.Started != nil && *s.Started {
		return true
	}
	return m.worker(pod.UID, s.Name, startup) == nil
}

// statusChanged wakes the workers of a pod that wait for news of its containers.
func (m *proberManager) statusChanged(uid types.UID) {
	for _, w := range m.byPod[uid] {
		if !w.timer.Pending() && !w.probing {
			w.schedule(m.kl.kernel.Now())
		}
	}
}

func (w *probeWorker) period() time.Duration {
	if w.spec.PeriodSeconds <= 0 {
		return 10 * time.Second // pkg/apis/core/v1/defaults.go
	}
	return time.Duration(w.spec.PeriodSeconds) * time.Second
}

func (w *probeWorker) timeout() time.Duration {
	if w.spec.TimeoutSeconds <= 0 {
		return time.Second // pkg/apis/core/v1/defaults.go
	}
	return time.Duration(w.spec.TimeoutSeconds) * time.Second
}

func threshold(n, otherwise int32) int {
	if n <= 0 {
		n = otherwise
	}
	return int(n)
}

// schedule has the worker run at its first tick after t.
func (w *probeWorker) schedule(t sim.Time) {
	if w.stopped {
		return
	}
	w.timer.Stop()
	w.timer = w.kl.scope.AtRun(nextTick(w.base, t.Add(time.Nanosecond), w.period()), "probe", w)
}

// trigger runs the probe now, out of turn, and starts the ticker anew (manualTriggerCh).
func (w *probeWorker) trigger() {
	if w.stopped || w.probing || w.kl.kernel.Now() < w.base {
		return
	}
	w.base = w.kl.kernel.Now().Add(manualDelay)
	w.timer.Stop()
	w.timer = w.kl.scope.AtRun(w.base, "probe", w)
}

// manualDelay: the probe is asked by another thread than the status that asks for it. chosen: 1 ms.
const manualDelay = time.Millisecond

// Run is doProbe, at a tick.
func (w *probeWorker) Run() {
	kl, now := w.kl, w.kl.kernel.Now()
	if w.stopped {
		return
	}
	status := kl.status.get(w.uid)
	pod := w.pod()
	if status == nil || pod == nil {
		return // statusChanged wakes it
	}
	if terminalPhase(status.Phase) {
		w.stop()
		return
	}
	s := statusOf(status.ContainerStatuses, w.name)
	if s == nil {
		s = statusOf(status.InitContainerStatuses, w.name)
	}
	if s == nil || s.ContainerID == "" {
		return
	}
	if w.container != s.ContainerID {
		w.adopt(s)
	}
	if w.onHold {
		return
	}
	if s.State.Running == nil {
		w.set(failure)
		if s.State.Terminated != nil && pod.Spec.RestartPolicy == corev1.RestartPolicyNever && !w.initial {
			w.stop()
		}
		return
	}
	if pod.DeletionTimestamp != nil && w.kind != readiness {
		w.set(success)
		w.stop()
		return
	}
	if initial := time.Duration(w.spec.InitialDelaySeconds) * time.Second; initial > 0 {
		ran := kl.machine.Clock().Now().Sub(s.State.Running.StartedAt.Time).Truncate(time.Second)
		if ran < initial {
			w.schedule(now.Add(max(initial-ran-time.Second, 0)))
			return
		}
	}
	if begun := s.Started != nil && *s.Started; begun == (w.kind == startup) {
		return
	}
	w.probe(pod, s)
}

func (w *probeWorker) pod() *corev1.Pod {
	if pw := w.kl.workers.get(w.uid); pw != nil {
		return pw.pod
	}
	return nil
}

// adopt takes on a new run of the container.
func (w *probeWorker) adopt(s *corev1.ContainerStatus) {
	m := &w.kl.probes
	if w.container != "" {
		delete(m.results[w.kind], w.container)
	}
	w.container, w.onHold = s.ContainerID, false
	if m.kl.options.Release.Minor >= 35 && m.beforeRestart(s) {
		return
	}
	m.results[w.kind][w.container] = [...]probeResult{liveness: success, readiness: failure, startup: unknown}[w.kind]
}

// answered takes the outcome of a probe: thresholds, then the result in force.
func (w *probeWorker) answered(pod *corev1.Pod, result probeResult, message string) {
	if w.stopped {
		return
	}
	if result == failure {
		trace := sim.Event{Level: sim.Detail}
		if result != w.last {
			trace.Level = storyFor(pod)
		}
		w.kl.kernel.Because(w.kl.record(pod, corev1.EventTypeWarning, "Unhealthy",
			w.kind.String()+" probe failed: "+message, trace))
	}
	if w.last == result {
		w.run++
	} else {
		w.last, w.run = result, 1
	}
	if result == failure && w.run < threshold(w.spec.FailureThreshold, 3) ||
		result == success && w.run < threshold(w.spec.SuccessThreshold, 1) {
		return
	}
	w.set(result)
	if w.kind == liveness && result == failure || w.kind == startup {
		w.onHold, w.run = true, 0
	}
}

// set puts a result in force and tells the sync loop when it is a new one.
func (w *probeWorker) set(result probeResult) {
	m := &w.kl.probes
	if old, ok := m.results[w.kind][w.container]; ok && old == result {
		return
	}
	m.results[w.kind][w.container] = result
	kl := w.kl
	pw := kl.workers.get(w.uid)
	pod := kl.known.get(w.uid)
	if pw == nil || pod == nil {
		return
	}
	switch {
	case w.kind == liveness && result != failure:
		return
	case w.kind == readiness:
		kl.status.containerReady(pod, w.container, result == success)
	case w.kind == startup:
		kl.status.containerStarted(pod, w.container, result == success)
	}
	kl.workers.update(updateOptions{kind: syncSync, pod: pod, mirror: kl.known.mirrorOf(pod)})
}
