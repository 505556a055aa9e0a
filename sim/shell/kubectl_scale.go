package shell

import (
	"fmt"
	"ksim/sim/api"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func scaleVerb() kubectlVerb {
	return kubectlVerb{name: "scale", run: runScale, flags: func(f *pflag.FlagSet) {
		f.Int32("replicas", -1, "")
		f.Int32("current-replicas", -1, "")
	}}
}

func runScale(k *kubectl, args []string) error {
	if !k.flags.Changed("replicas") {
		return usagef("required flag(s) \"replicas\" not set")
	}
	replicas, _ := k.flags.GetInt32("replicas")         // cannot fail: the verb has the flag
	expected, _ := k.flags.GetInt32("current-replicas") // cannot fail
	if replicas < 0 {
		return usagef("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
	}
	if len(args) == 0 {
		return usagef("resource(s) were provided, but no name was specified")
	}
	list, err := k.targets(args)
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.name == "" {
			return usagef("resource(s) were provided, but no name was specified")
		}
		if !slices.Contains(t.resource.Sub, "scale") {
			return &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound,
				Message: "the server could not find the requested resource"}}
		}
		if expected >= 0 {
			resp, err := k.do(&api.Request{Verb: api.Get, Resource: t.resource, Name: t.name})
			if err != nil {
				return err
			}
			if now := replicasOf(resp.Object); now != expected {
				return usagef("Expected replicas to be %d, was %d", expected, now)
			}
		}
		patch := fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas)
		if _, err := k.do(&api.Request{Verb: api.Patch, Resource: t.resource, Subresource: "scale", Name: t.name,
			Patch: []byte(patch), PatchType: types.MergePatchType}); err != nil {
			return err
		}
		k.printf("%s/%s scaled\n", typeName(t.resource), t.name)
	}
	return nil
}

func replicasOf(obj api.Object) int32 {
	switch obj := obj.(type) {
	case *appsv1.Deployment:
		return wanted(obj.Spec.Replicas)
	case *appsv1.ReplicaSet:
		return wanted(obj.Spec.Replicas)
	case *appsv1.StatefulSet:
		return wanted(obj.Spec.Replicas)
	}
	return 0
}

func cordonVerb() kubectlVerb {
	return kubectlVerb{name: "cordon", flags: selectorFlag, run: func(k *kubectl, args []string) error {
		return k.cordon(args, true, "cordoned")
	}}
}

func uncordonVerb() kubectlVerb {
	return kubectlVerb{name: "uncordon", flags: selectorFlag, run: func(k *kubectl, args []string) error {
		return k.cordon(args, false, "uncordoned")
	}}
}

func selectorFlag(f *pflag.FlagSet) { f.StringP("selector", "l", "", "") }

// cordon sets spec.unschedulable (kubectl pkg/drain/cordon.go).
func (k *kubectl) cordon(names []string, unschedulable bool, done string) error {
	verb := strings.TrimSuffix(done, "ed")
	byLabel, _, err := k.selectors()
	if err != nil {
		return err
	}
	var nodes []api.Object
	var last error
	switch {
	case len(names) == 0 && byLabel == nil:
		return usagef("USAGE: %s NODE [flags]\nSee 'kubectl %s -h' for help and examples", verb, verb)
	case byLabel != nil:
		if nodes, err = k.list(api.Nodes, byLabel, nil); err != nil {
			return err
		}
	}
	for _, name := range names {
		resp, err := k.do(&api.Request{Verb: api.Get, Resource: api.Nodes, Name: strings.TrimPrefix(name, "node/")})
		if err != nil {
			last = err
			continue
		}
		nodes = append(nodes, resp.Object)
	}
	if last != nil {
		return last
	}
	for _, node := range nodes {
		if node.(*corev1.Node).Spec.Unschedulable == unschedulable {
			k.printf("node/%s already %s\n", node.GetName(), done)
			continue
		}
		patch := `{"spec":{"unschedulable":true}}`
		if !unschedulable {
			patch = `{"spec":{"unschedulable":null}}`
		}
		if _, err := k.do(&api.Request{Verb: api.Patch, Resource: api.Nodes, Name: node.GetName(), Patch: []byte(patch),
			PatchType: types.StrategicMergePatchType}); err != nil {
			return usagef("unable to %s node %q: %v", verb, node.GetName(), err)
		}
		k.printf("node/%s %s\n", node.GetName(), done)
	}
	return nil
}
