package api

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
