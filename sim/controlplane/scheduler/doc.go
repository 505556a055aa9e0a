// Package scheduler models kube-scheduler: the program with its flags and leader election, the handlers that feed the
// queue and the cache, and the cycle that gives one pod after another a node. Its parts have packages of their own:
// framework, plugins, cache, queue.
//
// It leaves out extenders, profiles besides default-scheduler, pod groups, volumes beyond unbound claims, devices, and
// configuration files beyond a few fields.
//
// What always holds: only the holder of the lease schedules; a pod is bound only to a node that all filters accept at
// that instant; a pod that is bound or being bound counts on its node; nothing that happens while a pod is tried is
// lost for it.
//
// It is driven by informers' callbacks; the loop, leader election and preemption are processes.
//
// Start reading at Main, then Scheduler.scheduleOne, then Scheduler.schedulePod.
package scheduler
