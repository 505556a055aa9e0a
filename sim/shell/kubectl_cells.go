package shell

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"ksim/sim/api"
	"ksim/sim/api/crd"
)

func modesCell(modes []corev1.PersistentVolumeAccessMode) string {
	short := map[corev1.PersistentVolumeAccessMode]string{corev1.ReadWriteOnce: "RWO", corev1.ReadOnlyMany: "ROX",
		corev1.ReadWriteMany: "RWX", corev1.ReadWriteOncePod: "RWOP"}
	var list []string
	for _, mode := range [...]corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce, corev1.ReadOnlyMany,
		corev1.ReadWriteMany, corev1.ReadWriteOncePod} {
		if slices.Contains(modes, mode) {
			list = append(list, short[mode])
		}
	}
	return strings.Join(list, ",")
}

func pointerCell[T ~string](p *T, absent string) string {
	if p == nil {
		return absent
	}
	return string(*p)
}

func phaseCell[T ~string](obj api.Object, phase T) string {
	if obj.GetDeletionTimestamp() != nil {
		return "Terminating"
	}
	return string(phase)
}

func claimCells(obj api.Object, now time.Time) []string {
	c := obj.(*corev1.PersistentVolumeClaim)
	capacity, modes := "", ""
	if c.Spec.VolumeName != "" {
		storage := c.Status.Capacity[corev1.ResourceStorage]
		capacity, modes = storage.String(), modesCell(c.Status.AccessModes)
	}
	return []string{c.Name, phaseCell(c, c.Status.Phase), c.Spec.VolumeName, capacity, modes,
		pointerCell(c.Spec.StorageClassName, ""), pointerCell(c.Spec.VolumeAttributesClassName, "<unset>"), age(c, now),
		pointerCell(c.Spec.VolumeMode, "<unset>")}
}

func volumeCells(obj api.Object, now time.Time) []string {
	v := obj.(*corev1.PersistentVolume)
	claim := ""
	if r := v.Spec.ClaimRef; r != nil {
		claim = r.Namespace + "/" + r.Name
	}
	storage := v.Spec.Capacity[corev1.ResourceStorage]
	return []string{v.Name, storage.String(), modesCell(v.Spec.AccessModes),
		string(v.Spec.PersistentVolumeReclaimPolicy), phaseCell(v, v.Status.Phase), claim, v.Spec.StorageClassName,
		pointerCell(v.Spec.VolumeAttributesClassName, "<unset>"), v.Status.Reason, age(v, now),
		pointerCell(v.Spec.VolumeMode, "<unset>")}
}

func storageClassCells(obj api.Object, now time.Time) []string {
	c := obj.(*storagev1.StorageClass)
	name := c.Name
	if c.Annotations["storageclass.kubernetes.io/is-default-class"] == "true" ||
		c.Annotations["storageclass.beta.kubernetes.io/is-default-class"] == "true" {
		name += " (default)"
	}
	expands := c.AllowVolumeExpansion != nil && *c.AllowVolumeExpansion
	return []string{name, c.Provisioner, pointerCell(c.ReclaimPolicy, string(corev1.PersistentVolumeReclaimDelete)),
		pointerCell(c.VolumeBindingMode, string(storagev1.VolumeBindingImmediate)), strconv.FormatBool(expands),
		age(c, now)}
}

func autoscalerCells(obj api.Object, now time.Time, minor int) []string {
	h := obj.(*autoscalingv2.HorizontalPodAutoscaler)
	var targets []string
	for _, m := range h.Spec.Metrics {
		targets = append(targets, targetCell(&m, minor))
	}
	text := strings.Join(targets[:min(2, len(targets))], ", ")
	if len(targets) > 2 {
		text = fmt.Sprintf("%s + %d more...", text, len(targets)-2)
	}
	least := "<unset>"
	if h.Spec.MinReplicas != nil {
		least = count(*h.Spec.MinReplicas)
	}
	return []string{h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, orNoneCell(text), least,
		count(h.Spec.MaxReplicas), count(h.Status.CurrentReplicas), age(h, now)}
}

// targetCell writes a metric's target. Nothing measures: what it is now is unknown.
func targetCell(m *autoscalingv2.MetricSpec, minor int) string {
	var target autoscalingv2.MetricTarget
	name := ""
	switch {
	case m.Resource != nil:
		target, name = m.Resource.Target, string(m.Resource.Name)+": "
	case m.ContainerResource != nil:
		target, name = m.ContainerResource.Target, string(m.ContainerResource.Name)+": "
	case m.Pods != nil:
		target = m.Pods.Target
	case m.Object != nil:
		target = m.Object.Target
	case m.External != nil:
		target = m.External.Target
	}
	if minor < 30 {
		name = ""
	}
	average := ""
	if m.Object != nil || m.External != nil {
		average = " (avg)"
	}
	switch {
	case target.AverageValue != nil:
		return name + "<unknown>/" + target.AverageValue.String() + average
	case target.Value != nil:
		return name + "<unknown>/" + target.Value.String()
	case target.AverageUtilization != nil:
		return fmt.Sprintf("%s<unknown>/%d%%", name, *target.AverageUtilization)
	}
	return name + "<unknown>/<auto>"
}

func bindingCells(obj api.Object, now time.Time) []string {
	var ref rbacv1.RoleRef
	var subjects []rbacv1.Subject
	switch b := obj.(type) {
	case *rbacv1.RoleBinding:
		ref, subjects = b.RoleRef, b.Subjects
	case *rbacv1.ClusterRoleBinding:
		ref, subjects = b.RoleRef, b.Subjects
	}
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []string{obj.GetName(), ref.Kind + "/" + ref.Name, age(obj, now), strings.Join(users, ", "),
		strings.Join(groups, ", "), strings.Join(accounts, ", ")}
}

func priorityClassCells(obj api.Object, now time.Time) []string {
	c := obj.(*schedulingv1.PriorityClass)
	return []string{c.Name, count(c.Value), strconv.FormatBool(c.GlobalDefault), age(c, now),
		pointerCell(c.PreemptionPolicy, "")}
}

func controllerRevisionCells(obj api.Object, now time.Time) []string {
	r := obj.(*appsv1.ControllerRevision)
	controller := "<none>"
	if owner := metav1.GetControllerOf(r); owner != nil {
		group, _, _ := strings.Cut(owner.APIVersion, "/")
		controller = strings.ToLower(owner.Kind) + "." + group + "/" + owner.Name
	}
	return []string{r.Name, controller, strconv.FormatInt(r.Revision, 10), age(r, now)}
}

func addressCells(obj api.Object, now time.Time) []string {
	parent := "<none>"
	if r := obj.(*networkingv1.IPAddress).Spec.ParentRef; r != nil {
		parent = r.Resource
		if r.Group != "" {
			parent += "." + r.Group
		}
		if r.Namespace != "" {
			parent += "/" + r.Namespace
		}
		parent += "/" + r.Name
	}
	return []string{obj.GetName(), parent, age(obj, now)}
}

// customTable is the table of a custom resource (apiextensions-apiserver pkg/registry/customresource/tableconvertor,
// v0.36): NAME, what its definition asks for, and AGE where it asks for nothing.
func customTable(asked []crd.Column) table {
	t := table{columns: []string{"NAME"}, narrow: 1}
	ordered := slices.Clone(asked)
	slices.SortStableFunc(ordered, func(a, b crd.Column) int { return min(int(a.Priority), 1) - min(int(b.Priority), 1) })
	if len(ordered) == 0 {
		ordered = []crd.Column{{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"}}
	}
	for _, c := range ordered {
		t.columns = append(t.columns, strings.ToUpper(c.Name))
		if c.Priority == 0 {
			t.narrow++
		}
	}
	t.cells = func(obj api.Object, now time.Time) []string {
		cells := []string{obj.GetName()}
		for _, c := range ordered {
			cells = append(cells, customCell(c, obj, now))
		}
		return cells
	}
	return t
}

func customCell(c crd.Column, obj api.Object, now time.Time) string {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return ""
	}
	var texts []string
	for _, value := range crd.Lookup(u.Object, c.JSONPath) {
		text, isText := value.(string)
		if c.Type == "date" && isText {
			at, err := time.Parse(time.RFC3339, text)
			if err != nil {
				return "<invalid>"
			}
			return since(metav1.NewTime(at), now)
		}
		if !isText {
			encoded, _ := json.Marshal(value) // cannot fail: it was JSON
			text = string(encoded)
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, " ")
}
