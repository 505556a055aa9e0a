// Package defaults fills in what the writer of an object left out, as kube-apiserver does with every body that it
// decodes (pkg/apis/*/v1/defaults.go and zz_generated.defaults.go, v1.36).
//
// It leaves out the defaults of volume types that no node of the cluster can mount, and differences between releases:
// a field that came later than the cluster's release is defaulted all the same. What depends on the cluster's state
// (Service addresses, tolerations, priority) is not a default but the work of the API server.
//
// What always holds: an object that was defaulted once does not change when it is defaulted again.
//
// It is driven by one call, Set. Start reading there, then pod.go.
package defaults
