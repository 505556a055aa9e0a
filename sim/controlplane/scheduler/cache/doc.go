// Package cache models kube-scheduler's cache: the nodes with the pods on them, those included that were just assumed
// to run there because their binding is under way.
//
// It leaves out snapshots: a scheduling cycle happens at one instant of virtual time, so the cache itself is what it
// sees. It also leaves out the expiry of assumed pods (durationToExpireAssumedPod is 0, never, in
// pkg/scheduler/scheduler.go).
//
// What always holds: a pod counts on one node at most; an assumed pod counts until its binding is seen or it is
// forgotten; nodes come in an order in which zones take turns, the same in every run; the tables of counted pods
// agree with the pods.
//
// It is driven by calls of the scheduler.
//
// Start reading at Cache, then nodeTree, then podCounter.
package cache
