package shell

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/duration"

	"ksim/sim/api"
)

// Models the tables of further types (pkg/printers/internalversion/printers.go, v1.11 to v1.37) and the one of types
// that have none of their own (apiserver pkg/registry/rest/table.go, v0.36). Leaves out: the columns of the rarest
// types, which have NAME and AGE.

// columns makes a table: names with underscores for spaces, wide ones after a bar.
func columns(names string, cells func(api.Object, time.Time) []string) table {
	narrow, wide, _ := strings.Cut(names, "|")
	list := strings.Fields(narrow + " " + wide)
	for i := range list {
		list[i] = strings.ReplaceAll(list[i], "_", " ")
	}
	return table{list, len(strings.Fields(narrow)), cells}
}

// without leaves columns out that a release does not have yet.
func (t table) without(absent bool, names ...string) table {
	if !absent {
		return t
	}
	var kept []int
	less := table{}
	for i, name := range t.columns {
		if slices.Contains(names, name) {
			continue
		}
		kept = append(kept, i)
		less.columns = append(less.columns, name)
		if i < t.narrow {
			less.narrow++
		}
	}
	less.cells = func(obj api.Object, now time.Time) []string {
		var cells []string
		all := t.cells(obj, now)
		for _, i := range kept {
			cells = append(cells, all[i])
		}
		return cells
	}
	return less
}

// furtherTable returns the table of a type of which kubectl_print.go has none.
func furtherTable(res *api.Resource, minor int) table {
	if res.Version != nil {
		return customTable(res.Version.Columns)
	}
	const bindings = "NAME ROLE AGE|USERS GROUPS SERVICEACCOUNTS"
	switch res {
	case api.Jobs:
		return columns("NAME STATUS COMPLETIONS DURATION AGE|CONTAINERS IMAGES SELECTOR", jobCells).
			without(minor < 30, "STATUS")
	case api.CronJobs:
		return columns("NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST_SCHEDULE AGE|CONTAINERS IMAGES SELECTOR", cronJobCells).
			without(minor < 30, "TIMEZONE")
	case api.PodDisruptionBudgets:
		return columns("NAME MIN_AVAILABLE MAX_UNAVAILABLE ALLOWED_DISRUPTIONS AGE", budgetCells)
	case api.ReplicationControllers:
		return columns("NAME DESIRED CURRENT READY AGE|CONTAINERS IMAGES SELECTOR", replicationControllerCells)
	case api.Ingresses:
		return columns("NAME CLASS HOSTS ADDRESS PORTS AGE", ingressCells).without(minor < 18, "CLASS")
	case api.IngressClasses:
		return columns("NAME CONTROLLER PARAMETERS AGE", ingressClassCells)
	case api.NetworkPolicies:
		return columns("NAME POD-SELECTOR AGE", networkPolicyCells)
	case api.Endpoints:
		return columns("NAME ENDPOINTS AGE", endpointsCells)
	case api.EndpointSlices:
		return columns("NAME ADDRESSTYPE PORTS ENDPOINTS AGE", sliceCells)
	case api.PersistentVolumeClaims:
		return columns("NAME STATUS VOLUME CAPACITY ACCESS_MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE|VOLUMEMODE",
			claimCells).without(minor < 30, "VOLUMEATTRIBUTESCLASS").without(minor < 15, "VOLUMEMODE")
	case api.PersistentVolumes:
		return columns("NAME CAPACITY ACCESS_MODES RECLAIM_POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON "+
			"AGE|VOLUMEMODE", volumeCells).without(minor < 30, "VOLUMEATTRIBUTESCLASS").without(minor < 15, "VOLUMEMODE")
	case api.StorageClasses:
		return columns("NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE", storageClassCells).
			without(minor < 17, "RECLAIMPOLICY", "VOLUMEBINDINGMODE", "ALLOWVOLUMEEXPANSION")
	case api.HorizontalPodAutoscalers:
		return columns("NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE",
			func(obj api.Object, now time.Time) []string { return autoscalerCells(obj, now, minor) })
	case api.RoleBindings, api.ClusterRoleBindings:
		return columns(bindings, bindingCells)
	case api.Secrets:
		return columns("NAME TYPE DATA AGE", func(obj api.Object, now time.Time) []string {
			s := obj.(*corev1.Secret)
			return []string{s.Name, string(s.Type), strconv.Itoa(len(s.Data)), age(s, now)}
		})
	case api.ServiceAccounts:
		return columns("NAME SECRETS AGE", func(obj api.Object, now time.Time) []string {
			return []string{obj.GetName(), strconv.Itoa(len(obj.(*corev1.ServiceAccount).Secrets)), age(obj, now)}
		}).without(minor >= 35, "SECRETS")
	}
	return rareTable(res, minor)
}

func rareTable(res *api.Resource, minor int) table {
	switch res {
	case api.ResourceQuotas:
		// The columns of what is used are filled in by a controller.
		if minor >= 33 {
			return columns("NAME REQUEST LIMIT AGE", func(obj api.Object, now time.Time) []string {
				return []string{obj.GetName(), "", "", age(obj, now)}
			})
		}
		return columns("NAME AGE REQUEST LIMIT", func(obj api.Object, now time.Time) []string {
			return []string{obj.GetName(), age(obj, now), "", ""}
		}).without(minor < 15, "REQUEST", "LIMIT")
	case api.PriorityClasses:
		return columns("NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY", priorityClassCells).
			without(minor < 32, "PREEMPTIONPOLICY")
	case api.IPAddresses:
		return columns("NAME PARENTREF AGE", addressCells)
	case api.RuntimeClasses:
		return columns("NAME HANDLER AGE", func(obj api.Object, now time.Time) []string {
			return []string{obj.GetName(), obj.(*nodev1.RuntimeClass).Handler, age(obj, now)}
		})
	case api.ControllerRevisions:
		return columns("NAME CONTROLLER REVISION AGE", controllerRevisionCells)
	case api.MutatingWebhookConfigurations:
		return columns("NAME WEBHOOKS AGE", func(obj api.Object, now time.Time) []string {
			n := len(obj.(*admissionv1.MutatingWebhookConfiguration).Webhooks)
			return []string{obj.GetName(), strconv.Itoa(n), age(obj, now)}
		})
	case api.ValidatingWebhookConfigurations:
		return columns("NAME WEBHOOKS AGE", func(obj api.Object, now time.Time) []string {
			n := len(obj.(*admissionv1.ValidatingWebhookConfiguration).Webhooks)
			return []string{obj.GetName(), strconv.Itoa(n), age(obj, now)}
		})
	case api.Roles, api.ClusterRoles, api.LimitRanges, api.CustomResourceDefinitions:
		if minor >= 18 {
			return columns("NAME CREATED_AT", func(obj api.Object, _ time.Time) []string {
				return []string{obj.GetName(), obj.GetCreationTimestamp().UTC().Format(time.RFC3339)}
			})
		}
	}
	return columns("NAME AGE", func(obj api.Object, now time.Time) []string {
		return []string{obj.GetName(), age(obj, now)}
	})
}

func hasJobCondition(job *batchv1.Job, kind batchv1.JobConditionType) bool {
	return slices.ContainsFunc(job.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == kind && c.Status == corev1.ConditionTrue
	})
}

func jobCells(obj api.Object, now time.Time) []string {
	job := obj.(*batchv1.Job)
	completions := fmt.Sprintf("%d/1", job.Status.Succeeded)
	if n := job.Spec.Completions; n != nil {
		completions = fmt.Sprintf("%d/%d", job.Status.Succeeded, *n)
	} else if n := wanted(job.Spec.Parallelism); n > 1 {
		completions = fmt.Sprintf("%d/1 of %d", job.Status.Succeeded, n)
	}
	took := ""
	switch start, end := job.Status.StartTime, job.Status.CompletionTime; {
	case start == nil:
	case end == nil:
		took = duration.HumanDuration(now.Sub(start.Time))
	default:
		took = duration.HumanDuration(end.Sub(start.Time))
	}
	status := "Running"
	switch {
	case hasJobCondition(job, batchv1.JobComplete):
		status = "Complete"
	case hasJobCondition(job, batchv1.JobFailed):
		status = "Failed"
	case job.DeletionTimestamp != nil:
		status = "Terminating"
	case hasJobCondition(job, batchv1.JobSuspended):
		status = "Suspended"
	case hasJobCondition(job, batchv1.JobFailureTarget):
		status = "FailureTarget"
	case hasJobCondition(job, batchv1.JobSuccessCriteriaMet):
		status = "SuccessCriteriaMet"
	}
	names, images := templateCells(&job.Spec.Template.Spec)
	return []string{job.Name, status, completions, took, age(job, now), names, images,
		metav1.FormatLabelSelector(job.Spec.Selector)}
}

func cronJobCells(obj api.Object, now time.Time) []string {
	c := obj.(*batchv1.CronJob)
	last, zone := "<none>", "<none>"
	if t := c.Status.LastScheduleTime; t != nil {
		last = since(*t, now)
	}
	if c.Spec.TimeZone != nil {
		zone = *c.Spec.TimeZone
	}
	names, images := templateCells(&c.Spec.JobTemplate.Spec.Template.Spec)
	return []string{c.Name, c.Spec.Schedule, zone, boolCell(c.Spec.Suspend), strconv.Itoa(len(c.Status.Active)), last,
		age(c, now), names, images, metav1.FormatLabelSelector(c.Spec.JobTemplate.Spec.Selector)}
}

func boolCell(b *bool) string {
	if b == nil {
		return "<unset>"
	}
	if *b {
		return "True"
	}
	return "False"
}

func budgetCells(obj api.Object, now time.Time) []string {
	b := obj.(*policyv1.PodDisruptionBudget)
	least, most := "N/A", "N/A"
	if b.Spec.MinAvailable != nil {
		least = b.Spec.MinAvailable.String()
	}
	if b.Spec.MaxUnavailable != nil {
		most = b.Spec.MaxUnavailable.String()
	}
	return []string{b.Name, least, most, count(b.Status.DisruptionsAllowed), age(b, now)}
}

func replicationControllerCells(obj api.Object, now time.Time) []string {
	rc := obj.(*corev1.ReplicationController)
	names, images := "", ""
	if rc.Spec.Template != nil {
		names, images = templateCells(&rc.Spec.Template.Spec)
	}
	return []string{rc.Name, count(wanted(rc.Spec.Replicas)), count(rc.Status.Replicas), count(rc.Status.ReadyReplicas),
		age(rc, now), names, images, labels.FormatLabels(rc.Spec.Selector)}
}

// first writes the first three of a list, and how many more there are.
func first(list []string) string {
	const shown = 3
	if len(list) <= shown {
		return strings.Join(list, ",")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(list[:shown], ","), len(list)-shown)
}

func ingressCells(obj api.Object, now time.Time) []string {
	i := obj.(*networkingv1.Ingress)
	class, ports := "<none>", "80"
	if i.Spec.IngressClassName != nil {
		class = *i.Spec.IngressClassName
	}
	var hosts []string
	for _, r := range i.Spec.Rules {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	if hosts == nil {
		hosts = []string{"*"}
	}
	if len(i.Spec.TLS) > 0 {
		ports = "80, 443"
	}
	var addresses []string
	for _, a := range i.Status.LoadBalancer.Ingress {
		addresses = append(addresses, a.IP+a.Hostname)
	}
	return []string{i.Name, class, first(hosts), strings.Join(addresses, ","), ports, age(i, now)}
}

func ingressClassCells(obj api.Object, now time.Time) []string {
	c := obj.(*networkingv1.IngressClass)
	name, parameters := c.Name, "<none>"
	if c.Annotations[networkingv1.AnnotationIsDefaultIngressClass] == "true" {
		name += " (default)"
	}
	if p := c.Spec.Parameters; p != nil {
		parameters = p.Kind
		if p.APIGroup != nil {
			parameters += "." + *p.APIGroup
		}
		parameters += "/" + p.Name
	}
	return []string{name, c.Spec.Controller, parameters, age(c, now)}
}

func networkPolicyCells(obj api.Object, now time.Time) []string {
	p := obj.(*networkingv1.NetworkPolicy)
	return []string{p.Name, metav1.FormatLabelSelector(&p.Spec.PodSelector), age(p, now)}
}

func endpointsCells(obj api.Object, now time.Time) []string {
	e := obj.(*corev1.Endpoints)
	var list []string
	for _, subset := range e.Subsets {
		for _, address := range subset.Addresses {
			if len(subset.Ports) == 0 {
				list = append(list, address.IP)
			}
		}
		for _, port := range subset.Ports {
			for _, address := range subset.Addresses {
				list = append(list, fmt.Sprintf("%s:%d", address.IP, port.Port))
			}
		}
	}
	if len(e.Subsets) == 0 {
		list = []string{"<none>"}
	}
	return []string{e.Name, first(list), age(e, now)}
}

func sliceCells(obj api.Object, now time.Time) []string {
	s := obj.(*discoveryv1.EndpointSlice)
	var ports, addresses []string
	for _, p := range s.Ports {
		switch {
		case p.Port != nil:
			ports = append(ports, strconv.Itoa(int(*p.Port)))
		case p.Name != nil:
			ports = append(ports, *p.Name)
		default:
			ports = append(ports, "*")
		}
	}
	for _, e := range s.Endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	return []string{s.Name, string(s.AddressType), unsetCell(first(ports)), unsetCell(first(addresses)), age(s, now)}
}

func unsetCell(text string) string {
	if text == "" {
		return "<unset>"
	}
	return text
}
