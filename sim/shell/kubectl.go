package shell

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
)

// Models kubectl (k8s.io/kubectl pkg/cmd, v0.36) as a process of its machine with a connection of its own: get, apply,
// create, delete, scale, cordon, uncordon, with the real messages and exit statuses. Leaves out: all other verbs,
// plugins, caches of discovery, jsonpath and custom columns.

// kubectlVerb is a verb of kubectl: its flags and what it does. One file each.
type kubectlVerb struct {
	name  string
	flags func(f *pflag.FlagSet)
	run   func(k *kubectl, args []string) error
}

func kubectlVerbs() []kubectlVerb {
	return []kubectlVerb{getVerb(), applyVerb(), createVerb(), deleteVerb(), scaleVerb(), cordonVerb(), uncordonVerb()}
}

// kubectlLater are real verbs of kubectl that are not there yet.
func kubectlLater() []string {
	return []string{
		"annotate",
		"api-resources",
		"api-versions",
		"auth",
		"autoscale",
		"cluster-info",
		"config",
		"describe",
		"diff",
		"drain",
		"edit",
		"events",
		"exec",
		"explain",
		"expose",
		"label",
		"logs",
		"patch",
		"replace",
		"rollout",
		"run",
		"set",
		"taint",
		"top",
		"version",
		"wait",
	}
}

// kubectl is one execution.
type kubectl struct {
	*call
	proc      *sim.Proc // of the process, not of the shell
	process   *hardware.Process
	client    api.Client
	flags     *pflag.FlagSet
	namespace string
	status    int             // exit status when run returns nil
	made      []*api.Resource // by CustomResourceDefinitions, when asked
	asked     bool
}

func kubectlCommand() *command {
	return &command{
		name:  "kubectl",
		usage: "kubectl VERB ...",
		help:  "controls the cluster through its API",
		run: func(c *call) int {
			return c.external("kubectl", func(p *hardware.Process, proc *sim.Proc) int { return runKubectl(c, p, proc) })
		},
		check: checkKubectl,
	}
}

func checkKubectl(args []string, _ *spec.Cluster) []argIssue {
	i := verbIndex(args)
	if i < 0 {
		return nil
	}
	var names []string
	for _, v := range kubectlVerbs() {
		names = append(names, v.name)
	}
	switch {
	case slices.Contains(names, args[i]):
		return nil
	case slices.Contains(kubectlLater(), args[i]):
		return []argIssue{
			{i, fmt.Sprintf("kubectl %s is not available yet; there are: %s", args[i], strings.Join(names, ", "))},
		}
	}
	return []argIssue{
		{i, fmt.Sprintf("unknown command %q for \"kubectl\"%s; there are: %s", args[i], nearest(args[i], names),
			strings.Join(names, ", "))},
	}
}

// verbIndex finds the verb among the arguments: the first that is neither a flag nor the value of one.
func verbIndex(args []string) int {
	for i := 1; i < len(args); i++ {
		if !strings.HasPrefix(args[i], "-") {
			return i
		}
		if slices.Contains([]string{"-n", "--namespace", "--kubeconfig", "-s", "--server"}, args[i]) {
			i++
		}
	}
	return -1
}

func runKubectl(c *call, p *hardware.Process, proc *sim.Proc) int {
	at := verbIndex(c.args)
	if at < 0 {
		return c.failf(0, "kubectl controls the Kubernetes cluster manager.")
	}
	i := slices.IndexFunc(kubectlVerbs(), func(v kubectlVerb) bool { return v.name == c.args[at] })
	if i < 0 {
		if slices.Contains(kubectlLater(), c.args[at]) {
			return c.failf(1, "error: kubectl %s is not modelled by ksim yet", c.args[at])
		}
		return c.failf(1, "error: unknown command %q for \"kubectl\"", c.args[at])
	}
	verb := kubectlVerbs()[i]
	k := &kubectl{call: c, proc: proc, process: p, flags: pflag.NewFlagSet("kubectl", pflag.ContinueOnError)}
	k.flags.Usage = func() {}
	k.flags.StringVarP(&k.namespace, "namespace", "n", "default", "")
	kubeconfig := k.flags.String("kubeconfig", "", "")
	server := k.flags.StringP("server", "s", "", "")
	if verb.flags != nil {
		verb.flags(k.flags)
	}
	args := append(slices.Clone(c.args[1:at]), c.args[at+1:]...)
	if err := k.flags.Parse(args); err != nil {
		return c.failf(1, "error: %v\nSee 'kubectl %s --help' for usage.", err, verb.name)
	}
	config, err := k.config(*kubeconfig)
	if err != nil {
		return c.failf(1, "error: %v", err)
	}
	if *server != "" {
		config.Server = *server
	}
	k.client = c.session.cluster.Client(p, config.Server, config.User, "kubectl/"+c.session.cluster.Spec().Kubernetes)
	if err := verb.run(k, k.flags.Args()); err != nil {
		return k.report(err, config.Server)
	}
	return k.status
}

// config finds the kubeconfig: the flag, $KUBECONFIG, ~/.kube/config, and what kubeadm leaves on control planes.
func (k *kubectl) config(flag string) (controlplane.ClientConfig, error) {
	if flag == "" {
		flag = k.session.Lookup("KUBECONFIG")
	}
	if flag != "" {
		return controlplane.ReadKubeconfig(k.process, k.session.path(flag))
	}
	home := Home + "/.kube/config"
	if !k.session.machine.Disk().Exists(home) {
		// client-go's defaults when there is no kubeconfig (clientcmd/client_config.go).
		return controlplane.ClientConfig{Server: "http://localhost:8080"}, nil
	}
	return controlplane.ReadKubeconfig(k.process, home)
}

// errSilent ends kubectl with status 1 after everything has been said.
var errSilent = errors.New("")

// usageError is an error of the arguments, printed as it is.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// report writes an error as kubectl does and returns the exit status (kubectl pkg/cmd/util/helpers.go).
func (k *kubectl) report(err error, server string) int {
	if err == errSilent {
		return 1
	}
	return k.failf(1, "%s", k.message(err, server))
}

func (k *kubectl) message(err error, server string) string {
	var status apierrors.APIStatus
	var usage usageError
	switch {
	case errors.As(err, &usage):
		return "error: " + string(usage)
	case errors.As(err, &status):
		return statusMessage(status.Status())
	case errors.Is(err, hardware.ErrRefused):
		host := server
		if u, parseErr := url.Parse(server); parseErr == nil {
			host = u.Host
		}
		return fmt.Sprintf("The connection to the server %s was refused - did you specify the right host or port?", host)
	}
	text := err.Error()
	if _, rest, found := strings.Cut(text, "\": "); found { // without the method and URL, as kubectl unwraps url.Error
		text = rest
	}
	return "Unable to connect to the server: " + text
}

func statusMessage(s metav1.Status) string {
	switch {
	case s.Reason == metav1.StatusReasonInvalid && s.Details != nil:
		message := fmt.Sprintf("The %s %q is invalid", s.Details.Kind, s.Details.Name)
		if len(s.Details.Causes) == 1 {
			return message + ": " + cause(s.Details.Causes[0])
		}
		message += ": "
		for _, c := range s.Details.Causes {
			message += "\n* " + cause(c)
		}
		return message
	case s.Reason == metav1.StatusReasonUnknown || s.Reason == "":
		return "Error from server: " + s.Message
	}
	return fmt.Sprintf("Error from server (%s): %s", s.Reason, s.Message)
}

func cause(c metav1.StatusCause) string {
	if c.Field == "" {
		return c.Message
	}
	return c.Field + ": " + c.Message
}

// target is an object, or all of a type (Name "").
type target struct {
	resource *api.Resource
	name     string
}

// targets reads TYPE NAME..., TYPE/NAME..., TYPE,TYPE.
func (k *kubectl) targets(args []string) ([]target, error) {
	var list []target
	if len(args) > 0 && strings.Contains(args[0], "/") {
		for _, a := range args {
			kind, name, ok := strings.Cut(a, "/")
			if !ok {
				return nil, usagef("there is no need to specify a resource type as a separate argument when passing arguments in " +
					"resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get " +
					"resource resource/<resource_name>'")
			}
			res, err := k.resourceOf(kind)
			if err != nil {
				return nil, err
			}
			list = append(list, target{res, name})
		}
		return list, nil
	}
	var resources []*api.Resource
	for _, kind := range strings.Split(args[0], ",") {
		in, err := k.resourcesIn(kind)
		if err != nil {
			return nil, err
		}
		if len(in) > 0 {
			resources = append(resources, in...)
			continue
		}
		res, err := k.resourceOf(kind)
		if err != nil {
			return nil, err
		}
		resources = append(resources, res)
	}
	for _, res := range resources {
		if len(args) == 1 {
			list = append(list, target{resource: res})
		}
		for _, name := range args[1:] {
			list = append(list, target{res, name})
		}
	}
	return list, nil
}

func (k *kubectl) do(r *api.Request) (*api.Response, error) {
	if r.Resource != nil && r.Resource.Namespaced && r.Namespace == "" && r.Verb != api.List {
		r.Namespace = k.namespace
	}
	return k.client.Do(k.proc, r)
}
