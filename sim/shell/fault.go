package shell

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/resource"

	"ksim/sim/cluster/spec"
)

// faultVerb is one verb of fault. shape says what its arguments are: T targets, C component@target, 2 two machines,
// G two groups, D a duration, S a share; + means one or more, * any number.
type faultVerb struct {
	name, usage, help string
	shape             []string
	forDefault        time.Duration // of --for; 0: the verb has none; -1: it must be given
}

func faultVerbs() []faultVerb {
	return []faultVerb{
		{"crash", "fault crash TARGET...", "power off: disks survive, unsynced writes do not", []string{"T+"}, 0},
		{"start", "fault start TARGET...", "power on", []string{"T+"}, 0},
		{"reboot", "fault reboot TARGET... [--for 90s]", "clean shutdown, and start after that time", []string{"T+"},
			defaultAway},
		{"kill", "fault kill COMPONENT@TARGET | pod/NAME [-n NS]", "SIGKILL of a process; its supervisor restarts it",
			[]string{"C+"}, 0},
		{"pause", "fault pause COMPONENT@TARGET|TARGET --for 60s", "SIGSTOP, then SIGCONT", []string{"C+"}, -1},
		{"isolate", "fault isolate TARGET...", "cut from every other machine", []string{"T+"}, 0},
		{"partition", "fault partition A,B C,D [--one-way] [--reject]", "those two groups cannot reach each other",
			[]string{"G", "G"}, 0},
		{
			"slow-link",
			"fault slow-link A B 200ms [--jitter 50ms]",
			"latency between two machines",
			[]string{"T", "T", "D"},
			0,
		},
		{"drop-link", "fault drop-link A B 20%", "packets lost between two machines", []string{"T", "T", "S"}, 0},
		{"slow-disk", "fault slow-disk TARGET... 500ms", "time of an fsync", []string{"T+", "D"}, 0},
		{"full-disk", "fault full-disk TARGET...", "no space left", []string{"T+"}, 0},
		{"lose-disk", "fault lose-disk TARGET...", "the disk's content is gone", []string{"T+"}, 0},
		{"skew-clock", "fault skew-clock TARGET... 30s", "its wall clock jumps", []string{"T+", "D"}, 0},
		{"heal", "fault heal [TARGET...]", "ends network, disk and clock faults there; none named: all", []string{"T*"}, 0},
	}
}

// FaultHelp returns usage and help of every fault, a pair of each.
func FaultHelp() [][2]string {
	var all [][2]string
	for _, v := range faultVerbs() {
		all = append(all, [2]string{v.usage, v.help})
	}
	return all
}

// defaultAway is how long a reboot takes unless --for says so. chosen: the example of the command language.
const defaultAway = 90 * time.Second

// faultComponents are the processes that can be killed or paused.
var faultComponents = [...]string{
	"kube-apiserver",
	"etcd",
	"kubelet",
	"kube-scheduler",
	"kube-controller-manager",
	"kube-proxy",
	"containerd",
	"haproxy",
}

// plan is a fault as it was typed.
type plan struct {
	verb       faultVerb
	targets    []string // TARGET, or COMPONENT@TARGET, or pod/NAME
	groups     [2][]string
	length     time.Duration
	jitter     time.Duration
	perMillion int64
	oneWay     bool
	reject     bool
	namespace  string
}

func faultCommand() *command {
	return &command{name: "fault", usage: "fault VERB TARGET...", help: "an act of the outside world; see fault --help",
		run: runFault, check: checkFault}
}

// parseFault reads the arguments; the issue's index is that of the argument which is wrong.
func parseFault(args []string) (p plan, issue *argIssue) {
	p.namespace = "default"
	if len(args) < 2 {
		return p, &argIssue{0, "fault: no verb; allowed: " + strings.Join(verbNames(), ", ")}
	}
	i := slices.IndexFunc(faultVerbs(), func(v faultVerb) bool { return v.name == args[1] })
	if i < 0 {
		return p, &argIssue{1, fmt.Sprintf("fault: no verb %q%s; allowed: %s", args[1], nearest(args[1], verbNames()),
			strings.Join(verbNames(), ", "))}
	}
	p.verb = faultVerbs()[i]
	flags := pflag.NewFlagSet("fault", pflag.ContinueOnError)
	flags.Usage = func() {}
	switch p.verb.name {
	case "reboot", "pause":
		flags.DurationVar(&p.length, "for", p.verb.forDefault, "")
	case "kill":
		flags.StringVarP(&p.namespace, "namespace", "n", "default", "")
	case "partition":
		flags.BoolVar(&p.oneWay, "one-way", false, "")
		flags.BoolVar(&p.reject, "reject", false, "")
	case "slow-link":
		flags.DurationVar(&p.jitter, "jitter", 0, "")
	}
	rest, negative := protectNegative(args[2:])
	if err := flags.Parse(rest); err != nil {
		return p, &argIssue{1, "fault " + p.verb.name + ": " + err.Error() + "; usage: " + p.verb.usage}
	}
	words := flags.Args()
	for i := range words {
		words[i] = strings.TrimPrefix(words[i], negative)
	}
	if p.length < 0 {
		return p, &argIssue{1, "fault " + p.verb.name + ": --for is missing or below 0; usage: " + p.verb.usage}
	}
	if message := p.take(words); message != "" {
		wrong := 1
		return p, &argIssue{wrong, "fault " + p.verb.name + ": " + message + "; usage: " + p.verb.usage}
	}
	return p, nil
}

// protectNegative marks durations below zero, which a flag parser would take for flags.
func protectNegative(args []string) (marked []string, mark string) {
	mark = "\x00"
	for _, a := range args {
		if _, err := time.ParseDuration(a); err == nil && strings.HasPrefix(a, "-") {
			a = mark + a
		}
		marked = append(marked, a)
	}
	return marked, mark
}

// take puts the words in their places; it returns what is wrong with them.
func (p *plan) take(words []string) string {
	shape := p.verb.shape
	for last := len(shape) - 1; last >= 0 && (shape[last] == "D" || shape[last] == "S"); last-- {
		if len(words) == 0 {
			return "too few arguments"
		}
		if message := p.measure(shape[last], words[len(words)-1]); message != "" {
			return message
		}
		words, shape = words[:len(words)-1], shape[:last]
	}
	switch shape[0] {
	case "G":
		if len(words) != 2 {
			return fmt.Sprintf("%d groups, want 2, each with commas and no spaces", len(words))
		}
		p.groups = [2][]string{strings.Split(words[0], ","), strings.Split(words[1], ",")}
		return ""
	case "T":
		if len(words) != len(shape) {
			return fmt.Sprintf("%d machines, want %d", len(words), len(shape))
		}
	case "T+", "C+":
		if len(words) == 0 {
			return "no target"
		}
	}
	for _, w := range words {
		p.targets = append(p.targets, strings.Split(w, ",")...)
	}
	return ""
}

func (p *plan) measure(shape, text string) string {
	if shape == "S" {
		var err error
		if p.perMillion, err = ParseShare(text); err != nil {
			return fmt.Sprintf("%q is not a share as 20%%", text)
		}
		return ""
	}
	length, err := time.ParseDuration(text)
	if err != nil || length < 0 && p.verb.name != "skew-clock" {
		return fmt.Sprintf("%q is not a duration as 500ms", text)
	}
	p.length = length
	return ""
}

// ParseShare reads a share as 0.01 or 1% in millionths.
func ParseShare(text string) (millionths int64, err error) {
	number, percent := strings.CutSuffix(text, "%")
	q, err := resource.ParseQuantity(number)
	if err != nil {
		return 0, err
	}
	millionths = q.ScaledValue(resource.Micro)
	if percent {
		millionths /= 100
	}
	if millionths < 0 || millionths > 1_000_000 {
		return 0, fmt.Errorf("%s is not between 0 and 1", text)
	}
	return millionths, nil
}

func verbNames() []string {
	var names []string
	for _, v := range faultVerbs() {
		names = append(names, v.name)
	}
	return names
}

// allTargets lists every target that the plan names, without components.
func (p *plan) allTargets() []string {
	if p.verb.shape[0] == "G" {
		return append(slices.Clone(p.groups[0]), p.groups[1]...)
	}
	return p.targets
}

func checkFault(args []string, s *spec.Cluster) []argIssue {
	if len(args) == 2 && args[1] == "--help" {
		return nil
	}
	p, issue := parseFault(args)
	if issue != nil {
		return []argIssue{*issue}
	}
	var issues []argIssue
	for _, t := range p.allTargets() {
		if message := checkTarget(p.verb, t, s); message != "" {
			at := slices.IndexFunc(args, func(a string) bool { return slices.Contains(strings.Split(a, ","), t) })
			issues = append(issues, argIssue{max(at, 0), message})
		}
	}
	return issues
}

// checkTarget says what is wrong with a target, "" if nothing is.
func checkTarget(v faultVerb, t string, s *spec.Cluster) string {
	component, machine, ok := strings.Cut(t, "@")
	switch {
	case v.shape[0] != "C+":
		if ok {
			return fmt.Sprintf("%q: fault %s befalls machines, not components", t, v.name)
		}
		machine = t
	case ok:
		if !slices.Contains(faultComponents[:], component) {
			return fmt.Sprintf("no component %q%s; allowed: %s", component, nearest(component, faultComponents[:]),
				strings.Join(faultComponents[:], ", "))
		}
	case v.name == "kill":
		if kind, name, _ := strings.Cut(t, "/"); kind == "pod" && name != "" {
			return ""
		}
		return fmt.Sprintf("%q: fault kill wants COMPONENT@TARGET or pod/NAME; to power a machine off: fault crash", t)
	default:
		machine = t
	}
	return unknownTarget(machine, s)
}

func unknownTarget(t string, s *spec.Cluster) string {
	kind, name, grouped := strings.Cut(t, "/")
	var machines, zones []string
	for _, m := range s.Machines() {
		machines = append(machines, m.Name)
		if m.Zone != "" && !slices.Contains(zones, m.Zone) {
			zones = append(zones, m.Zone)
		}
	}
	unknown := func(what string, known []string) string {
		if slices.Contains(known, name) {
			return ""
		}
		return fmt.Sprintf("no %s %q%s; there are: %s", what, name, nearest(name, known), orNone(known))
	}
	switch {
	case !grouped:
		name = t
		return unknown("machine", machines)
	case kind == "zone":
		return unknown("zone", zones)
	case kind == "role":
		var roles []string
		for _, r := range spec.Roles() {
			if len(withRole(s, r)) > 0 {
				roles = append(roles, string(r))
			}
		}
		return unknown("role", roles)
	case kind == "etcd":
		return unknown("etcd target", []string{"leader", "followers"})
	case kind == "holder":
		return unknown("lock of", []string{"kube-controller-manager", "kube-scheduler"})
	}
	return fmt.Sprintf(
		"%q is no target; allowed: a machine, zone/NAME, role/NAME, etcd/leader, etcd/followers, holder/COMPONENT",
		t,
	)
}

func orNone(words []string) string {
	if len(words) == 0 {
		return "none"
	}
	if len(words) > 16 {
		return strings.Join(words[:12], ", ") + ", ... " + words[len(words)-1]
	}
	return strings.Join(words, ", ")
}

func withRole(s *spec.Cluster, r spec.Role) []string {
	var names []string
	for _, m := range s.Machines() {
		if m.Has(r) {
			names = append(names, m.Name)
		}
	}
	return names
}
