package controlplane

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/spf13/pflag"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Models what the mains of kube-controller-manager and kube-scheduler share (cmd/*/app,
// staging/src/k8s.io/component-base, v1.36): flags, health endpoints, the first look at the API. Leaves out: metrics,
// profiling, authentication of callers.

// Flags are the command line flags of a component in one release: those that ksim models, and the names of the real
// ones that it accepts and does nothing with.
type Flags struct {
	*pflag.FlagSet
	accepted map[string]bool
	checks   []flagCheck
}

// flagCheck is about values that must fit together.
type flagCheck struct {
	check func() error
	flags []string
}

// NewFlags makes an empty set for a program.
func NewFlags(program string) *Flags {
	set := pflag.NewFlagSet(program, pflag.ContinueOnError)
	set.Usage = func() {}
	set.SortFlags = true
	return &Flags{FlagSet: set, accepted: map[string]bool{}}
}

// Accept declares real flags that have no effect in ksim.
func (f *Flags) Accept(names ...string) {
	for _, name := range names {
		f.accepted[name] = true
		f.Var(ignored{}, name, "")
	}
}

// AcceptSwitches is Accept for flags that need no value.
func (f *Flags) AcceptSwitches(names ...string) {
	for _, name := range names {
		f.accepted[name] = true
		f.VarPF(ignored{}, name, "", "").NoOptDefVal = "true"
	}
}

// ignored is the value of a flag without effect. It takes anything.
type ignored struct{}

func (ignored) String() string   { return "" }
func (ignored) Set(string) error { return nil }
func (ignored) Type() string     { return "string" }

// Names returns the names of the flags that are modelled, and of those that are only accepted, both sorted.
func (f *Flags) Names() (modelled, accepted []string) {
	f.VisitAll(func(flag *pflag.Flag) {
		if f.accepted[flag.Name] {
			accepted = append(accepted, flag.Name)
		} else {
			modelled = append(modelled, flag.Name)
		}
	})
	return modelled, accepted
}

// Check has the values of flags looked at by whoever looks at flags before a run. The component itself looks at them
// when it needs them, and ends as the real one does.
func (f *Flags) Check(check func() error, flags ...string) {
	f.checks = append(f.checks, flagCheck{check, flags})
}

// Problems calls tell with each problem that values have with each other, and the flags that may be at fault.
func (f *Flags) Problems(tell func(err error, flags []string)) {
	for _, c := range f.checks {
		if err := c.check(); err != nil {
			tell(err, c.flags)
		}
	}
}

// ParseOrExit parses a process's arguments, without the program's name. When they are wrong the process ends with the
// real program's message and exit code 1, and false is returned.
func (f *Flags) ParseOrExit(p *hardware.Process, argv []string) bool {
	if err := f.Parse(argv); err != nil {
		p.Exit(1, "Error: "+err.Error())
		return false
	}
	if f.NArg() > 0 {
		p.Exit(1, "Error: unknown command \""+f.Arg(0)+"\" for \""+p.Name+"\"")
		return false
	}
	return true
}

// AddLeaderElectionFlags adds the --leader-elect flags of a component in a release
// (component-base/config/options/leaderelectionconfig.go).
func AddLeaderElectionFlags(f *Flags, release *api.Release, component string, c *LeaderElectionConfig) {
	f.BoolVar(&c.Enabled, "leader-elect", c.Enabled, "")
	f.DurationVar(&c.LeaseDuration, "leader-elect-lease-duration", c.LeaseDuration, "")
	f.DurationVar(&c.RenewDeadline, "leader-elect-renew-deadline", c.RenewDeadline, "")
	f.DurationVar(&c.RetryPeriod, "leader-elect-retry-period", c.RetryPeriod, "")
	f.StringVar(&c.ResourceLock, "leader-elect-resource-lock", c.ResourceLock, "")
	if release.HasFlag(component, "leader-elect-resource-name") {
		f.StringVar(&c.Name, "leader-elect-resource-name", c.Name, "")
		f.StringVar(&c.Namespace, "leader-elect-resource-namespace", c.Namespace, "")
	}
	f.Check(c.CheckTimes, "leader-elect-lease-duration", "leader-elect-renew-deadline", "leader-elect-retry-period")
	f.Check(c.CheckLock, "leader-elect-resource-lock")
}

// Health answers /healthz, /livez and /readyz on a port of a process. Requests and answers are *api.Request (Path) and
// *api.Response.
type Health struct {
	check   func() error
	serving bool
	held    []*hardware.Call
}

// ListenHealth opens the port; nothing is answered before Serve, as the real components listen before they have looked
// up what they need to serve. check says what is wrong: 500 instead of 200. The process ends with 1 when the port is
// taken.
func ListenHealth(p *hardware.Process, port int, check func() error) *Health {
	h := &Health{check: check}
	h.Listen(p, port)
	return h
}

// Listen opens a further port with the same answers: the insecure one of older releases. 0 is none.
func (h *Health) Listen(p *hardware.Process, port int) {
	if port == 0 || !p.Alive() {
		return
	}
	_, err := p.Serve(port, func(call *hardware.Call) {
		if h.serving {
			h.answer(call)
			return
		}
		h.held = append(h.held, call)
	})
	if err != nil {
		p.Exit(1, "failed to create listener: "+err.Error())
	}
}

// Serve begins to answer.
func (h *Health) Serve() {
	h.serving = true
	for _, call := range h.held {
		h.answer(call)
	}
	h.held = nil
}

func (h *Health) answer(call *hardware.Call) {
	request, ok := call.Request.(*api.Request)
	if !ok {
		call.Fail(hardware.ErrClosed)
		return
	}
	path, _, _ := strings.Cut(request.Path, "?")
	response := &api.Response{Status: 200, Body: "ok"}
	if path != "/healthz" && path != "/livez" && path != "/readyz" {
		response = &api.Response{Status: 404, Body: "404 page not found"}
	} else if err := h.check(); err != nil {
		response = &api.Response{Status: 500, Body: err.Error()}
	}
	call.Reply(response)
}

// apiServerPoll is how often the API server's health is asked for (controller-manager/app/helper.go WaitForAPIServer).
const apiServerPoll = time.Second

// LookUpAuthentication reads what a component with --authentication-kubeconfig must know before it serves: the
// ConfigMap extension-apiserver-authentication. That it does not exist is no error here: nothing depends on its
// content. The lookup has no time-out but the server's; its error ends the real program with exit code 1.
func LookUpAuthentication(p *sim.Proc, client api.Client) error {
	_, err := client.Do(p, &api.Request{Verb: api.Get, Resource: api.ConfigMaps, Namespace: "kube-system",
		Name: "extension-apiserver-authentication"})
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return errors.New("unable to load configmap based request-header-client-ca-file: " + err.Error())
}

// WaitForAPIServer asks for /healthz each second until it is 200, at most within; it returns the last error otherwise
// (controller-manager/app/helper.go, v0.36).
func WaitForAPIServer(p *sim.Proc, client api.Client, within time.Duration) error {
	deadline := p.Now().Add(within)
	for {
		answer, err := client.Do(p, &api.Request{Verb: api.Get, Path: "/healthz", Within: within})
		if err == nil && answer.Status != 200 && answer.Status != 0 {
			err = errors.New("APIServer isn't healthy: " + answer.Body)
		}
		if err == nil {
			return nil
		}
		if p.Now().Add(apiServerPoll) > deadline {
			return errors.New("failed to wait for apiserver being healthy: timed out waiting for the condition: " + err.Error())
		}
		p.Sleep(apiServerPoll)
	}
}
