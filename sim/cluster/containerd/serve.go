package containerd

import (
	"slices"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Models a node's pod network (CNI plugins bridge and host-local, v1.5): the addresses of a range lie behind the
// machine, and packets for one that no sandbox has meet silence until the kernel gives up to ask for it. Leaves out:
// network policies, host ports, encapsulation.

// Serves reports whether the container is a server: what plays a command listens nowhere, unless its behaviour says
// when it answers.
func (c *Container) Serves() bool {
	return c.script == nil || c.Behaviour.Ready > 0 || c.Behaviour.Healthy > 0
}

// Accepts reports whether the container takes connections at time t: it has become ready, and has not ended.
func (c *Container) Accepts(t sim.Time) bool { return c.Serves() && c.Answers(t) }

// listening finds the container of a sandbox that takes connections at a port. One that declares no port takes them at
// any: to declare ports is for the reader's information. Where none does, who has ended there is the cause.
func (r *Runtime) listening(s *Sandbox, pod *podRecord, port int) *Container {
	now := r.kernel.Now()
	var found *Container
	for _, c := range pod.containers { // newest first
		switch {
		case c.SandboxID != s.ID || c.process != nil:
		case !c.Accepts(now):
			if found == nil {
				r.kernel.Because(c.Exit)
			}
		case slices.Contains(c.Ports, port):
			return c
		case c.Ports == nil:
			found = c
		}
	}
	return found
}

// socket is what a SYN meets at an address of the pods of the machine, or beside the processes at its own.
func (r *Runtime) socket(address string, port int) (s hardware.Socket, known bool) {
	known = address == ""
	if r.bootID != r.machine.BootID() { // nothing of the earlier boot is there
		return s, known
	}
	for _, pod := range r.order {
		for _, sandbox := range pod.sandboxes {
			if !sandbox.Ready || sandbox.IP != address || sandbox.HostNetwork != (address == "") {
				continue
			}
			known = true
			if c := r.listening(sandbox, pod, port); c != nil {
				return c.socket(), true
			}
		}
	}
	return s, known
}

// socket has the container take connections.
func (c *Container) socket() hardware.Socket {
	if c.server == nil {
		c.server = hardware.NewServer(c.answer)
		c.sockets = c.runtime.machine.NewSockets(c.scope)
	}
	return hardware.Socket{Owner: c.sockets, Accept: c.server.Accept}
}

// answer answers a request at once, unless the container hangs: then it is left without an answer.
func (c *Container) answer(call *hardware.Call) {
	if c.AnswersLiveness(c.runtime.kernel.Now()) {
		call.Reply(fine{})
	}
}

// fine is what a server answers: it is a hardware.HTTPAnswer.
type fine struct{}

// HTTPStatus returns 200.
func (fine) HTTPStatus() (status int, body string) { return 200, "" }

// closeSockets resets the connections of a container that has ended.
func (c *Container) closeSockets() {
	if c.sockets != nil {
		c.sockets.Close()
		c.sockets, c.server = nil, nil
	}
}
