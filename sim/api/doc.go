// Package api is what all parts of a cluster know of the Kubernetes API: the resources and their objects, how they are
// stored, defaulted, checked and patched, how to ask for them, and how releases differ.
//
// It leaves out everything that acts: the server is in sim/controlplane/apiserver. Objects are those of k8s.io/api;
// kinds that no part of the cluster acts on are only stored. Conversion between versions of a group is a change of
// apiVersion.
//
// What always holds: an object that came from here is shared and is not changed; the same bytes decode to equal
// objects; stored bytes do not hold the resourceVersion; nothing here keeps state between calls except a Codec, which
// only remembers.
//
// It is driven by plain calls; only the typed requests of client.go wait, in the process that they are given.
//
// Start reading at Resource and registry.go, then Request and Client, then strategy.go for what a write goes through.
package api
