package convert

// Models conversion between versions of a group (pkg/apis/*/v1beta1/conversion.go, v1.14 to v1.24): what has another
// place or another meaning there.

// Reshapes reports whether a version of a kind has another shape than the stored one.
func Reshapes(apiVersion, kind string) bool {
	switch kind {
	case "Ingress":
		return apiVersion != "networking.k8s.io/v1"
	case "HorizontalPodAutoscaler":
		return apiVersion == "autoscaling/v1" || apiVersion == "autoscaling/v2beta1"
	case "EndpointSlice":
		return apiVersion == "discovery.k8s.io/v1beta1"
	case "CustomResourceDefinition":
		return apiVersion == "apiextensions.k8s.io/v1beta1"
	}
	return false
}

// Shape moves what has another place in an older version to where the stored one has it.
func Shape(apiVersion, kind string, raw map[string]any) {
	spec, _ := raw["spec"].(map[string]any)
	switch {
	case apiVersion == "extensions/v1beta1" && kind == "DaemonSet":
		delete(spec, "templateGeneration")
	case !Reshapes(apiVersion, kind):
	case kind == "Ingress":
		ingress(spec)
	case apiVersion == "autoscaling/v1":
		autoscalerV1(spec)
	case kind == "HorizontalPodAutoscaler":
		autoscalerV2beta1(spec)
	case kind == "EndpointSlice":
		endpointSlice(raw)
	case kind == "CustomResourceDefinition":
		definition(spec)
	}
}

// move takes a value from one key to another if it is there and the other is free.
func move(m map[string]any, from, to string) {
	value, there := m[from]
	if _, taken := m[to]; there && !taken {
		m[to] = value
		delete(m, from)
	}
}

// each calls do for every map of a list.
func each(list any, do func(map[string]any)) {
	items, _ := list.([]any)
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			do(m)
		}
	}
}

// ingress: pkg/apis/networking/v1beta1/conversion.go.
func ingress(spec map[string]any) {
	move(spec, "backend", "defaultBackend")
	if b, ok := spec["defaultBackend"].(map[string]any); ok {
		backend(b)
	}
	each(spec["rules"], func(rule map[string]any) {
		http, _ := rule["http"].(map[string]any)
		each(http["paths"], func(path map[string]any) {
			if b, ok := path["backend"].(map[string]any); ok {
				backend(b)
			}
		})
	})
}

func backend(b map[string]any) {
	name, named := b["serviceName"]
	port, ported := b["servicePort"]
	if !named && !ported {
		return
	}
	service := map[string]any{"name": name}
	switch port := port.(type) {
	case nil:
	case string:
		service["port"] = map[string]any{"name": port}
	default:
		service["port"] = map[string]any{"number": port}
	}
	delete(b, "serviceName")
	delete(b, "servicePort")
	b["service"] = service
}

// autoscalerV1: pkg/apis/autoscaling/v1/conversion.go and, of 80 %, pkg/apis/autoscaling/v1/defaults.go.
func autoscalerV1(spec map[string]any) {
	percent, set := spec["targetCPUUtilizationPercentage"]
	if _, more := spec["metrics"]; !set || more {
		return
	}
	delete(spec, "targetCPUUtilizationPercentage")
	spec["metrics"] = []any{map[string]any{"type": "Resource", "resource": map[string]any{"name": "cpu",
		"target": map[string]any{"type": "Utilization", "averageUtilization": percent}}}}
}

// autoscalerV2beta1: pkg/apis/autoscaling/v2beta1/conversion.go.
func autoscalerV2beta1(spec map[string]any) {
	each(spec["metrics"], func(metric map[string]any) {
		for _, kind := range [...]string{"resource", "containerResource"} {
			if m, ok := metric[kind].(map[string]any); ok {
				target(m, "targetAverageUtilization", "averageUtilization", "Utilization")
				target(m, "targetAverageValue", "averageValue", "AverageValue")
			}
		}
		if m, ok := metric["pods"].(map[string]any); ok {
			metricName(m, "selector")
			target(m, "targetAverageValue", "averageValue", "AverageValue")
		}
		if m, ok := metric["object"].(map[string]any); ok {
			move(m, "target", "describedObject")
			metricName(m, "selector")
			target(m, "averageValue", "averageValue", "AverageValue")
			target(m, "targetValue", "value", "Value")
		}
		if m, ok := metric["external"].(map[string]any); ok {
			metricName(m, "metricSelector")
			target(m, "targetValue", "value", "Value")
			target(m, "targetAverageValue", "averageValue", "AverageValue")
		}
	})
}

func metricName(m map[string]any, selector string) {
	name, named := m["metricName"]
	if !named {
		return
	}
	metric := map[string]any{"name": name}
	if s, ok := m[selector]; ok {
		metric["selector"] = s
	}
	delete(m, "metricName")
	delete(m, selector)
	m["metric"] = metric
}

// target moves a value into the metric's target; the first that is there says of which type that is.
func target(m map[string]any, from, to, kind string) {
	value, set := m[from]
	if !set {
		return
	}
	delete(m, from)
	t, _ := m["target"].(map[string]any)
	if t == nil {
		t = map[string]any{"type": kind}
		m["target"] = t
	}
	t[to] = value
}

// endpointSlice: pkg/apis/discovery/v1beta1/conversion.go.
func endpointSlice(raw map[string]any) {
	each(raw["endpoints"], func(e map[string]any) {
		topology, _ := e["topology"].(map[string]any)
		if zone, ok := topology["topology.kubernetes.io/zone"]; ok {
			e["zone"] = zone
			delete(topology, "topology.kubernetes.io/zone")
		}
		if node, ok := topology["kubernetes.io/hostname"]; ok && (e["nodeName"] == nil || e["nodeName"] == node) {
			e["nodeName"] = node
			delete(topology, "kubernetes.io/hostname")
		}
		if topology != nil {
			delete(e, "topology")
			if len(topology) > 0 {
				e["deprecatedTopology"] = topology
			}
		}
	})
}

// definition: apiextensions-apiserver pkg/apis/apiextensions/v1beta1/conversion.go. A definition of v1beta1 says once
// for all versions what v1 says for each, and does not prune unless it says so.
func definition(spec map[string]any) {
	if spec == nil {
		return
	}
	versions, _ := spec["versions"].([]any)
	if len(versions) == 0 && spec["version"] != nil {
		versions = []any{map[string]any{"name": spec["version"], "served": true, "storage": true}}
		spec["versions"] = versions
	}
	delete(spec, "version")
	validation, _ := spec["validation"].(map[string]any)
	prunes := spec["preserveUnknownFields"] == false
	each(versions, func(v map[string]any) {
		share(spec, v, "subresources")
		share(spec, v, "additionalPrinterColumns")
		if _, own := v["schema"]; !own {
			v["schema"] = map[string]any{"openAPIV3Schema": validation["openAPIV3Schema"]}
		}
		each(v["additionalPrinterColumns"], func(column map[string]any) { move(column, "JSONPath", "jsonPath") })
		schema, _ := v["schema"].(map[string]any)
		top, _ := schema["openAPIV3Schema"].(map[string]any)
		if !prunes {
			top = preserving(top)
			schema["openAPIV3Schema"] = top
		}
	})
	for _, key := range [...]string{"validation", "subresources", "additionalPrinterColumns", "preserveUnknownFields"} {
		delete(spec, key)
	}
}

func share(spec, version map[string]any, key string) {
	if value, ok := spec[key]; ok && version[key] == nil {
		version[key] = value
	}
}

// preserving returns a schema that takes every field.
func preserving(schema map[string]any) map[string]any {
	kept := map[string]any{"type": "object"}
	for key, value := range schema { // any order: into a map
		kept[key] = value
	}
	kept["x-kubernetes-preserve-unknown-fields"] = true
	return kept
}
