package validation

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// containers checks the regular containers of a pod (pkg/apis/core/validation/validation.go validateContainers, v1.36).
func (f *found) containers(spec *corev1.PodSpec, volumes map[string]bool, at *place) {
	if len(spec.Containers) == 0 {
		f.required(at, "")
		return
	}
	names := map[string]bool{}
	for i := range spec.Containers {
		c := &spec.Containers[i]
		here := at.Index(i)
		f.container(c, volumes, here)
		f.unique(here.Child("name"), names, c.Name)
		f.lifecycleAndProbes(c, spec.TerminationGracePeriodSeconds, here)
		f.containerRestartPolicy(c, here)
	}
	f.hostPorts(spec.Containers, at)
}

// initContainers checks those that run before; with restartPolicy Always one is a sidecar and may have probes.
func (f *found) initContainers(spec *corev1.PodSpec, volumes map[string]bool, at *place) {
	names := map[string]bool{}
	for i := range spec.Containers {
		names[spec.Containers[i].Name] = true
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		here := at.Index(i)
		f.container(c, volumes, here)
		f.containerRestartPolicy(c, here)
		f.unique(here.Child("name"), names, c.Name)
		f.hostPorts(spec.InitContainers[i:i+1], at)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			f.lifecycleAndProbes(c, spec.TerminationGracePeriodSeconds, here)
			continue
		}
		const sidecarsOnly = "may not be set for init containers without restartPolicy=Always"
		if c.Lifecycle != nil {
			f.forbidden(here.Child("lifecycle"), sidecarsOnly)
		}
		if c.LivenessProbe != nil {
			f.forbidden(here.Child("livenessProbe"), sidecarsOnly)
		}
		if c.ReadinessProbe != nil {
			f.forbidden(here.Child("readinessProbe"), sidecarsOnly)
		}
		if c.StartupProbe != nil {
			f.forbidden(here.Child("startupProbe"), sidecarsOnly)
		}
	}
}

// container checks what all kinds of containers have in common.
func (f *found) container(c *corev1.Container, volumes map[string]bool, at *place) {
	if c.Name == "" {
		f.required(at.Child("name"), "")
	} else {
		f.label(at.Child("name"), c.Name)
	}
	if c.Image == "" {
		f.required(at.Child("image"), "")
	}
	oneOf(f, at.Child("terminationMessagePolicy"), c.TerminationMessagePolicy,
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)
	f.ports(c.Ports, at.Child("ports"))
	f.env(c.Env, at.Child("env"))
	f.envFrom(c.EnvFrom, at.Child("envFrom"))
	f.mounts(c.VolumeMounts, volumes, at.Child("volumeMounts"))
	oneOf(f, at.Child("imagePullPolicy"), c.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	f.resources(&c.Resources, at.Child("resources"))
}

func (f *found) containerRestartPolicy(c *corev1.Container, at *place) {
	if c.RestartPolicy == nil {
		if len(c.RestartPolicyRules) > 0 {
			f.required(at.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")
		}
		return
	}
	optional(f, at.Child("restartPolicy"), c.RestartPolicy, corev1.ContainerRestartPolicyAlways,
		corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)
}

func (f *found) ports(ports []corev1.ContainerPort, at *place) {
	names := map[string]bool{}
	for i, p := range ports {
		here := at.Index(i)
		if p.Name != "" {
			if messages := validation.IsValidPortName(p.Name); len(messages) > 0 {
				f.invalid(here.Child("name"), p.Name, messages...)
			} else {
				f.unique(here.Child("name"), names, p.Name)
			}
		}
		if p.ContainerPort == 0 {
			f.required(here.Child("containerPort"), "")
		} else {
			f.invalid(here.Child("containerPort"), p.ContainerPort, validation.IsValidPortNum(int(p.ContainerPort))...)
		}
		if p.HostPort != 0 {
			f.invalid(here.Child("hostPort"), p.HostPort, validation.IsValidPortNum(int(p.HostPort))...)
		}
		f.protocol(here.Child("protocol"), p.Protocol)
	}
}

func (f *found) protocol(at *place, p corev1.Protocol) {
	oneOf(f, at, p, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

// hostPorts: no two containers of a pod may ask for the same port of the node.
func (f *found) hostPorts(containers []corev1.Container, at *place) {
	taken := map[string]bool{}
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort != 0 {
				f.unique(at.Index(i).Child("ports").Index(j).Child("hostPort"), taken,
					fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort))
			}
		}
	}
}

func (f *found) env(vars []corev1.EnvVar, at *place) {
	for i, v := range vars {
		here := at.Index(i)
		if v.Name == "" {
			f.required(here.Child("name"), "")
		} else {
			f.invalid(here.Child("name"), v.Name, validation.IsRelaxedEnvVarName(v.Name)...)
		}
		if v.ValueFrom != nil {
			f.envSource(v, here.Child("valueFrom"))
		}
	}
}

func (f *found) envSource(v corev1.EnvVar, at *place) {
	sources := 0
	if s := v.ValueFrom.FieldRef; s != nil {
		sources++
		if s.FieldPath == "" {
			f.required(at.Child("fieldRef").Child("fieldPath"), "")
		}
	}
	if s := v.ValueFrom.ResourceFieldRef; s != nil {
		sources++
		if s.Resource == "" {
			f.required(at.Child("resourceFieldRef").Child("resource"), "")
		}
	}
	if s := v.ValueFrom.ConfigMapKeyRef; s != nil {
		sources++
		f.keySelector(s.Name, s.Key, at.Child("configMapKeyRef"))
	}
	if s := v.ValueFrom.SecretKeyRef; s != nil {
		sources++
		f.keySelector(s.Name, s.Key, at.Child("secretKeyRef"))
	}
	switch {
	case v.ValueFrom.FileKeyRef != nil:
	case sources == 0:
		f.invalid(at, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` "+
			"or `fileKeyRef`")
	case v.Value != "":
		f.invalid(at, "", "may not be specified when `value` is not empty")
	case sources > 1:
		f.invalid(at, "", "may not have more than one field specified at a time")
	}
}

func (f *found) keySelector(name, key string, at *place) {
	if name == "" {
		f.required(at.Child("name"), "")
	}
	if key == "" {
		f.required(at.Child("key"), "")
		return
	}
	f.invalid(at.Child("key"), key, validation.IsConfigMapKey(key)...)
}

func (f *found) envFrom(vars []corev1.EnvFromSource, at *place) {
	for i, v := range vars {
		here := at.Index(i)
		if v.ConfigMapRef != nil && v.ConfigMapRef.Name == "" {
			f.required(here.Child("configMapRef").Child("name"), "")
		}
		if v.SecretRef != nil && v.SecretRef.Name == "" {
			f.required(here.Child("secretRef").Child("name"), "")
		}
		switch {
		case v.ConfigMapRef == nil && v.SecretRef == nil:
			f.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
		case v.ConfigMapRef != nil && v.SecretRef != nil:
			f.invalid(at, "", "may not have more than one field specified at a time")
		}
	}
}

func (f *found) mounts(mounts []corev1.VolumeMount, volumes map[string]bool, at *place) {
	paths := map[string]bool{}
	for i, m := range mounts {
		here := at.Index(i)
		if m.Name == "" {
			f.required(here.Child("name"), "")
		}
		if !volumes[m.Name] {
			f.add(field.NotFound(here.Child("name").path(), m.Name))
		}
		if m.MountPath == "" {
			f.required(here.Child("mountPath"), "")
		}
		if paths[m.MountPath] {
			f.invalid(here.Child("mountPath"), m.MountPath, "must be unique")
		}
		paths[m.MountPath] = true
		if m.SubPath != "" && m.SubPathExpr != "" {
			f.invalid(here.Child("subPathExpr"), m.SubPathExpr, "subPathExpr and subPath are mutually exclusive")
		}
	}
}

func (f *found) lifecycleAndProbes(c *corev1.Container, grace *int64, at *place) {
	if l := c.Lifecycle; l != nil {
		if l.PostStart != nil {
			f.hook(l.PostStart, grace, at.Child("lifecycle").Child("postStart"))
		}
		if l.PreStop != nil {
			f.hook(l.PreStop, grace, at.Child("lifecycle").Child("preStop"))
		}
	}
	if p := c.LivenessProbe; p != nil {
		f.probe(p, at.Child("livenessProbe"))
		f.onlyOneSuccess(p, at.Child("livenessProbe"))
	}
	if p := c.ReadinessProbe; p != nil {
		f.probe(p, at.Child("readinessProbe"))
		if p.TerminationGracePeriodSeconds != nil {
			f.invalid(at.Child("readinessProbe").Child("terminationGracePeriodSeconds"), p.TerminationGracePeriodSeconds,
				"must not be set for readinessProbes")
		}
	}
	if p := c.StartupProbe; p != nil {
		f.probe(p, at.Child("startupProbe"))
		f.onlyOneSuccess(p, at.Child("startupProbe"))
	}
}

func (f *found) onlyOneSuccess(p *corev1.Probe, at *place) {
	if p.SuccessThreshold != 1 {
		f.invalid(at.Child("successThreshold"), p.SuccessThreshold, "must be 1")
	}
}

func (f *found) probe(p *corev1.Probe, at *place) {
	n := &handlers{found: f}
	n.exec(at, p.Exec)
	n.httpGet(at, p.HTTPGet)
	n.tcpSocket(at, p.TCPSocket)
	if p.GRPC != nil && n.only(at, "grpc") {
		f.port(intstr.FromInt32(p.GRPC.Port), at.Child("grpc").Child("port"))
	}
	n.some(at)
	f.nonNegative(at.Child("initialDelaySeconds"), int64(p.InitialDelaySeconds))
	f.nonNegative(at.Child("timeoutSeconds"), int64(p.TimeoutSeconds))
	f.nonNegative(at.Child("periodSeconds"), int64(p.PeriodSeconds))
	f.nonNegative(at.Child("successThreshold"), int64(p.SuccessThreshold))
	f.nonNegative(at.Child("failureThreshold"), int64(p.FailureThreshold))
	if p.TerminationGracePeriodSeconds != nil && *p.TerminationGracePeriodSeconds <= 0 {
		f.invalid(at.Child("terminationGracePeriodSeconds"), *p.TerminationGracePeriodSeconds, "must be greater than 0")
	}
}

func (f *found) hook(h *corev1.LifecycleHandler, grace *int64, at *place) {
	n := &handlers{found: f}
	n.exec(at, h.Exec)
	n.httpGet(at, h.HTTPGet)
	n.tcpSocket(at, h.TCPSocket)
	if h.Sleep != nil && n.only(at, "sleep") && grace != nil && (h.Sleep.Seconds < 0 || h.Sleep.Seconds > *grace) {
		f.invalid(at.Child("sleep"), h.Sleep.Seconds,
			fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace))
	}
	n.some(at)
}

// handlers checks that a probe or hook does exactly one thing.
type handlers struct {
	found *found
	count int
}

func (n *handlers) only(at *place, name string) bool {
	n.count++
	if n.count > 1 {
		n.found.forbidden(at.Child(name), "may not specify more than 1 handler type")
	}
	return n.count == 1
}

func (n *handlers) some(at *place) {
	if n.count == 0 {
		n.found.required(at, "must specify a handler type")
	}
}

func (n *handlers) exec(at *place, a *corev1.ExecAction) {
	if a != nil && n.only(at, "exec") && len(a.Command) == 0 {
		n.found.required(at.Child("exec").Child("command"), "")
	}
}

func (n *handlers) httpGet(at *place, a *corev1.HTTPGetAction) {
	if a == nil || !n.only(at, "httpGet") {
		return
	}
	at = at.Child("httpGet")
	if a.Path == "" {
		n.found.required(at.Child("path"), "")
	}
	n.found.port(a.Port, at.Child("port"))
	if a.Scheme != corev1.URISchemeHTTP && a.Scheme != corev1.URISchemeHTTPS {
		n.found.add(field.NotSupported(at.Child("scheme").path(), a.Scheme,
			[]corev1.URIScheme{corev1.URISchemeHTTP, corev1.URISchemeHTTPS}))
	}
	for _, h := range a.HTTPHeaders {
		n.found.invalid(at.Child("httpHeaders"), h.Name, validation.IsHTTPHeaderName(h.Name)...)
	}
}

func (n *handlers) tcpSocket(at *place, a *corev1.TCPSocketAction) {
	if a != nil && n.only(at, "tcpSocket") {
		n.found.port(a.Port, at.Child("tcpSocket").Child("port"))
	}
}

// port checks a port's number or name.
func (f *found) port(p intstr.IntOrString, at *place) {
	if p.Type == intstr.Int {
		f.invalid(at, p.IntValue(), validation.IsValidPortNum(p.IntValue())...)
		return
	}
	f.invalid(at, p.StrVal, validation.IsValidPortName(p.StrVal)...)
}

// resources checks names and quantities, and that no request exceeds its limit.
func (f *found) resources(r *corev1.ResourceRequirements, at *place) {
	limits, requests := at.Child("limits"), at.Child("requests")
	for _, name := range sortedKeys(r.Limits) {
		f.quantity(name, r.Limits, limits)
	}
	for _, name := range sortedKeys(r.Requests) {
		f.quantity(name, r.Requests, requests)
		request := r.Requests[name]
		limit, limited := r.Limits[name]
		switch {
		case !limited && !overcommitted(name):
			f.required(limits, "Limit must be set for non overcommitable resources")
		case limited && request.Cmp(limit) != 0 && !overcommitted(name):
			f.invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String()))
		case limited && request.Cmp(limit) > 0:
			f.invalid(requests, request.String(),
				fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String()))
		}
	}
}

// overcommitted: of native resources a node may promise more than it has, of others not; huge pages neither.
func overcommitted(name corev1.ResourceName) bool {
	native := !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
	return native && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

func (f *found) quantity(name corev1.ResourceName, list corev1.ResourceList, at *place) {
	here := at.Key(string(name))
	if !isQualified(string(name)) && len(validation.IsQualifiedName(string(name))) > 0 {
		f.invalid(here, name, validation.IsQualifiedName(string(name))...)
	} else if !strings.Contains(string(name), "/") && !strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix) {
		switch name {
		case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		case corev1.ResourceStorage, corev1.ResourcePods:
			f.invalid(here, name, "must be a standard resource for containers")
		default:
			f.invalid(here, name, "must be a standard resource type or fully qualified",
				"must be a standard resource for containers")
		}
	}
	if q := list[name]; q.Sign() < 0 {
		f.invalid(here, q.String(), "must be greater than or equal to 0")
	} else if !overcommitted(name) && q.MilliValue()%1000 != 0 {
		f.invalid(here, q, "must be an integer")
	}
}
