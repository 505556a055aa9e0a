package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"ksim/scenarios/source"
	"ksim/sim/api"
	"ksim/sim/cluster/kubelet"
	"ksim/sim/cluster/kubeproxy"
	"ksim/sim/cluster/spec"
	"ksim/sim/controlplane"
	"ksim/sim/controlplane/apiserver"
	"ksim/sim/controlplane/controllers"
	"ksim/sim/controlplane/scheduler"
	"ksim/sim/raft"
)

// flagIssue is something to say about a flag: wrong, or accepted without effect.
type flagIssue struct {
	index   int // of the flag
	message string
	onValue bool // about its value
	warning bool
}

// checkComponentFlags has the flags of a component parsed by the component itself.
func checkComponentFlags(component string, release *api.Release, flags []spec.Flag) []flagIssue {
	var set *controlplane.Flags
	switch component {
	case "etcd":
		return checkEtcdFlags(flags)
	case "kube-apiserver":
		set = apiserver.FlagSet(release.Minor)
	case "kube-controller-manager":
		set = controllers.FlagSet(release)
	case "kube-scheduler":
		set = scheduler.FlagSet(release)
	case "kubelet":
		set = kubelet.FlagSet(release.Minor)
	case "kube-proxy":
		set = kubeproxy.FlagSet()
	}
	var issues []flagIssue
	modelled, accepted := set.Names()
	for i, f := range flags {
		switch {
		case slices.Contains(accepted, f.Name):
			issues = append(
				issues,
				flagIssue{i, fmt.Sprintf("%s of %s is accepted and has no effect: ksim does not model it", f.Name,
					component), false, true},
			)
		case !slices.Contains(modelled, f.Name):
			issues = append(issues, flagIssue{i, fmt.Sprintf("%s %s has no flag %q%s", component, release.MinorVersion(), f.Name,
				source.Suggest(f.Name, append(modelled, accepted...))), false, false})
		default:
			if err := set.Set(f.Name, f.Value); err != nil {
				issues = append(issues, flagIssue{i, lastPart(err), true, false})
			}
			if gates, ok := set.Lookup(f.Name).Value.(interface{ Ignored() []string }); ok && len(gates.Ignored()) > 0 {
				issues = append(issues, flagIssue{i, fmt.Sprintf("%s of %s has no effect for %s: ksim does not model it", f.Name,
					component, strings.Join(gates.Ignored(), ", ")), true, true})
			}
		}
	}
	if !slices.ContainsFunc(issues, func(i flagIssue) bool { return !i.warning }) {
		set.Problems(func(err error, names []string) {
			at := slices.IndexFunc(flags, func(f spec.Flag) bool { return slices.Contains(names, f.Name) })
			issues = append(issues, flagIssue{max(at, 0), err.Error(), true, false})
		})
	}
	return issues
}

// checkEtcdFlags parses each flag by itself, then all together, for limits that they set each other.
func checkEtcdFlags(flags []spec.Flag) []flagIssue {
	var issues []flagIssue
	var argv []string
	for i, f := range flags {
		arg := "--" + f.Name + "=" + f.Value
		accepted, err := raft.CheckFlags([]string{arg})
		switch {
		case err != nil && strings.HasPrefix(err.Error(), "flag provided but not defined"):
			issues = append(issues, flagIssue{i, "etcd has no flag " + fmt.Sprintf("%q", f.Name), false, false})
		case err != nil && strings.HasPrefix(err.Error(), "invalid argument"):
			issues = append(issues, flagIssue{i, lastPart(err), true, false})
		default:
			argv = append(argv, arg)
			if len(accepted) > 0 {
				issues = append(
					issues,
					flagIssue{i, f.Name + " of etcd is accepted and has no effect: ksim does not model it", false, true},
				)
			}
		}
	}
	if _, err := raft.CheckFlags(argv); err != nil {
		issues = append(issues, flagIssue{0, err.Error(), true, false})
	}
	return issues
}

// lastPart is what pflag says about the value, without the names of Go's functions.
func lastPart(err error) string {
	text := err.Error()
	for _, noise := range []string{"strconv.ParseInt: ", "strconv.ParseUint: ", "strconv.ParseBool: ", "time: "} {
		text = strings.ReplaceAll(text, noise, "")
	}
	return text
}
