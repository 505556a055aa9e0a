package condition

import (
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim/api"
	"ksim/sim/cluster/truth"
)

// Observer is the state that conditions are evaluated over: the names of the language bound to a running cluster. It
// keeps what it has made of an input until that input changes.
type Observer struct {
	World   truth.World
	Now     func() time.Duration // since the start of the scenario
	Traffic func() map[string]TrafficView

	language *Language
	self     ref.Val
	inputs   map[string]*cached
}

type cached struct {
	variable
	generation uint64
	value      ref.Val
	resource   *api.Resource
}

// Bind makes the language's names speak of a cluster.
func (l *Language) Bind(o *Observer) *Observer {
	o.language = l
	o.self = &object{l.registry, l.registry.structOf(reflect.TypeFor[Observer]()), reflect.ValueOf(o).Elem()}
	o.inputs = map[string]*cached{}
	for _, v := range vocabulary {
		o.inputs[v.name] = &cached{variable: v}
		if v.plural != "" {
			o.inputs[v.name].resource = api.ResourceFor(v.plural)
		}
	}
	return o
}

// ResolveName implements cel.Activation.
func (o *Observer) ResolveName(name string) (any, bool) {
	switch name {
	case "t":
		return types.Duration{Duration: o.Now()}, true
	case observerName:
		return o.self, true
	}
	in := o.inputs[name]
	if in == nil {
		return nil, false
	}
	if now := o.World.Changes().Of[in.input] + 1; in.generation != now {
		in.generation, in.value = now, o.read(in)
	}
	return in.value, true
}

func (o *Observer) read(in *cached) ref.Val {
	r := o.language.registry
	switch in.input {
	case truth.Machines:
		return mapOf(r, viewMachines(o.World))
	case truth.EtcdState:
		v := viewEtcd(o.World)
		return r.value(reflect.ValueOf(&v))
	case truth.APIReadyState:
		v := apiView{map[string]bool{}}
		for _, server := range o.World.APIReady() {
			v.Ready[server.Machine] = server.Ready
		}
		return r.value(reflect.ValueOf(&v))
	case truth.Traffic:
		return mapOf(r, o.Traffic())
	}
	objects := o.World.Objects(in.resource)
	if in.byKey {
		m := &mapping{registry: r}
		byName := make(map[string]ref.Val, len(objects))
		for _, obj := range objects {
			m.keys = append(m.keys, obj.GetName())
			byName[obj.GetName()] = r.value(reflect.ValueOf(obj))
		}
		slices.Sort(m.keys)
		m.get = func(key string) (ref.Val, bool) {
			v, ok := byName[key]
			return v, ok
		}
		return m
	}
	items := make([]ref.Val, len(objects))
	for i, obj := range objects {
		items[i] = r.value(reflect.ValueOf(obj))
	}
	return types.NewRefValList(r, items)
}

// Parent implements cel.Activation.
func (o *Observer) Parent() activation { return nil }

func (r *registry) filter(list ref.Val, keep func(*corev1.Pod) bool) ref.Val {
	var kept []ref.Val
	for it := list.(traits.Lister).Iterator(); it.HasNext() == types.True; {
		item := it.Next()
		if obj, ok := item.(*object); ok && keep(obj.v.Addr().Interface().(*corev1.Pod)) {
			kept = append(kept, item)
		}
	}
	return types.NewRefValList(r, kept)
}

// podsOf returns the pods of a Deployment, ReplicaSet, StatefulSet or DaemonSet, by their controllers.
func (o *Observer) podsOf(name string) ref.Val {
	namespace, name := splitName(name)
	sets := map[string]bool{} // ReplicaSets of the Deployment
	for _, obj := range o.World.Objects(o.inputs["replicasets"].resource) {
		if owner := metav1.GetControllerOf(obj); owner != nil && owner.Kind == "Deployment" && owner.Name == name &&
			obj.GetNamespace() == namespace {
			sets[obj.GetName()] = true
		}
	}
	pods, _ := o.ResolveName("pods")
	return o.language.registry.filter(pods.(ref.Val), func(p *corev1.Pod) bool {
		owner := metav1.GetControllerOf(p)
		if owner == nil || p.Namespace != namespace {
			return false
		}
		switch owner.Kind {
		case "ReplicaSet":
			return owner.Name == name || sets[owner.Name]
		case "StatefulSet", "DaemonSet":
			return owner.Name == name
		}
		return false
	})
}

func (o *Observer) leaders(component string) ref.Val {
	return types.NewStringList(o.language.registry, o.World.Leaders(component))
}

func (o *Observer) holder(component string) ref.Val { return types.String(o.World.Holder(component)) }
