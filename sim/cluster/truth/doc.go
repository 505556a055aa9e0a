// Package truth is how an observer sees a running cluster: expectations, reports and the terminal UI.
//
// It models nothing; it names what can be seen of machines, etcd, the control plane and API objects, and when that
// changed.
//
// It leaves out any way to act: an observer never does.
//
// What always holds: whoever implements World touches Changes in the same kernel event in which what an input shows has
// changed, so that looking only after a touch misses nothing.
//
// It is driven by whoever observes, between two kernel events. Start reading at World.
package truth
