package condition

import (
	"reflect"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"ksim/sim/api"
	"ksim/sim/cluster/truth"
)

// variable is a name that conditions may use.
type variable struct {
	name   string
	input  truth.Input
	typ    reflect.Type // of the elements
	byKey  bool         // a map by name, not a list
	single bool
	plural string // of the resource that it shows
}

// vocabulary is all names that conditions may use.
var vocabulary = variables()

func variables() []variable {
	known := []variable{
		{name: "pods", input: truth.Pods, typ: reflect.TypeFor[corev1.Pod](), plural: "pods"},
		{name: "nodes", input: truth.Nodes, typ: reflect.TypeFor[corev1.Node](), byKey: true, plural: "nodes"},
		{name: "deployments", input: truth.Deployments, typ: reflect.TypeFor[appsv1.Deployment](), plural: "deployments"},
		{name: "replicasets", input: truth.ReplicaSets, typ: reflect.TypeFor[appsv1.ReplicaSet](), plural: "replicasets"},
		{name: "statefulsets", input: truth.StatefulSets, typ: reflect.TypeFor[appsv1.StatefulSet](), plural: "statefulsets"},
		{name: "daemonsets", input: truth.DaemonSets, typ: reflect.TypeFor[appsv1.DaemonSet](), plural: "daemonsets"},
		{name: "services", input: truth.Services, typ: reflect.TypeFor[corev1.Service](), plural: "services"},
		{name: "endpointslices", input: truth.EndpointSlices, typ: reflect.TypeFor[discoveryv1.EndpointSlice](),
			plural: "endpointslices"},
		{name: "leases", input: truth.Leases, typ: reflect.TypeFor[coordinationv1.Lease](), plural: "leases"},
		{name: "pdbs", input: truth.PodDisruptionBudgets, typ: reflect.TypeFor[policyv1.PodDisruptionBudget](),
			plural: "poddisruptionbudgets"},
		{name: "configmaps", input: truth.ConfigMaps, typ: reflect.TypeFor[corev1.ConfigMap](), plural: "configmaps"},
		{name: "events", input: truth.Events, typ: reflect.TypeFor[corev1.Event](), plural: "events"},
		{name: "machines", input: truth.Machines, typ: reflect.TypeFor[machineView](), byKey: true},
		{name: "etcd", input: truth.EtcdState, typ: reflect.TypeFor[etcdView](), single: true},
		{name: "api", input: truth.APIReadyState, typ: reflect.TypeFor[apiView](), single: true},
		{name: "traffic", input: truth.Traffic, typ: reflect.TypeFor[TrafficView](), byKey: true},
	}
	return append(known, others(known)...)
}

// others are the lists of all other objects, by the plurals of their resources: jobs, secrets, cronjobs. Objects
// without a Go type are not among them.
func others(known []variable) []variable {
	var more []variable
	for _, res := range api.Resources() {
		shown := slices.ContainsFunc(known, func(v variable) bool { return v.plural == res.Plural })
		typ := reflect.TypeOf(res.New()).Elem()
		if !shown && typ != reflect.TypeFor[unstructured.Unstructured]() {
			more = append(more, variable{name: res.Plural, input: truth.InputOf(res.Plural), typ: typ, plural: res.Plural})
		}
	}
	return more
}

// functionInputs says what the functions look at besides their receiver.
func functionInputs(function string) []truth.Input {
	switch function {
	case "podsOf":
		return []truth.Input{truth.Pods, truth.ReplicaSets}
	case "leaders":
		return []truth.Input{truth.LeadersState}
	case "holder":
		return []truth.Input{truth.Leases, truth.Endpoints, truth.ConfigMaps}
	}
	return nil
}

// observerName is the hidden variable through which functions reach the observer; no expression can name it.
const observerName = "@observer"

// Language compiles conditions and evaluates them for one run.
type Language struct {
	env      *cel.Env
	registry *registry
	names    Names
}

// Names are the names that a scenario knows; what a condition mentions by another is a mistake. nil: anything goes.
type Names struct {
	Machines []string
	Nodes    []string
	Traffic  []string
	Servers  []string // machines with an API server
}

// Components are the components that hold locks.
func Components() []string { return []string{"kube-controller-manager", "kube-scheduler"} }

// New makes the language.
func New(names Names) *Language {
	r, err := newRegistry()
	if err != nil {
		panic(err) // cannot fail: it registers CEL's own types
	}
	node := r.structOf(reflect.TypeFor[corev1.Node]())
	r.fill(node)
	r.addField(node, &field{name: "ready", compute: func(v reflect.Value) any { return types.String(nodeReady(v)) }},
		types.StringType)
	options := []cel.EnvOption{cel.EnableMacroCallTracking(), cel.CustomTypeProvider(r), cel.CustomTypeAdapter(r),
		cel.Variable("t", cel.DurationType), cel.Variable(observerName, r.structOf(reflect.TypeFor[Observer]()).cel)}
	for _, v := range vocabulary {
		options = append(options, cel.Variable(v.name, r.variableType(v)))
	}
	env, err := cel.NewEnv(append(options, r.functions()...)...)
	if err != nil {
		panic(err) // cannot fail: the declarations are constant
	}
	return &Language{env: env, registry: r, names: names}
}

func (r *registry) variableType(v variable) *types.Type {
	element := r.structOf(v.typ).cel
	switch {
	case v.single:
		return element
	case v.byKey:
		return types.NewMapType(types.StringType, element)
	}
	return types.NewListType(element)
}

func nodeReady(v reflect.Value) string {
	node := v.Addr().Interface().(*corev1.Node)
	for i := range node.Status.Conditions {
		if c := &node.Status.Conditions[i]; c.Type == corev1.NodeReady {
			return string(c.Status)
		}
	}
	return "Unknown" // as kubectl shows a node that has no Ready condition yet
}

func (r *registry) functions() []cel.EnvOption {
	podList := types.NewListType(r.structOf(reflect.TypeFor[corev1.Pod]()).cel)
	observer := r.structOf(reflect.TypeFor[Observer]()).cel
	asked := func(name string, result *types.Type, ask func(o *Observer, name string) ref.Val) []cel.EnvOption {
		return []cel.EnvOption{
			cel.Macros(
				cel.GlobalMacro(
					name,
					1,
					func(f cel.MacroExprFactory, _ celast.Expr, args []celast.Expr) (celast.Expr, *common.Error) {
						return f.NewCall(name, f.NewIdent(observerName), args[0]), nil
					},
				),
			),
			cel.Function(name, cel.Overload(name+"_string", []*cel.Type{observer, cel.StringType}, result,
				cel.BinaryBinding(func(o, arg ref.Val) ref.Val {
					return ask(o.(*object).v.Addr().Interface().(*Observer), string(arg.(types.String)))
				}))),
		}
	}
	options := asked("podsOf", podList, (*Observer).podsOf)
	options = append(options, asked("leaders", types.NewListType(types.StringType), (*Observer).leaders)...)
	options = append(options, asked("holder", types.StringType, (*Observer).holder)...)
	options = append(
		options,
		cel.Function("on", cel.MemberOverload("pods_on", []*cel.Type{podList, cel.StringType}, podList,
			cel.BinaryBinding(func(list, node ref.Val) ref.Val {
				return r.filter(list, func(p *corev1.Pod) bool { return p.Spec.NodeName == string(node.(types.String)) })
			}))),
	)
	filters := []struct {
		name string
		keep func(*corev1.Pod) bool
	}{
		{"ready", podReady},
		{"running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }},
		{"terminating", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }},
		{"pending", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending }},
	}
	for _, f := range filters {
		options = append(options, cel.Function(f.name, cel.MemberOverload("pods_"+f.name, []*cel.Type{podList}, podList,
			cel.UnaryBinding(func(list ref.Val) ref.Val { return r.filter(list, f.keep) }))))
	}
	return options
}

func podReady(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// splitName reads "ns/web", default where there is no namespace.
func splitName(name string) (namespace, plain string) {
	if namespace, plain, ok := strings.Cut(name, "/"); ok {
		return namespace, plain
	}
	return "default", name
}
