package hardware

import (
	"time"

	"ksim/sim"
)

// Process is an operating-system process: what a component runs as. Its scope ends with it.
type Process struct {
	Name string
	PID  int

	machine *Machine
	scope   *sim.Scope
	alive   bool
	stopped bool // SIGSTOP
	onTerm  func()
	isInit  bool // the first process of a container
	waiters []exitWaiter
	status  ExitStatus
	sockets Sockets
	view    any
	changed bool // it is in the data centre's list
}

type exitWaiter struct {
	scope *sim.Scope
	fn    func(ExitStatus)
}

// ExitStatus is how a process ended. Code is as a shell shows it: 137 for SIGKILL, 143 for SIGTERM; -1: its machine
// lost power.
type ExitStatus struct {
	Code int
	Why  string
}

// Signal is a POSIX signal.
type Signal int

// The signals that ksim knows.
const (
	SIGTERM Signal = iota
	SIGKILL
	SIGSTOP
	SIGCONT
)

// execTime is how long it takes from fork to main. chosen.
const execTime = time.Millisecond

// Start starts a process; main runs as a callback in its scope. On a machine that is off the process is dead at once.
func (m *Machine) Start(name string, main func(*Process)) *Process {
	m.pids++
	p := &Process{Name: name, PID: 300 + m.pids, machine: m, alive: m.up}
	p.scope = m.scope.Child(name).Label(m.Name, name)
	p.sockets.machine, p.sockets.scope = m, p.scope
	if !m.up {
		p.status = ExitStatus{Code: -1, Why: "machine is off"}
		return p
	}
	m.processes = append(m.processes, p)
	m.touch()
	p.scope.After(execTime, "main", func() { main(p) })
	return p
}

// Processes returns the running processes in the order of their start.
func (m *Machine) Processes() []*Process { return m.processes }

// Machine returns where the process runs.
func (p *Process) Machine() *Machine { return p.machine }

// Scope returns the process's lifetime.
func (p *Process) Scope() *sim.Scope { return p.scope }

// Kernel returns the kernel.
func (p *Process) Kernel() *sim.Kernel { return p.scope.Kernel() }

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool { return p.alive }

// Stopped reports whether the process is stopped by SIGSTOP.
func (p *Process) Stopped() bool { return p.stopped }

// Go starts a simulated thread of the process.
func (p *Process) Go(name string, body func(*sim.Proc)) *sim.Proc { return p.scope.Go(name, body) }

// Publish sets what observers (user interface, expectations, reports) see of the process's inside; components must not
// read one another's.
func (p *Process) Publish(view any) { p.view = view }

// Changed tells observers that what the process published has changed.
func (p *Process) Changed() {
	if !p.changed {
		p.changed = true
		p.machine.dc.changed = append(p.machine.dc.changed, p)
	}
}

// View returns what the process published, nil once it has ended.
func (p *Process) View() any {
	if !p.alive {
		return nil
	}
	return p.view
}

// Exit ends the process: its scope dies, its connections are reset, and who waits for it is told.
func (p *Process) Exit(code int, why string) {
	if !p.alive {
		return
	}
	list := p.machine.processes
	for i, other := range list {
		if other == p {
			p.machine.processes = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	p.machine.touch()
	p.scope.Kill(why)
	p.ended(ExitStatus{Code: code, Why: why})
}

// ended does what the operating system does after the end of a process.
func (p *Process) ended(status ExitStatus) {
	p.alive, p.status = false, status
	p.sockets.abandon()
	if p.machine.listeners != nil {
		for port, l := range p.machine.listeners { // any order: deletes what belongs to the dead process
			if l.process == p {
				delete(p.machine.listeners, port)
			}
		}
	}
	waiters := p.waiters
	p.waiters = nil
	for _, w := range waiters {
		w.scope.After(0, "wait", func() { w.fn(status) })
	}
}

// Wait has fn called in scope s when the process has ended, at once if it has.
func (p *Process) Wait(s *sim.Scope, fn func(ExitStatus)) {
	if !p.alive {
		s.After(0, "wait", func() { fn(p.status) })
		return
	}
	p.waiters = append(p.waiters, exitWaiter{s, fn})
}

// OnTerm sets what the process does on SIGTERM; without it SIGTERM ends the process with 143, or with 2 if it is the
// first of a container.
func (p *Process) OnTerm(fn func()) { p.onTerm = fn }

// StartInit is Start for the first process of a container. The kernel keeps a signal from ending that one, so a program
// in Go that does not handle SIGTERM ends itself with status 2 (runtime/signal_unix.go dieFromSignal, go1.26).
func (m *Machine) StartInit(name string, main func(*Process)) *Process {
	p := m.Start(name, main)
	p.isInit = true
	return p
}

// Signal sends the process a signal. SIGTERM is handled by the process itself, so not before SIGCONT if it is stopped.
func (p *Process) Signal(sig Signal) {
	if !p.alive {
		return
	}
	switch sig {
	case SIGKILL:
		p.Exit(137, "killed")
	case SIGTERM:
		p.scope.After(0, "SIGTERM", func() {
			switch {
			case p.onTerm != nil:
				p.onTerm()
			case p.isInit:
				p.Exit(2, "terminated")
			default:
				p.Exit(143, "terminated")
			}
		})
	case SIGSTOP:
		p.machine.dc.net.disturb()
		p.stopped = true
		p.machine.touch()
		p.scope.Freeze()
	case SIGCONT:
		p.machine.dc.net.disturb()
		p.stopped = false
		p.machine.touch()
		p.scope.Thaw()
	}
}
