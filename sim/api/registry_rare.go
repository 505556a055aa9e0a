package api

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"ksim/sim/api/crd"
)

// The resources that few clusters have objects of. They are stored, nothing acts on them, and they cost nothing
// until somebody asks for them.
var (
	MutatingAdmissionPolicies = rare("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicy",
		func() Object { return &admissionv1.MutatingAdmissionPolicy{} },
		Resource{Plural: "mutatingadmissionpolicies", Categories: []string{"api-extensions"}})
	MutatingAdmissionPolicyBindings = rare("admissionregistration.k8s.io/v1", "MutatingAdmissionPolicyBinding",
		func() Object { return &admissionv1.MutatingAdmissionPolicyBinding{} },
		Resource{Plural: "mutatingadmissionpolicybindings", Categories: []string{"api-extensions"}})
	ValidatingAdmissionPolicies = rare("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy",
		func() Object { return &admissionv1.ValidatingAdmissionPolicy{} },
		Resource{Plural: "validatingadmissionpolicies", Categories: []string{"api-extensions"}, Sub: []string{"status"}})
	ValidatingAdmissionPolicyBindings = rare("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding",
		func() Object { return &admissionv1.ValidatingAdmissionPolicyBinding{} },
		Resource{Plural: "validatingadmissionpolicybindings", Categories: []string{"api-extensions"}})
	ClusterTrustBundles = rare("certificates.k8s.io/v1", "ClusterTrustBundle",
		func() Object { return &certificatesv1.ClusterTrustBundle{} }, Resource{Plural: "clustertrustbundles"})
	PodCertificateRequests = rare("certificates.k8s.io/v1", "PodCertificateRequest",
		func() Object { return &certificatesv1.PodCertificateRequest{} },
		Resource{Plural: "podcertificaterequests", Namespaced: true, Sub: []string{"status"}})
	IPAddresses = rare("networking.k8s.io/v1", "IPAddress", func() Object { return &networkingv1.IPAddress{} },
		Resource{Plural: "ipaddresses", ShortNames: []string{"ip"}})
	ServiceCIDRs = rare("networking.k8s.io/v1", "ServiceCIDR", func() Object { return &networkingv1.ServiceCIDR{} },
		Resource{Plural: "servicecidrs", Sub: []string{"status"}})
	CSIStorageCapacities = rare("storage.k8s.io/v1", "CSIStorageCapacity",
		func() Object { return &storagev1.CSIStorageCapacity{} },
		Resource{Plural: "csistoragecapacities", Namespaced: true})
	VolumeAttributesClasses = rare("storage.k8s.io/v1", "VolumeAttributesClass",
		func() Object { return &storagev1.VolumeAttributesClass{} },
		Resource{Plural: "volumeattributesclasses", ShortNames: []string{"vac"}})
	DeviceClasses = rare("resource.k8s.io/v1", "DeviceClass", func() Object { return &resourcev1.DeviceClass{} },
		Resource{Plural: "deviceclasses"})
	DeviceTaintRules = rare("resource.k8s.io/v1", "DeviceTaintRule",
		func() Object { return &resourcev1.DeviceTaintRule{} },
		Resource{Plural: "devicetaintrules", Sub: []string{"status"}})
	ResourceClaims = rare("resource.k8s.io/v1", "ResourceClaim", func() Object { return &resourcev1.ResourceClaim{} },
		Resource{Plural: "resourceclaims", Namespaced: true, Sub: []string{"status"}})
	ResourceClaimTemplates = rare("resource.k8s.io/v1", "ResourceClaimTemplate",
		func() Object { return &resourcev1.ResourceClaimTemplate{} },
		Resource{Plural: "resourceclaimtemplates", Namespaced: true})
	ResourceSlices = rare("resource.k8s.io/v1", "ResourceSlice", func() Object { return &resourcev1.ResourceSlice{} },
		Resource{Plural: "resourceslices"})
	StorageVersionMigrations = rare("storagemigration.k8s.io/v1", "StorageVersionMigration",
		func() Object { return &migrationv1.StorageVersionMigration{} },
		Resource{Plural: "storageversionmigrations", Sub: []string{"status"}})

	// Kinds that k8s.io/api has no types of, or has no more.
	PodSecurityPolicies = untyped("policy/v1beta1", "PodSecurityPolicy",
		Resource{Plural: "podsecuritypolicies", ShortNames: []string{"psp"}})
	CustomResourceDefinitions = untyped("apiextensions.k8s.io/v1", "CustomResourceDefinition",
		Resource{Plural: "customresourcedefinitions", ShortNames: []string{"crd", "crds"},
			Prefix: "/registry/apiextensions.k8s.io/customresourcedefinitions/", Categories: []string{"api-extensions"},
			Sub: []string{"status"}})
	APIServices = untyped("apiregistration.k8s.io/v1", "APIService",
		Resource{Plural: "apiservices", Prefix: "/registry/apiregistration.k8s.io/apiservices/",
			Categories: []string{"api-extensions"}, Sub: []string{"status"}})
)

// rare is define for a resource that few clusters have objects of.
func rare(apiVersion, kind string, empty func() Object, r Resource) *Resource {
	r.Rare = true
	return define(apiVersion, kind, empty, r)
}

// untyped is rare for a resource whose objects have no Go type.
func untyped(apiVersion, kind string, r Resource) *Resource {
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	return rare(apiVersion, kind, func() Object {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(gvk)
		return u
	}, r)
}

// CustomResource is the resource that a version of a definition makes.
func CustomResource(d *crd.Definition, v *crd.Version) *Resource {
	n := &d.Spec.Names
	r := Resource{Plural: n.Plural, ShortNames: n.ShortNames, Categories: n.Categories, Definition: d, Version: v,
		Namespaced: d.Spec.Scope == "Namespaced", Prefix: "/registry/" + d.Spec.Group + "/" + n.Plural + "/"}
	if s := v.Subresources; s != nil && s.Status != nil {
		r.Sub = []string{"status"}
	}
	custom := untyped(d.Spec.Group+"/"+v.Name, n.Kind, r)
	custom.Singular = n.Singular
	return custom
}

// hasStatus reports whether a custom resource's status is written apart from the rest.
func (r *Resource) hasStatus() bool { return r.HasSub("status") }

// beforeCustom does what a custom resource's strategy and schema do before a create, or before an update of old
// (apiextensions-apiserver pkg/registry/customresource/strategy.go, v0.36): it is stored in the storage version,
// without what the schema does not have and with its defaults. Errors: what is wrong with it.
func (r *Resource) beforeCustom(u, old *unstructured.Unstructured, subresource string) field.ErrorList {
	switch {
	case old == nil:
		if r.hasStatus() {
			delete(u.Object, "status")
		}
		u.SetGeneration(1)
	case subresource == "status":
		status, has := u.Object["status"]
		version := u.GetResourceVersion()
		u.Object = old.DeepCopy().Object
		u.SetResourceVersion(version)
		if delete(u.Object, "status"); has {
			u.Object["status"] = status
		}
	default:
		if r.hasStatus() {
			delete(u.Object, "status")
			if status, has := old.Object["status"]; has {
				u.Object["status"] = runtime.DeepCopyJSONValue(status)
			}
		}
		if !sameContent(u.Object, old.Object, r.hasStatus()) {
			u.SetGeneration(old.GetGeneration() + 1)
		}
	}
	u.SetAPIVersion(r.GVK.Group + "/" + r.Definition.Stored())
	schema := r.Version.Schema
	if schema == nil {
		return nil
	}
	schema.OpenAPIV3Schema.Fill(u.Object)
	schema.OpenAPIV3Schema.Prune(u.Object, true, "")
	return schema.OpenAPIV3Schema.Validate(u.Object, nil)
}

// ValidateCustom checks a custom resource that is to be created. It is changed as its schema says.
func ValidateCustom(r *Resource, obj Object) field.ErrorList {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok || r.Definition == nil {
		return nil
	}
	return r.beforeCustom(u, nil, "")
}

// sameContent reports whether two objects differ at most in what does not count as a change of the specification.
func sameContent(a, b map[string]any, hasStatus bool) bool {
	without := func(m map[string]any) map[string]any {
		kept := make(map[string]any, len(m))
		for key, value := range m { // any order: into a map
			if key != "metadata" && key != "apiVersion" && (key != "status" || !hasStatus) {
				kept[key] = value
			}
		}
		return kept
	}
	return equality.Semantic.DeepEqual(without(a), without(b))
}
