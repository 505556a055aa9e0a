package containerd

import (
	"time"

	"ksim/sim"
	"ksim/sim/hardware"
)

// View is what an observer sees of a container: the latest run of each container of each pod.
type View struct {
	Pod, Namespace, Name string
	Running              bool
	Restarts             int
}

// Containers returns the containers of the machine, in the order in which their pods were first run.
func (r *Runtime) Containers() []View {
	var all []View
	for _, pod := range r.order {
		first := len(all)
	next:
		for _, c := range pod.containers { // newest first
			for _, seen := range all[first:] {
				if seen.Name == c.Name {
					continue next
				}
			}
			all = append(all, View{c.Pod, c.Namespace, c.Name, c.State == Running, c.Attempt})
		}
	}
	return all
}

// All returns the containers that the runtime knows, newest first within each pod, for crictl and kubectl logs.
func (r *Runtime) All() []*Container {
	var all []*Container
	for _, pod := range r.order {
		all = append(all, pod.containers...)
	}
	return all
}

// Find returns the newest container of a pod by name, "" meaning its only or first one; nil if there is none.
func (r *Runtime) Find(namespace, pod, name string) *Container {
	for _, record := range r.order {
		for _, c := range record.containers {
			if c.Namespace == namespace && c.Pod == pod && (name == "" || c.Name == name) {
				return c
			}
		}
	}
	return nil
}

// Crash kills the running containers of a pod from outside, as a fault does; it reports whether any ran.
func (r *Runtime) Crash(namespace, pod string) bool {
	found := false
	for _, record := range r.order {
		for _, c := range record.containers {
			if c.Namespace == namespace && c.Pod == pod && c.State == Running {
				r.kill(c, 137, "")
				found = true
			}
		}
	}
	return found
}

// Answers reports whether a server answers at time t what a readiness probe asks.
func (c *Container) Answers(t sim.Time) bool {
	return c.State == Running && t.Sub(c.Started) >= c.Behaviour.Ready
}

// AnswersLiveness reports whether a server answers at time t what a liveness probe asks.
func (c *Container) AnswersLiveness(t sim.Time) bool {
	up := t.Sub(c.Started)
	return c.State == Running && up >= c.Behaviour.Ready && (c.Behaviour.Healthy == 0 || up < c.Behaviour.Healthy)
}

// NextChange returns when, after t, Answers or AnswersLiveness may change by itself; ok is false when never.
func (c *Container) NextChange(t sim.Time) (at sim.Time, ok bool) {
	for _, d := range []time.Duration{c.Behaviour.Ready, c.Behaviour.Healthy} {
		if when := c.Started.Add(d); d > 0 && when > t {
			return when, true
		}
	}
	return 0, false
}

// Script returns what the container plays, nil for a server.
func (c *Container) Script() *Script { return c.script }

// Process returns the process of a simulated component, nil for anything else.
func (c *Container) Process() *hardware.Process { return c.process }
