// Package sim is the kernel of the simulator: virtual time, the event queue, lifetimes, processes, random streams and
// the trace.
//
// It models nothing of Kubernetes. It gives everything above it one clock, one order and one memory of what happened.
//
// It leaves out parallelism: one event runs at a time. Simulations that should run side by side take a Kernel each.
//
// What always holds: events run in the order of (time, sequence of scheduling); nothing reads the wall clock or a
// global source of randomness; the same seed and the same calls give the same trace, byte for byte; what belongs to a
// dead Scope never runs again; every trace event has a cause, and causes lead back to the outside world (event 0).
//
// It is driven by callbacks (Scope.After) for state machines and by processes (Scope.Go) for whatever waits more than
// once. Start reading at Kernel.Step, then Scope, then Proc.
package sim
