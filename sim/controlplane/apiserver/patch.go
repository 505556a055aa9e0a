package apiserver

import (
	"encoding/json"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim/api"
)

// Models PATCH (apiserver pkg/endpoints/handlers/patch.go, v0.36): JSON patch, merge patch, strategic merge patch.
// Leaves out: server-side apply, and warnings for unknown fields.

// patched returns what the request's patch makes of an object, which is not changed.
func (q *request) patched(existing api.Object) (api.Object, error) {
	var next api.Object
	var err error
	switch q.PatchType {
	case types.StrategicMergePatchType:
		next, err = q.strategic(existing)
	case types.MergePatchType, types.JSONPatchType:
		next, err = q.jsonPatched(existing)
	default:
		return nil, apierrors.NewGenericServerResponse(415, "patch", q.Resource.GroupResource(), q.Name, "", 0, true)
	}
	if err != nil {
		return nil, err
	}
	if next.GetName() != existing.GetName() || next.GetNamespace() != existing.GetNamespace() {
		return nil, apierrors.NewBadRequest("the name of the object (" + next.GetName() +
			") does not match the name on the URL (" + q.Name + ")")
	}
	return next, nil
}

func (q *request) strategic(existing api.Object) (api.Object, error) {
	if _, ok := existing.(*unstructured.Unstructured); ok {
		return nil, apierrors.NewGenericServerResponse(415, "patch", q.Resource.GroupResource(), q.Name, "", 0, true)
	}
	original, err := runtime.DefaultUnstructuredConverter.ToUnstructured(existing)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	patch := map[string]any{}
	if err := utiljson.Unmarshal(q.Patch, &patch); err != nil { // numbers as the object has them: they may be keys
		return nil, apierrors.NewBadRequest(err.Error())
	}
	next := q.Resource.New()
	merged, err := strategicpatch.StrategicMergeMapPatch(original, patch, next)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(merged, next); err != nil {
		return nil, invalidPatch(string(q.Patch), err)
	}
	return next, nil
}

func (q *request) jsonPatched(existing api.Object) (api.Object, error) {
	document, err := json.Marshal(existing)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if q.PatchType == types.MergePatchType {
		if !json.Valid(q.Patch) {
			return nil, apierrors.NewBadRequest("error decoding patch: " + syntaxError(q.Patch))
		}
		if document, err = jsonpatch.MergePatch(document, q.Patch); err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
	} else {
		patch, err := jsonpatch.DecodePatch(q.Patch)
		if err != nil {
			return nil, apierrors.NewBadRequest(err.Error())
		}
		if document, err = patch.Apply(document); err != nil {
			return nil, apierrors.NewGenericServerResponse(422, "", schema.GroupResource{}, "", err.Error(), 0, false)
		}
	}
	if _, ok := existing.(*unstructured.Unstructured); ok {
		next := &unstructured.Unstructured{}
		if err := next.UnmarshalJSON(document); err != nil {
			return nil, invalidPatch(string(document), err)
		}
		return next, nil
	}
	next := q.Resource.New()
	if err := json.Unmarshal(document, next); err != nil {
		return nil, invalidPatch(string(document), err)
	}
	return next, nil
}

func syntaxError(text []byte) string {
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err.Error()
	}
	return ""
}

func invalidPatch(patch string, err error) error {
	return apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{
		field.Invalid(field.NewPath("patch"), strings.TrimSpace(patch), err.Error())})
}
