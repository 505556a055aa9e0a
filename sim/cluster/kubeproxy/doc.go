// Package kubeproxy models kube-proxy: the agent that writes a node's rules for Services from what the API tells it,
// and the node's kernel, which follows them.
//
// Models kube-proxy in iptables mode (cmd/kube-proxy, pkg/proxy/iptables/proxier.go, pkg/proxy/runner, v1.36):
// informers of Services and EndpointSlices (Endpoints in older releases), rules written at most once a second, and
// kept by the machine's kernel when the process ends. Leaves out: other modes, node ports and load balancers'
// addresses, the full resync, writes that fail, metrics; its own pods: it is a service of the machine.
//
// What always holds: nothing is written before both caches are filled; rules outlive the process and the API's
// absence, so they grow stale; they do not outlive the machine's boot.
//
// It is driven by callbacks in its process's scope; the rules are looked at by whoever dials.
//
// Start reading at Main, then Rule, then Table.
package kubeproxy
