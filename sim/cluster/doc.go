// Package cluster turns a spec into a running cluster: machines with their files and services, the faults that can be
// done to them, and the truth that observers see.
//
// It leaves out what is not a machine's own doing: components are in sim/controlplane, sim/raft, and in the packages
// below this one (kubelet, containerd, kubeproxy, systemd, haproxy).
//
// What always holds: components meet only through the network and the files of their machine; only World sees the
// truth, and it never acts; what an installer would have written lies in files where an administrator expects it.
//
// It is driven by callbacks; New powers the machines on, and the caller steps the kernel.
//
// Start reading at New.
package cluster
