package apiserver

import (
	"slices"
	"time"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Models the life of kube-apiserver's process (cmd/kube-apiserver/app/server.go, apiserver
// pkg/server/genericapiserver.go, hooks.go, v1.36): start-up in its phases, post-start hooks, termination. How long the
// work of a phase takes is not modelled but measured: 2.8 to 4.8 s from the start to /readyz, requests answered after
// about half of that.

// Start-up, in thousandths of the time from the start to readiness, which is drawn. Measured on control planes of
// three: port open after 0.2 s, first answers after 1.4 of 2.9 s, 403 until short of the end.
const (
	startMin, startMax = 2800 * time.Millisecond, 4750 * time.Millisecond
	portOpen           = 60
	serveMin, serveMax = 420, 560
	rolesMin, rolesMax = 640, 920
	// Of a hook: 2 x the endpoints' interval (kubernetesservice/controller.go Stop)
	shutdownEtcdGrace    = 20 * time.Second
	repairTimeout        = time.Minute // ipallocator/controller/repair.go, server.go RunUntil
	repairRetry          = time.Second
	readyPoll            = 100 * time.Millisecond // kubernetesservice/controller.go Run
	exitFatal            = 255                    // klog.Fatal
	storageFactoryFailed = "command failed: error creating storage factory: context deadline exceeded"
	repairFailed         = `PostStartHook "start-service-ip-repair-controllers" failed: ` +
		"unable to perform initial IP and Port allocation check"
)

// run is the life of the process up to readiness.
func (s *Server) run(p *sim.Proc) {
	began := p.Now()
	pace := s.random.Between(startMin, startMax)
	at := func(permille int64) time.Duration { // until that part of the start-up is done
		return began.Add(pace * time.Duration(permille) / 1000).Sub(p.Now())
	}
	p.Sleep(at(portOpen))
	if !s.listen() || !s.connectEtcd(p) {
		return
	}
	connected := p.Now()
	began += connected - began.Add(pace*portOpen/1000) // the work begins when etcd is there
	s.buildRegistries()
	serve := serveMin + s.random.Int64N(serveMax-serveMin)
	roles := rolesMin + s.random.Int64N(rolesMax-rolesMin)
	p.Sleep(at(serve))
	s.rolesKnown = !slices.Contains(s.options.authorizationMode, "RBAC")
	s.rolesMade = s.rolesKnown
	s.serve()
	s.finishHooks(hooks, hookPriorityClasses, hookRepair, "bootstrap-controller", "apiservice-registration-controller",
		"kube-apiserver-autoregistration")
	s.scope.Go("repair", s.repairServiceIPs)
	s.scope.Go("compactor", s.compact)
	p.Sleep(at(roles))
	s.learnRoles(p)
	s.bootstrap(p)
	p.Sleep(at(1000))
	s.awaitCaches(p)
	s.hooksDone = true
	s.view.note()
	s.scope.Emit(sim.Event{Level: sim.Detail, Reason: "Serving", Object: "machine/" + s.machineName,
		Message: "kube-apiserver on " + s.machineName + " has started up."})
	s.scope.Go("kubernetes service", s.endpoints.run)
	s.scope.Go("system namespaces", s.keepNamespaces)
	s.scope.Go("identity", s.keepIdentity)
}

const hookRepair = "start-service-ip-repair-controllers"

// finishHooks marks all hooks done except those named.
func (s *Server) finishHooks(all []string, except ...string) {
	for _, hook := range all {
		if !slices.Contains(except, hook) {
			s.doneHooks[hook] = true
		}
	}
}

// connectEtcd makes the two clients of the health checks and waits until the first is connected: without, in 20 s, the
// process ends. A member that answers nothing (no quorum since it started) counts as not connected.
func (s *Server) connectEtcd(p *sim.Proc) bool {
	s.etcdHealth = &etcdCheck{name: "etcd", server: s, client: s.newEtcdClient(), timeout: s.options.etcdHealthTimeout,
		last: errUnfinished}
	s.etcdReadiness = &etcdCheck{name: "etcd-readiness", server: s, client: s.newEtcdClient(),
		timeout: s.options.etcdReadyTimeout, last: errUnfinished}
	if s.etcdHealth.client.WaitConnected(p, etcdDialTimeout) != nil {
		s.process.Exit(1, storageFactoryFailed)
		return false
	}
	return true
}

// repairServiceIPs is the hook that ends the process when it cannot read the Services within a minute.
func (s *Server) repairServiceIPs(p *sim.Proc) {
	deadline := p.Now().Add(repairTimeout)
	client := s.registryOf(api.Services).client
	for {
		prefix := api.Services.Prefix
		_, err := client.Range(p, &raft.RangeRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix)},
			deadline.Sub(p.Now()))
		if err == nil {
			s.doneHooks[hookRepair] = true
			return
		}
		if p.Now() >= deadline {
			s.process.Exit(exitFatal, repairFailed)
			return
		}
		p.Sleep(min(repairRetry, deadline.Sub(p.Now())))
	}
}

// learnRoles waits until the authorizer has read its roles and bindings by way of the watch caches.
func (s *Server) learnRoles(p *sim.Proc) {
	for _, r := range [...]*api.Resource{api.Roles, api.RoleBindings, api.ClusterRoles, api.ClusterRoleBindings} {
		s.awaitCache(p, s.registryOf(r).cache)
	}
	s.rolesKnown = true
	s.view.note()
}

func (s *Server) awaitCaches(p *sim.Proc) {
	for _, c := range s.caches {
		s.awaitCache(p, c)
	}
}

func (s *Server) awaitCache(p *sim.Proc, c *watchCache) {
	if c == nil || c.ready {
		return
	}
	ready := sim.NewFuture[struct{}]()
	c.onReady(func() { ready.Resolve(struct{}{}, nil) })
	_, _ = ready.Await(p, sim.Forever) // cannot fail: no deadline
}

// terminate is SIGTERM: the pre-shutdown hooks run, one after the other, while everything is served as before. Then the
// server stops accepting, ends watches, waits for requests at most as long as a request may take, and exits.
func (s *Server) terminate() {
	if s.terminating {
		return
	}
	s.terminating = true
	s.view.note()
	s.scope.Go("shutdown", func(p *sim.Proc) {
		began := p.Now()
		s.preShutdown(p)
		p.Sleep(began.Add(s.options.shutdownDelay).Sub(p.Now()))
		if s.http != nil {
			s.http.Drain()
		}
		for _, c := range s.caches {
			c.watchers.closeAll()
		}
		for deadline := p.Now().Add(s.options.requestTimeout); s.inflight > 0 && p.Now() < deadline; {
			s.idle.Wait(p, deadline.Sub(p.Now()))
		}
		if s.http != nil {
			s.http.Close()
		}
		s.process.Exit(0, "")
	})
}

// peersSince is the first minor whose API servers know one another by leases in etcd (pkg/features,
// UnknownVersionInteroperabilityProxy; its hook is on in v1.36).
const peersSince = 36

// preShutdown runs the pre-shutdown hooks. Without etcd each takes its whole grace, so that together they outlive the
// 30 s after which a container is killed.
func (s *Server) preShutdown(p *sim.Proc) {
	if s.etcd == nil {
		return
	}
	s.endpoints.leave(p)
	if s.release.Minor >= peersSince {
		// pkg/controlplane/reconcilers/peer_endpoint_lease.go RemoveLease
		s.hook(p, "leave peers", func(p *sim.Proc) { _ = s.forget(p, peerLeases+s.machineName) })
	}
}

// hook runs a pre-shutdown hook and waits for it, at most shutdownEtcdGrace: the server goes on shutting down either
// way.
func (s *Server) hook(p *sim.Proc, name string, body func(p *sim.Proc)) {
	done := sim.NewFuture[struct{}]()
	s.scope.Go(name, func(p *sim.Proc) {
		body(p)
		done.Resolve(struct{}{}, nil)
	})
	_, _ = done.Await(p, shutdownEtcdGrace)
}

// forget deletes a key by which others know the server.
func (s *Server) forget(p *sim.Proc, key string) error {
	_, err := s.etcd.Txn(p, &raft.TxnRequest{Success: []raft.RequestOp{{DeleteRange: &raft.DeleteRangeRequest{
		Key: []byte(key)}}}}, shutdownEtcdGrace)
	return err
}
