// Package spec says what a cluster is made of before it exists: the part of a scenario that sim/cluster builds.
//
// It models the choices an administrator makes: release, topology, machines and zones, load balancer, network, disks,
// flags.
//
// It leaves out everything that runs.
//
// What always holds: names, zones and roles of all machines follow from the spec alone, so that whoever checks a
// scenario and whoever builds the cluster agree on them.
//
// It is plain data. Start reading at Cluster, then Cluster.Machines.
package spec
