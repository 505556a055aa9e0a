// Package containerd models a machine's container runtime: pod sandboxes, containers and images behind the verbs of
// the CRI.
//
// It leaves out image contents, cgroups, namespaces and the network plugin beyond handing out addresses: a container
// is a Behaviour (see ParseBehaviour and the scripts of its command), or a simulated program such as kube-apiserver.
//
// What always holds: containers belong to the machine, so that they outlive the kubelet and containerd itself but not
// the machine; after a power loss those that ran are found exited 255, "Unknown"; without the daemon every verb
// fails; a container ends once, and whoever subscribed is told when it starts and ends.
//
// The verbs are for processes (they take virtual time); containers are driven by callbacks in scopes of the machine.
//
// Start reading at Runtime, then Runtime.StartContainer, then script.go and behaviour.go.
package containerd
