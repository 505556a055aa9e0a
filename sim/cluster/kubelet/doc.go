// Package kubelet models the kubelet: the agent that registers a machine as a Node, keeps its Lease and status fresh,
// and runs the pods that are bound to it, or lie in its manifest directory, in the machine's containers.
//
// It leaves out volumes beyond the time that they take and the ConfigMaps and Secrets that they need, cgroups, resource
// managers, in-place resize, node-pressure eviction, certificates, and its own HTTP server.
//
// What always holds: a pod has one worker at a time, which goes through sync, terminating, terminated and never back; a
// pod's object is deleted only after its containers have ended; what the kubelet knows of the API it has from its own
// watches; containers outlive it.
//
// Workers are processes; the status manager, the lease, node status, probes and timers are callbacks. What the real one
// polls (PLEG each second, housekeeping every two, resyncs) is computed: only ticks that find something are scheduled.
//
// Start reading at Main, then podWorkers.update, then Kubelet.syncPod.
package kubelet
