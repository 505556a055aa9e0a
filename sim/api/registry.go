package api

import (
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources of the core group. Short names, categories and subresources: pkg/registry/*/storage.go, v1.36; keys:
// pkg/kubeapiserver/default_storage_factory_builder.go.
var (
	Namespaces = define("v1", "Namespace", func() Object { return &corev1.Namespace{} },
		Resource{Plural: "namespaces", ShortNames: []string{"ns"}, Sub: []string{"status", "finalize"}, Modelled: true})
	Nodes = define("v1", "Node", func() Object { return &corev1.Node{} },
		Resource{Plural: "nodes", ShortNames: []string{"no"}, Prefix: "/registry/minions/", Sub: []string{"status", "proxy"},
			Modelled: true})
	Pods = define("v1", "Pod", func() Object { return &corev1.Pod{} },
		Resource{Plural: "pods", ShortNames: []string{"po"}, Categories: all, Namespaced: true, Modelled: true,
			Sub: []string{"status", "binding", "eviction", "log", "exec", "ephemeralcontainers", "resize"}})
	Services = define("v1", "Service", func() Object { return &corev1.Service{} },
		Resource{Plural: "services", ShortNames: []string{"svc"}, Categories: all, Namespaced: true,
			Prefix: "/registry/services/specs/", Sub: []string{"status", "proxy"}, Modelled: true})
	Endpoints = define("v1", "Endpoints", func() Object { return &corev1.Endpoints{} },
		Resource{Plural: "endpoints", ShortNames: []string{"ep"}, Namespaced: true,
			Prefix: "/registry/services/endpoints/", Modelled: true})
	ConfigMaps = define("v1", "ConfigMap", func() Object { return &corev1.ConfigMap{} },
		Resource{Plural: "configmaps", ShortNames: []string{"cm"}, Namespaced: true, Modelled: true})
	Secrets = define("v1", "Secret", func() Object { return &corev1.Secret{} },
		Resource{Plural: "secrets", Namespaced: true, Modelled: true})
	ServiceAccounts = define("v1", "ServiceAccount", func() Object { return &corev1.ServiceAccount{} },
		Resource{Plural: "serviceaccounts", ShortNames: []string{"sa"}, Namespaced: true, Sub: []string{"token"},
			Modelled: true})
	Events = define("v1", "Event", func() Object { return &corev1.Event{} },
		Resource{Plural: "events", ShortNames: []string{"ev"}, Namespaced: true, Modelled: true})
	PersistentVolumes = define("v1", "PersistentVolume", func() Object { return &corev1.PersistentVolume{} },
		Resource{Plural: "persistentvolumes", ShortNames: []string{"pv"}, Sub: []string{"status"}})
	PersistentVolumeClaims = define("v1", "PersistentVolumeClaim",
		func() Object { return &corev1.PersistentVolumeClaim{} },
		Resource{Plural: "persistentvolumeclaims", ShortNames: []string{"pvc"}, Namespaced: true, Sub: []string{"status"}})
	ReplicationControllers = define("v1", "ReplicationController",
		func() Object { return &corev1.ReplicationController{} },
		Resource{Plural: "replicationcontrollers", ShortNames: []string{"rc"}, Categories: all, Namespaced: true,
			Prefix: "/registry/controllers/", Sub: []string{"status", "scale"}})
	LimitRanges = define("v1", "LimitRange", func() Object { return &corev1.LimitRange{} },
		Resource{Plural: "limitranges", ShortNames: []string{"limits"}, Namespaced: true})
	ResourceQuotas = define("v1", "ResourceQuota", func() Object { return &corev1.ResourceQuota{} },
		Resource{Plural: "resourcequotas", ShortNames: []string{"quota"}, Namespaced: true, Sub: []string{"status"}})
	PodTemplates = define("v1", "PodTemplate", func() Object { return &corev1.PodTemplate{} },
		Resource{Plural: "podtemplates", Namespaced: true})
)

// The resources of workloads.
var (
	Deployments = define("apps/v1", "Deployment", func() Object { return &appsv1.Deployment{} },
		Resource{Plural: "deployments", ShortNames: []string{"deploy"}, Categories: all, Namespaced: true,
			Sub: []string{"status", "scale"}, Modelled: true})
	ReplicaSets = define("apps/v1", "ReplicaSet", func() Object { return &appsv1.ReplicaSet{} },
		Resource{Plural: "replicasets", ShortNames: []string{"rs"}, Categories: all, Namespaced: true,
			Sub: []string{"status", "scale"}, Modelled: true})
	StatefulSets = define("apps/v1", "StatefulSet", func() Object { return &appsv1.StatefulSet{} },
		Resource{Plural: "statefulsets", ShortNames: []string{"sts"}, Categories: all, Namespaced: true,
			Sub: []string{"status", "scale"}, Modelled: true})
	DaemonSets = define("apps/v1", "DaemonSet", func() Object { return &appsv1.DaemonSet{} },
		Resource{Plural: "daemonsets", ShortNames: []string{"ds"}, Categories: all, Namespaced: true,
			Sub: []string{"status"}, Modelled: true})
	ControllerRevisions = define("apps/v1", "ControllerRevision", func() Object { return &appsv1.ControllerRevision{} },
		Resource{Plural: "controllerrevisions", Namespaced: true, Modelled: true})
	Jobs = define("batch/v1", "Job", func() Object { return &batchv1.Job{} },
		Resource{Plural: "jobs", Categories: all, Namespaced: true, Sub: []string{"status"}, Modelled: true})
	CronJobs = define("batch/v1", "CronJob", func() Object { return &batchv1.CronJob{} },
		Resource{Plural: "cronjobs", ShortNames: []string{"cj"}, Categories: all, Namespaced: true, Sub: []string{"status"}})
	HorizontalPodAutoscalers = define("autoscaling/v2", "HorizontalPodAutoscaler",
		func() Object { return &autoscalingv2.HorizontalPodAutoscaler{} },
		Resource{Plural: "horizontalpodautoscalers", ShortNames: []string{"hpa"}, Categories: all, Namespaced: true,
			Sub: []string{"status"}})
	PodDisruptionBudgets = define("policy/v1", "PodDisruptionBudget",
		func() Object { return &policyv1.PodDisruptionBudget{} },
		Resource{Plural: "poddisruptionbudgets", ShortNames: []string{"pdb"}, Namespaced: true, Sub: []string{"status"},
			Modelled: true})
	PriorityClasses = define("scheduling.k8s.io/v1", "PriorityClass",
		func() Object { return &schedulingv1.PriorityClass{} },
		Resource{Plural: "priorityclasses", ShortNames: []string{"pc"}, Modelled: true})
	RuntimeClasses = define("node.k8s.io/v1", "RuntimeClass", func() Object { return &nodev1.RuntimeClass{} },
		Resource{Plural: "runtimeclasses"})
)

// The resources of the network, of leases and of storage.
var (
	Leases = define("coordination.k8s.io/v1", "Lease", func() Object { return &coordinationv1.Lease{} },
		Resource{Plural: "leases", Namespaced: true, Modelled: true})
	EndpointSlices = define("discovery.k8s.io/v1", "EndpointSlice", func() Object { return &discoveryv1.EndpointSlice{} },
		Resource{Plural: "endpointslices", Namespaced: true, Modelled: true})
	Ingresses = define("networking.k8s.io/v1", "Ingress", func() Object { return &networkingv1.Ingress{} },
		Resource{Plural: "ingresses", ShortNames: []string{"ing"}, Namespaced: true, Prefix: "/registry/ingress/",
			Sub: []string{"status"}})
	IngressClasses = define("networking.k8s.io/v1", "IngressClass", func() Object { return &networkingv1.IngressClass{} },
		Resource{Plural: "ingressclasses"})
	NetworkPolicies = define("networking.k8s.io/v1", "NetworkPolicy",
		func() Object { return &networkingv1.NetworkPolicy{} },
		Resource{Plural: "networkpolicies", ShortNames: []string{"netpol"}, Namespaced: true})
	StorageClasses = define("storage.k8s.io/v1", "StorageClass", func() Object { return &storagev1.StorageClass{} },
		Resource{Plural: "storageclasses", ShortNames: []string{"sc"}})
	CSINodes = define("storage.k8s.io/v1", "CSINode", func() Object { return &storagev1.CSINode{} },
		Resource{Plural: "csinodes"})
	CSIDrivers = define("storage.k8s.io/v1", "CSIDriver", func() Object { return &storagev1.CSIDriver{} },
		Resource{Plural: "csidrivers"})
	VolumeAttachments = define("storage.k8s.io/v1", "VolumeAttachment",
		func() Object { return &storagev1.VolumeAttachment{} },
		Resource{Plural: "volumeattachments", Sub: []string{"status"}})
)

// The resources of access and admission. Nothing in the cluster acts on them.
var (
	Roles = define("rbac.authorization.k8s.io/v1", "Role", func() Object { return &rbacv1.Role{} },
		Resource{Plural: "roles", Namespaced: true})
	RoleBindings = define("rbac.authorization.k8s.io/v1", "RoleBinding", func() Object { return &rbacv1.RoleBinding{} },
		Resource{Plural: "rolebindings", Namespaced: true})
	ClusterRoles = define("rbac.authorization.k8s.io/v1", "ClusterRole", func() Object { return &rbacv1.ClusterRole{} },
		Resource{Plural: "clusterroles"})
	ClusterRoleBindings = define("rbac.authorization.k8s.io/v1", "ClusterRoleBinding",
		func() Object { return &rbacv1.ClusterRoleBinding{} }, Resource{Plural: "clusterrolebindings"})
	CertificateSigningRequests = define("certificates.k8s.io/v1", "CertificateSigningRequest",
		func() Object { return &certificatesv1.CertificateSigningRequest{} },
		Resource{Plural: "certificatesigningrequests", ShortNames: []string{"csr"}, Sub: []string{"status", "approval"}})
	MutatingWebhookConfigurations = define("admissionregistration.k8s.io/v1", "MutatingWebhookConfiguration",
		func() Object { return &admissionv1.MutatingWebhookConfiguration{} },
		Resource{Plural: "mutatingwebhookconfigurations", Categories: []string{"api-extensions"}})
	ValidatingWebhookConfigurations = define("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration",
		func() Object { return &admissionv1.ValidatingWebhookConfiguration{} },
		Resource{Plural: "validatingwebhookconfigurations", Categories: []string{"api-extensions"}})
	FlowSchemas = define("flowcontrol.apiserver.k8s.io/v1", "FlowSchema",
		func() Object { return &flowcontrolv1.FlowSchema{} }, Resource{Plural: "flowschemas", Sub: []string{"status"}})
	PriorityLevelConfigurations = define("flowcontrol.apiserver.k8s.io/v1", "PriorityLevelConfiguration",
		func() Object { return &flowcontrolv1.PriorityLevelConfiguration{} },
		Resource{Plural: "prioritylevelconfigurations", Sub: []string{"status"}})
)

var all = []string{"all"}

// resources lists every resource in the order in which an API server names its groups (cmd/kube-apiserver's
// GroupPriorityMinimum, pkg/controlplane/apiserver/aggregator.go, v1.36) and, within a group, by plural. A name that
// several groups have means the first of them.
var resources = [...]*Resource{
	ConfigMaps, Endpoints, Events, LimitRanges, Namespaces, Nodes, PersistentVolumeClaims, PersistentVolumes, Pods,
	PodTemplates, ReplicationControllers, ResourceQuotas, Secrets, ServiceAccounts, Services,
	ControllerRevisions, DaemonSets, Deployments, ReplicaSets, StatefulSets,
	HorizontalPodAutoscalers,
	CronJobs, Jobs,
	CertificateSigningRequests, ClusterTrustBundles, PodCertificateRequests,
	Ingresses, IngressClasses, IPAddresses, NetworkPolicies, ServiceCIDRs,
	PodDisruptionBudgets, PodSecurityPolicies,
	ClusterRoleBindings, ClusterRoles, RoleBindings, Roles,
	CSIDrivers, CSINodes, CSIStorageCapacities, StorageClasses, VolumeAttachments, VolumeAttributesClasses,
	MutatingWebhookConfigurations, ValidatingWebhookConfigurations,
	MutatingAdmissionPolicies, MutatingAdmissionPolicyBindings, ValidatingAdmissionPolicies,
	ValidatingAdmissionPolicyBindings,
	PriorityClasses,
	Leases,
	RuntimeClasses,
	EndpointSlices,
	FlowSchemas, PriorityLevelConfigurations,
	CustomResourceDefinitions,
	APIServices,
	DeviceClasses, DeviceTaintRules, ResourceClaims, ResourceClaimTemplates, ResourceSlices,
	StorageVersionMigrations,
}

// define completes a resource with what follows from its kind.
func define(apiVersion, kind string, empty func() Object, r Resource) *Resource {
	r.GVK = schema.FromAPIVersionAndKind(apiVersion, kind)
	r.Singular = strings.ToLower(kind)
	r.New = empty
	r.zero = empty()
	if r.Prefix == "" {
		r.Prefix = "/registry/" + r.Plural + "/"
	}
	r.typeMeta = metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
	r.envelope = envelopeFor(apiVersion, kind)
	return &r
}
