// Package apiserver models kube-apiserver: the REST verbs on stored objects, admission, the watch cache of each
// resource, health, the kubernetes Service's endpoints, compaction, start-up and termination.
//
// It leaves out: authentication and authorization beyond who is refused while the server starts up, server-side apply,
// priority and fairness and limits of requests in flight, aggregation, custom resources, webhooks, quotas, snapshots of
// the watch cache, and the processor time that a request takes.
//
// What always holds: the objects are in etcd and nowhere else; a write is acknowledged when etcd has committed it; of
// two writers of one version one gets a conflict; a watch delivers every change of what it selects, in the order of
// revisions, without gaps, or says 410; objects handed out are shared and never change; each write that happens is told
// to the trace once, with the request that caused it.
//
// It is driven by requests (hardware.Call with an *api.Request, answered with an *api.Response or an error), by etcd's
// watch responses, and by processes for what runs by itself.
//
// Start reading at Server.run for the life of the process, request.go for a request's way, then watchCache and
// storage.go.
package apiserver
