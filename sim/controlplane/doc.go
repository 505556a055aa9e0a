// Package controlplane models what the programs around the API server share: client-go's informers, work queues, leader
// election and event recorder, and the frame of a component with its flags and health port.
//
// It leaves out what no failure shows: metrics, tracing, resync periods, shared informers' per-handler buffers
// (handlers run at once) and streaming lists (a list from the watch cache stands for them).
//
// What always holds: an informer's objects are shared and never changed; handlers see every object's states in order,
// though not every state; a key is never synced by two workers at once; a component acts as lease holder only from the
// write that made it one until the deadline for renewing has passed; whoever acts on a change has that change as cause.
//
// Informers and queues are driven by callbacks of the client's scope; workers and leader election are processes.
//
// Start reading at Informer, then WorkQueue.Run, then LeaderElector.Run.
package controlplane
