package containerd

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/hardware"
)

// State is where a container is in its life.
type State uint8

// The states of a container.
const (
	Created State = iota
	Running
	Exited
)

// Config says what container to create.
type Config struct {
	PodUID    types.UID
	Namespace string
	Pod       string
	SandboxID string
	Name      string
	Attempt   int // how often it was started before: the restart count
	Image     string
	Argv      []string // command and arguments
	Ports     []int    // where it listens if it is a server; none: at any port
	Behaviour Behaviour
	// HostNetwork lets a Program run: it is a process of the machine.
	HostNetwork bool
	// Hash is that of the container's spec, by which the kubelet notices a change.
	Hash string
	// Important is set for what a reader wants told when it crashes: everything but the control plane's own pods is.
	Static bool
}

// Container is one run of a container. Its exported fields must only be read.
type Container struct {
	Config
	ID         string
	StatusID   string // as a pod's status names it: containerd://ID
	State      State
	CreatedAt  time.Time
	StartedAt  time.Time
	FinishedAt time.Time
	Started    sim.Time
	Finished   sim.Time
	ExitCode   int
	Reason     string // Completed, Error, Unknown
	Log        []LogLine
	Stopping   bool // SIGTERM was sent
	Exit       sim.EventID

	runtime  *Runtime
	script   *Script
	process  *hardware.Process
	scope    *sim.Scope
	position int // in the script
	status   int
	wake     sim.Timer
	lost     bool // it ran when the machine lost power
	waiters  []*sim.Future[struct{}]
	pod      *podRecord
	server   *hardware.Server // nil: nobody has connected yet
	sockets  *hardware.Sockets
}

const statusPrefix = "containerd://"

// LogLine is a line of a container's log.
type LogLine struct {
	At   time.Time
	Text string
}

// HasImage reports whether an image is on the machine: it is, unless the behaviour says that it takes time to pull.
func (r *Runtime) HasImage(image string, b Behaviour) bool {
	return !b.PullFails && (b.Pulls == 0 || r.images[image])
}

// ErrPull is the error of a pull that finds no such image.
func ErrPull(image string) error {
	return fmt.Errorf("rpc error: code = NotFound desc = failed to pull and unpack image %q: "+
		"failed to resolve reference %q: %s: not found", image, image, image)
}

// PullImage pulls an image; it returns how long that took.
func (r *Runtime) PullImage(p *sim.Proc, image string, b Behaviour) (time.Duration, error) {
	took := b.Pulls
	if took == 0 || r.images[image] {
		took = r.draw(r.options.Timing.Pull)
	}
	err := r.invokeWithin(p, took, sim.Forever, func() error {
		if b.PullFails {
			return ErrPull(image)
		}
		if r.machine.Disk().Full() {
			return fmt.Errorf("rpc error: code = Unknown desc = failed to pull and unpack image %q: "+
				"no space left on device", image)
		}
		r.images[image] = true
		return nil
	})
	return took, err
}

// CreateContainer makes a container in a sandbox and returns its ID.
func (r *Runtime) CreateContainer(p *sim.Proc, config Config) (*Container, error) {
	c := &Container{Config: config, runtime: r}
	err := r.invoke(p, r.draw(r.options.Timing.Create), func() error {
		s, pod := r.sandbox(config.SandboxID)
		switch {
		case s == nil || !s.Ready:
			return fmt.Errorf("rpc error: code = Unknown desc = failed to find sandbox id %q: not found", config.SandboxID)
		case r.machine.Disk().Full():
			return errors.New("rpc error: code = Unknown desc = failed to reserve container name: no space left on device")
		}
		c.StatusID = r.newID(statusPrefix)
		c.ID, c.CreatedAt, c.pod = c.StatusID[len(statusPrefix):], r.machine.Clock().Now(), pod
		c.script, _ = ParseCommand(config.Argv)
		pod.containers = append([]*Container{c}, pod.containers...)
		r.changed()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// StartContainer starts a created container.
func (r *Runtime) StartContainer(p *sim.Proc, c *Container) error {
	took := c.Behaviour.Starts
	if took == 0 {
		took = r.draw(r.options.Timing.Start)
	}
	return r.invoke(p, took, func() error {
		s, _ := r.sandbox(c.SandboxID)
		if s == nil || !s.Ready || c.State != Created {
			return fmt.Errorf("rpc error: code = Unknown desc = failed to start container %q: sandbox is not running", c.ID)
		}
		r.start(c)
		return nil
	})
}

func (r *Runtime) start(c *Container) {
	c.State, c.StartedAt, c.Started = Running, r.machine.Clock().Now(), r.kernel.Now()
	boot := r.machine.Scope()
	if r.boot != boot {
		r.boot = boot
		boot.OnKill(r.lostPower)
	}
	c.scope = boot.Child(c.Name).Label(r.machine.Name, "containerd")
	c.scope.Emit(sim.Event{Level: sim.Detail, Reason: "ContainerStarted", Object: c.object(), Message: c.Name})
	switch program := r.program(c); {
	case program != nil:
		name := r.programName(c)
		c.process = r.machine.StartInit(name, func(p *hardware.Process) { program(p, c.Argv[min(1, len(c.Argv)):]) })
		c.process.Wait(c.scope, func(status hardware.ExitStatus) { r.ended(c, status.Code, "") })
	case c.Behaviour.RunsSet:
		c.scope.After(c.Behaviour.Runs, "runs", func() { r.ended(c, c.Behaviour.Exits, "") })
	case c.script != nil:
		c.play()
	}
	if c.State == Running {
		r.notify(c.PodUID)
	}
}

// lostPower ends all containers with the machine.
func (r *Runtime) lostPower() {
	for _, pod := range r.order {
		for _, c := range pod.containers {
			if c.State == Running {
				c.lost, c.State, c.Finished = true, Exited, r.kernel.Now()
				c.closeSockets()
				r.changed()
			}
		}
	}
}

// program finds the simulated component that the container is.
func (r *Runtime) program(c *Container) Program {
	if c.script != nil || !c.HostNetwork {
		return nil
	}
	return r.options.Programs[r.programName(c)]
}

func (r *Runtime) programName(c *Container) string {
	if len(c.Argv) > 0 {
		return path.Base(c.Argv[0])
	}
	name := path.Base(c.Image)
	if i := strings.IndexAny(name, ":@"); i >= 0 {
		name = name[:i]
	}
	return name
}

// shellTime is how long a shell takes to begin and end. chosen.
const shellTime = 30 * time.Millisecond

// play runs the script up to its next wait.
func (c *Container) play() {
	next, status, wait, ended := c.script.run(c.position, c.status, func(text string) {
		c.Log = append(c.Log, LogLine{c.runtime.machine.Clock().Now(), text})
	})
	c.position, c.status = next, status
	switch {
	case ended:
		c.wake = c.scope.After(shellTime, "exit", func() { c.runtime.ended(c, c.status, "") })
	case wait != Never:
		c.wake = c.scope.After(wait, "sleep", c.play)
	}
}

// kill ends a container at once.
func (r *Runtime) kill(c *Container, code int, why string) {
	if c.process != nil {
		c.process.Signal(hardware.SIGKILL)
		return
	}
	r.ended(c, code, why)
}

// ended records the exit of a container and tells those who wait.
func (r *Runtime) ended(c *Container, code int, reason string) {
	if c.State != Running {
		return
	}
	c.State, c.FinishedAt, c.Finished, c.ExitCode = Exited, r.machine.Clock().Now(), r.kernel.Now(), code
	c.Reason = "Completed"
	if code != 0 {
		c.Reason = "Error"
	}
	if reason != "" {
		c.Reason = reason
	}
	event := sim.Event{Level: sim.Story, Reason: "ContainerDied", Object: c.object(), Related: "machine/" + r.machine.Name}
	if c.Stopping || code == 0 {
		event.Level = sim.Detail
	}
	event.Message = fmt.Sprintf("container %s exited with status %d (%s) after %s", c.Name, code, c.Reason,
		c.Finished.Sub(c.Started).Round(10*time.Millisecond))
	c.Exit = c.scope.Emit(event)
	r.kernel.Because(c.Exit)
	c.closeSockets()
	c.scope.Kill("exited")
	waiters := c.waiters
	c.waiters = nil
	for _, f := range waiters {
		f.Resolve(struct{}{}, nil)
	}
	r.notify(c.PodUID)
}

func (c *Container) object() string { return "pod/" + c.Namespace + "/" + c.Pod }

// StopContainer sends SIGTERM, waits until the container has ended, and sends SIGKILL when it has not within timeout.
func (r *Runtime) StopContainer(p *sim.Proc, c *Container, timeout time.Duration) error {
	if r.daemon == nil {
		return ErrUnavailable
	}
	if c.State != Running {
		return nil
	}
	done := r.begin(nil)
	exited := sim.NewFuture[struct{}]()
	c.waiters = append(c.waiters, exited)
	kill := r.daemon.Scope().After(timeout, "stop timeout", func() { r.kill(c, 137, "") })
	exited.Then(r.daemon.Scope(), func(struct{}, error) {
		kill.Stop()
		r.finish(done, nil)
	})
	r.terminate(c)
	return r.await(p, done, timeout+requestTimeout)
}

// terminate delivers SIGTERM.
func (r *Runtime) terminate(c *Container) {
	if c.Stopping {
		return
	}
	c.Stopping = true
	r.changed()
	if c.process != nil {
		c.process.Signal(hardware.SIGTERM)
		return
	}
	code, after := 0, c.Behaviour.Stops
	switch {
	case c.Behaviour.StopsSet:
	case c.script != nil && !c.script.HasTrap:
		return
	default:
		after = r.draw(r.options.Timing.Stop)
	}
	if c.script != nil {
		code = c.script.OnTerm
	}
	if after == Never {
		return
	}
	c.scope.After(after, "stops", func() { r.ended(c, code, "") })
}

// RemoveContainer forgets a container that has ended.
func (r *Runtime) RemoveContainer(p *sim.Proc, c *Container) error {
	return r.invoke(p, time.Millisecond, func() error {
		if c.State == Running {
			r.kill(c, 137, "")
		}
		for i, other := range c.pod.containers {
			if other == c {
				c.pod.containers = append(c.pod.containers[:i:i], c.pod.containers[i+1:]...)
				break
			}
		}
		r.changed()
		return nil
	})
}
