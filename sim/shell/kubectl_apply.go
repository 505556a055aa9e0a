package shell

import (
	"bytes"
	"encoding/json"
	"ksim/sim/api"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

func applyVerb() kubectlVerb {
	return kubectlVerb{name: "apply", flags: fileFlags, run: func(k *kubectl, _ []string) error {
		if k.flags.Lookup("filename").Value.String() == "[]" {
			return usagef("must specify one of -f and -k")
		}
		list, problems := k.documents()
		return k.each(list, problems, k.apply)
	}}
}

const lastApplied = corev1.LastAppliedConfigAnnotation

// apply creates an object or patches it from what was last applied to what is written now (kubectl
// pkg/cmd/apply/patcher.go).
func (k *kubectl) apply(d *document) error {
	if d.object.GetName() == "" && d.object.GetGenerateName() != "" {
		return usagef("from %s: cannot use generate name with apply", d.object.GetGenerateName())
	}
	modified, err := withLastApplied(d)
	if err != nil {
		return usagef("%v", err)
	}
	name, namespace := d.object.GetName(), d.object.GetNamespace()
	resp, err := k.do(&api.Request{Verb: api.Get, Resource: d.mapping.Resource, Namespace: namespace, Name: name})
	if api.IsNotFound(err) {
		object := d.object.DeepCopyObject().(api.Object)
		annotations := object.GetAnnotations()
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[lastApplied] = annotationOf(modified)
		object.SetAnnotations(annotations)
		if _, err := k.do(&api.Request{Verb: api.Create, Resource: d.mapping.Resource, Namespace: namespace,
			Name: name, Object: object,
			FieldManager: "kubectl-client-side-apply"}); err != nil {
			return inFile("creating", d.file, err)
		}
		k.printf("%s/%s created\n", d.typeName(), name)
		return nil
	}
	if err != nil {
		return err
	}
	current := encodeJSON(resp.Object)
	original := []byte(resp.Object.GetAnnotations()[lastApplied])
	if len(original) == 0 {
		k.failf(
			0,
			"Warning: resource %s/%s is missing the kubectl.kubernetes.io/last-applied-configuration annotation which is "+
				"required by kubectl apply. kubectl apply should only be used on resources created declaratively by "+
				"either kubectl create "+
				"--save-config or kubectl apply. The missing annotation will be patched automatically.",
			d.mapping.Resource.Plural,
			name,
		)
	}
	patch, kind, err := threeWayPatch(d.mapping.Resource, original, modified, current)
	if err != nil {
		return usagef("%v", err)
	}
	if string(patch) == "{}" {
		k.printf("%s/%s unchanged\n", d.typeName(), name)
		return nil
	}
	if _, err := k.do(&api.Request{Verb: api.Patch, Resource: d.mapping.Resource, Namespace: namespace, Name: name,
		Patch: patch, PatchType: kind, FieldManager: "kubectl-client-side-apply"}); err != nil {
		return inFile("applying patch:\n"+string(patch)+"\nto:\n...\nfor:", d.file, err)
	}
	k.printf("%s/%s configured\n", d.typeName(), name)
	return nil
}

// withLastApplied returns the object's JSON with itself in the annotation of what was last applied.
func withLastApplied(d *document) ([]byte, error) {
	bare, err := compact(d.raw)
	if err != nil {
		return nil, err
	}
	var raw map[string]any
	if err := json.Unmarshal(bare, &raw); err != nil {
		return nil, err
	}
	meta, _ := raw["metadata"].(map[string]any)
	if meta == nil {
		meta = map[string]any{}
		raw["metadata"] = meta
	}
	annotations, _ := meta["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		meta["annotations"] = annotations
	}
	delete(annotations, lastApplied)
	if bare, err = compact(raw); err != nil {
		return nil, err
	}
	annotations[lastApplied] = string(bare)
	return compact(raw)
}

func compact(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return b.Bytes(), err
}

func annotationOf(modified []byte) string {
	var raw struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := json.Unmarshal(modified, &raw); err != nil {
		panic(err) // cannot fail: it was made by withLastApplied
	}
	return raw.Metadata.Annotations[lastApplied]
}

func threeWayPatch(res *api.Resource, original, modified, current []byte) ([]byte, types.PatchType, error) {
	empty := res.New()
	meta, err := strategicpatch.NewPatchMetaFromStruct(empty)
	if _, untyped := empty.(*unstructured.Unstructured); untyped || err != nil {
		patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch(original, modified, current)
		return patch, types.MergePatchType, err
	}
	patch, err := strategicpatch.CreateThreeWayMergePatch(original, modified, current, meta, true)
	return patch, types.StrategicMergePatchType, err
}
