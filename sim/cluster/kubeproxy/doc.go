// Package kubeproxy models kube-proxy: the agent that writes a node's rules for Services from what the API tells it.
//
// Models kube-proxy in iptables mode (pkg/proxy/iptables/proxier.go, pkg/proxy/runner, v1.36): informers of Services
// and EndpointSlices (Endpoints in older releases), rules written at most once a second, and kept by the machine's
// kernel when the process ends. Leaves out: node ports, session affinity, topology hints, traffic policies, the full
// resync, metrics; packets themselves: nobody sends requests to Services yet.
//
// What always holds: nothing is written before both caches are filled; rules outlive the process and the API's
// absence, so they grow stale; they do not outlive the machine's boot.
//
// It is driven by callbacks in its process's scope.
//
// Start reading at Main and Table.
package kubeproxy
