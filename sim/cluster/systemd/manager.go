package systemd

import (
	"fmt"
	"path"
	"sort"
	"strings"
	"time"

	"ksim/sim"
	"ksim/sim/hardware"
)

// UnitDir is where unit files lie.
const UnitDir = "/etc/systemd/system"

// Program is an executable: what a process of that name does with its arguments, the program's name not among them.
type Program func(p *hardware.Process, argv []string)

// Manager is the init of one machine.
type Manager struct {
	machine  *hardware.Machine
	programs map[string]Program
	loaded   map[string]*service
	order    []string // as loaded
	enabled  map[string]bool
	stopping bool
	delay    *delay
}

// delay is a process's inhibitor lock on shutdown (systemd-inhibit(1), mode delay).
type delay struct {
	process *hardware.Process
	atMost  time.Duration
	prepare func(done func())
}

// State is the ActiveState of a service.
type State string

// The states.
const (
	Active       State = "active"
	Activating   State = "activating" // waits for its restart
	Deactivating State = "deactivating"
	Inactive     State = "inactive"
	Failed       State = "failed"
)

type service struct {
	name     string
	file     *file
	state    State
	process  *hardware.Process
	restart  sim.Timer
	starts   []sim.Time // within the limit's interval
	restarts int
	status   hardware.ExitStatus
	since    sim.Time
	wanted   bool // false: an administrator stopped it
	onStop   []func()
}

// Install makes a machine's init: at every boot the enabled services start. Programs are named by the last element of
// ExecStart's path.
func Install(m *hardware.Machine, programs map[string]Program) *Manager {
	s := &Manager{machine: m, programs: programs, loaded: map[string]*service{}, enabled: map[string]bool{}}
	m.OnBoot(s.boot)
	m.OnShutdown(s.shutdown)
	return s
}

// Machine returns the machine.
func (s *Manager) Machine() *hardware.Machine { return s.machine }

// Enable has a service start at every boot.
func (s *Manager) Enable(name string) error {
	if _, err := s.read(name); err != nil {
		return err
	}
	s.enabled[name] = true
	return nil
}

// Disable ends Enable.
func (s *Manager) Disable(name string) { delete(s.enabled, name) }

// Enabled reports whether the service starts at boot.
func (s *Manager) Enabled(name string) bool { return s.enabled[name] }

func (s *Manager) boot() {
	s.stopping = false
	s.loaded, s.order = map[string]*service{}, nil
	for _, p := range s.machine.Disk().List(UnitDir) {
		if name, isService := strings.CutSuffix(path.Base(p), ".service"); isService && s.enabled[name] {
			_ = s.Start(name) // a broken unit file: the service does not start, as on a real machine
		}
	}
}

// read parses the service's unit file.
func (s *Manager) read(name string) (*file, error) {
	text, err := s.machine.Disk().ReadFile(UnitDir + "/" + name + ".service")
	if err != nil {
		return nil, fmt.Errorf("Unit %s.service not found.", name)
	}
	known := s.machine.Datacenter().Kernel().Memo(unitMemo{}, func() any { return map[string]*file{} }).(map[string]*file)
	if f := known[string(text)]; f != nil {
		return f, nil
	}
	f, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("Unit %s.service has a bad unit file setting.", name)
	}
	known[string(text)] = f
	return f, nil
}

// unitMemo is the key of the parsed unit files by their text: hundreds of machines have the same, and a file that was
// parsed is only read.
type unitMemo struct{}

// service returns the loaded service, loading it if its file is there.
func (s *Manager) service(name string) (*service, error) {
	if u := s.loaded[name]; u != nil {
		return u, nil
	}
	f, err := s.read(name)
	if err != nil {
		return nil, err
	}
	u := &service{name: name, file: f, state: Inactive, since: s.machine.Scope().Now()}
	s.loaded[name] = u
	s.order = append(s.order, name)
	return u, nil
}

// DaemonReload reads all unit files again.
func (s *Manager) DaemonReload() {
	for _, name := range s.order {
		if f, err := s.read(name); err == nil {
			s.loaded[name].file = f
		}
	}
}

// Start starts a service; starting one that runs does nothing.
func (s *Manager) Start(name string) error {
	u, err := s.service(name)
	if err != nil {
		return err
	}
	u.wanted = true
	if u.state == Active || u.state == Deactivating {
		return nil
	}
	u.starts = nil
	s.run(u)
	return nil
}

// Stop sends SIGTERM, and SIGKILL after TimeoutStopSec; done (may be nil) is called once the process has ended.
func (s *Manager) Stop(name string, done func()) error {
	u, err := s.service(name)
	if err != nil {
		return err
	}
	u.wanted = false
	u.restart.Stop()
	if u.process == nil {
		s.enter(u, Inactive)
		if done != nil {
			s.machine.Scope().After(0, "stopped", done)
		}
		return nil
	}
	if done != nil {
		u.onStop = append(u.onStop, done)
	}
	if u.state == Deactivating {
		return nil
	}
	s.enter(u, Deactivating)
	process := u.process
	process.Signal(hardware.SIGTERM)
	s.machine.Scope().After(u.file.timeoutStop, "TimeoutStopSec", func() { process.Signal(hardware.SIGKILL) })
	return nil
}

// Restart stops and starts a service; done (may be nil) is called when it has been started.
func (s *Manager) Restart(name string, done func()) error {
	return s.Stop(name, func() {
		_ = s.Start(name) // cannot fail: Stop has loaded it
		if done != nil {
			done()
		}
	})
}

// Status is what systemctl status knows of a service.
type Status struct {
	Name, Description string
	State             State
	Enabled           bool
	Process           *hardware.Process // nil: none
	Exit              hardware.ExitStatus
	Restarts          int
	Since             sim.Time
}

// Status returns a service's status. Errors: no such unit.
func (s *Manager) Status(name string) (Status, error) {
	u, err := s.service(name)
	if err != nil {
		return Status{}, err
	}
	return Status{Name: name, Description: u.file.description, State: u.state, Enabled: s.enabled[name],
		Process: u.process, Exit: u.status, Restarts: u.restarts, Since: u.since}, nil
}

// Services returns the names of all loaded services, sorted.
func (s *Manager) Services() []string {
	names := append([]string(nil), s.order...)
	sort.Strings(names)
	return names
}

func (s *Manager) enter(u *service, state State) {
	u.state, u.since = state, s.machine.Scope().Now()
}

// run starts the service's process, unless it was started too often.
func (s *Manager) run(u *service) {
	scope := s.machine.Scope()
	if u.file.limitWithin > 0 {
		recent := u.starts[:0]
		for _, t := range u.starts {
			if scope.Now().Sub(t) < u.file.limitWithin {
				recent = append(recent, t)
			}
		}
		u.starts = recent
		if len(u.starts) >= u.file.limitBurst {
			s.enter(u, Failed)
			scope.Emit(sim.Event{Level: sim.Story, Component: "systemd", Reason: "StartLimitHit",
				Object: "service/" + s.machine.Name + "/" + u.name,
				Message: fmt.Sprintf("%s.service: started %d times within %s; systemd gives it up", u.name, len(u.starts),
					u.file.limitWithin), Setting: "StartLimitBurst"})
			return
		}
		u.starts = append(u.starts, scope.Now())
	}
	argv := u.file.execStart
	name := path.Base(argv[0])
	program := s.programs[name]
	if program == nil {
		u.status = hardware.ExitStatus{Code: 203, Why: "EXEC"} // systemd.exec(5): 203/EXEC
		s.enter(u, Failed)
		return
	}
	s.enter(u, Active)
	p := s.machine.Start(name, func(p *hardware.Process) { program(p, argv[1:]) })
	u.process = p
	p.Wait(scope, func(status hardware.ExitStatus) { s.exited(u, status) })
}

// exited decides what follows the end of a service's process.
func (s *Manager) exited(u *service, status hardware.ExitStatus) {
	u.process, u.status = nil, status
	if u.state == Deactivating || !u.wanted || s.stopping {
		s.enter(u, Inactive)
		waiting := u.onStop
		u.onStop = nil
		for _, fn := range waiting {
			fn()
		}
		return
	}
	clean := status.Code == 0 || status.Code == 143
	if !clean {
		s.machine.Scope().Emit(sim.Event{Level: sim.Story, Component: "systemd", Reason: "ServiceExited",
			Object: "service/" + s.machine.Name + "/" + u.name,
			Message: fmt.Sprintf("%s.service on %s: main process exited with status %d: %s", u.name, s.machine.Name,
				status.Code, firstLine(status.Why))})
	}
	if u.file.restart != "always" && (u.file.restart != "on-failure" || clean) {
		if clean {
			s.enter(u, Inactive)
		} else {
			s.enter(u, Failed)
		}
		return
	}
	s.enter(u, Activating)
	u.restarts++
	u.restart = s.machine.Scope().After(u.file.restartAfter, "RestartSec", func() { s.run(u) })
}

// DelayShutdown has a clean shutdown wait, at most that long, until prepare has called done; it holds while the process
// lives. One lock is held at a time: a machine has one kubelet.
func (s *Manager) DelayShutdown(p *hardware.Process, atMost time.Duration, prepare func(done func())) {
	s.delay = &delay{p, atMost, prepare}
}

// firstLine keeps a reason on one line.
func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// shutdown ends all processes of the machine as a clean stop does: SIGTERM to every one, SIGKILL after the default stop
// time-out, then done.
func (s *Manager) shutdown(done func()) {
	if d := s.delay; d != nil && d.process.Alive() && d.atMost > 0 {
		s.delay = nil
		once := func() {
			if s.machine.Up() && !s.stopping {
				s.shutdown(done)
			}
		}
		s.machine.Scope().After(d.atMost, "InhibitDelayMaxSec", once)
		d.prepare(once)
		return
	}
	s.stopping = true
	for _, name := range s.order {
		s.loaded[name].restart.Stop()
	}
	scope := s.machine.Scope()
	finished := false
	finish := func() {
		if !finished {
			finished = true
			done()
		}
	}
	running := append([]*hardware.Process(nil), s.machine.Processes()...)
	left := len(running)
	if left == 0 {
		finish()
		return
	}
	for _, p := range running {
		p.Wait(scope, func(hardware.ExitStatus) {
			if left--; left == 0 {
				finish()
			}
		})
		p.Signal(hardware.SIGTERM)
	}
	// 90 s: DefaultTimeoutStopSec, systemd-system.conf(5).
	scope.After(defaultStop, "DefaultTimeoutStopSec", finish)
}
