// Package controllers models kube-controller-manager: node lifecycle and taint eviction, the workload controllers,
// garbage collection, namespaces, pod garbage collection, EndpointSlices, PodDisruptionBudgets. One file per
// controller, named and built as upstream's, so that both can be read side by side.
//
// It leaves out controllers of which no failure story depends: HPA, quotas, certificates, volumes, node IPAM, service
// accounts' tokens, cloud providers.
//
// What always holds: controllers run only in the process that holds the lock; they know the cluster only by their
// informers and by what the API answers; a write on an outdated object fails and is tried again.
//
// It is driven by informers' handlers, which queue keys, and by workers, which sync them.
//
// Start reading at Main, then nodelifecycle.go.
package controllers
