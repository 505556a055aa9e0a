package convert

import "math"

// Models the defaults that an older version has and the stored one has not, or has otherwise
// (pkg/apis/extensions/v1beta1/defaults.go and pkg/apis/apps/v1beta1/defaults.go, v1.14; pkg/apis/policy/v1beta1/
// conversion.go, v1.24; pkg/apis/admissionregistration/v1beta1/defaults.go and pkg/apis/certificates/v1beta1/
// defaults.go, v1.20).

// emptySelects is the label that a selector asks for which shall select nothing (pkg/apis/policy/types.go
// PDBV1beta1Label).
const emptySelects = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match"

// Defaults fills in what is left out and meant something else in an older version than in the stored one.
func Defaults(apiVersion, kind string, raw map[string]any) {
	spec, _ := raw["spec"].(map[string]any)
	switch apiVersion {
	case "extensions/v1beta1", "apps/v1beta1":
		if spec != nil {
			fromTemplate(raw, spec)
			workload(apiVersion, kind, spec)
		}
	case "policy/v1beta1":
		if s, ok := spec["selector"].(map[string]any); ok && kind == "PodDisruptionBudget" && isEmpty(s) {
			spec["selector"] = map[string]any{"matchExpressions": []any{
				map[string]any{"key": emptySelects, "operator": "Exists"}}}
		}
	case "admissionregistration.k8s.io/v1beta1":
		each(raw["webhooks"], func(w map[string]any) {
			setDefault(w, "failurePolicy", "Ignore")
			setDefault(w, "matchPolicy", "Exact")
			setDefault(w, "sideEffects", "Unknown")
			setDefault(w, "timeoutSeconds", 30)
			setDefault(w, "admissionReviewVersions", []any{"v1beta1"})
		})
	case "certificates.k8s.io/v1beta1":
		if spec != nil {
			setDefault(spec, "usages", []any{"digital signature", "key encipherment"})
			setDefault(spec, "signerName", "kubernetes.io/legacy-unknown")
		}
	}
}

func setDefault(m map[string]any, key string, value any) {
	if m[key] == nil {
		m[key] = value
	}
}

func isEmpty(selector map[string]any) bool {
	labels, _ := selector["matchLabels"].(map[string]any)
	expressions, _ := selector["matchExpressions"].([]any)
	return len(labels) == 0 && len(expressions) == 0
}

// fromTemplate: labels and selector that were left out are those of the template.
func fromTemplate(raw, spec map[string]any) {
	template, _ := spec["template"].(map[string]any)
	meta, _ := template["metadata"].(map[string]any)
	labels, _ := meta["labels"].(map[string]any)
	if len(labels) == 0 {
		return
	}
	setDefault(spec, "selector", map[string]any{"matchLabels": labels})
	if own, ok := raw["metadata"].(map[string]any); ok {
		if set, _ := own["labels"].(map[string]any); len(set) == 0 {
			own["labels"] = labels
		}
	}
}

// workload fills in strategies and limits. The largest number stands for none.
func workload(apiVersion, kind string, spec map[string]any) {
	switch kind {
	case "Deployment":
		if apiVersion == "apps/v1beta1" {
			setDefault(spec, "revisionHistoryLimit", 2)
			return
		}
		setDefault(spec, "revisionHistoryLimit", math.MaxInt32)
		setDefault(spec, "progressDeadlineSeconds", math.MaxInt32)
		strategy := mapAt(spec, "strategy")
		if t := strategy["type"]; t == nil || t == "RollingUpdate" {
			rolling := mapAt(strategy, "rollingUpdate")
			setDefault(rolling, "maxUnavailable", 1)
			setDefault(rolling, "maxSurge", 1)
		}
	case "DaemonSet", "StatefulSet":
		setDefault(mapAt(spec, "updateStrategy"), "type", "OnDelete")
	}
}

// mapAt returns the map under a key; one that is not there is made.
func mapAt(m map[string]any, key string) map[string]any {
	inner, ok := m[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		if m[key] == nil {
			m[key] = inner
		}
	}
	return inner
}
