package apiserver

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

const (
	componentName = "kube-apiserver"
	// loopbackUser is whom the API server is to itself (apiserver pkg/authentication/user APIServerUser).
	loopbackUser = "system:apiserver"
	// Settings of every etcd client (apiserver pkg/storage/storagebackend/factory/etcd3.go, v0.36).
	etcdDialTimeout      = 20 * time.Second
	etcdKeepAliveTime    = 30 * time.Second
	etcdKeepAliveTimeout = 10 * time.Second
)

// Server is one kube-apiserver.
type Server struct {
	process     *hardware.Process
	kernel      *sim.Kernel
	scope       *sim.Scope
	family      *family
	release     *api.Release
	options     options
	random      *sim.Stream
	machineName string
	view        *View

	http     *hardware.Server
	serving  bool
	held     []*hardware.Call // came before: the port is open, nobody shakes hands yet
	inflight int              // requests that are being worked on, without watches
	idle     sim.Signal

	etcd          etcdClient // of what is no resource: compaction, leases of endpoints
	registries    map[*api.Resource]*registry
	custom        custom        // what CustomResourceDefinitions make
	caches        []*watchCache // in the order of the API's resources
	unreadyCaches int
	eventLeases   eventLeases
	tokens        *corev1.ProjectedVolumeSource // tokenSource
	endpoints     endpointReconciler

	etcdHealth, etcdReadiness *etcdCheck
	doneHooks                 map[string]bool
	hooksDone                 bool
	rolesKnown, rolesMade     bool
	terminating               bool
}

// registry is where the objects of one resource are.
type registry struct {
	cache  *watchCache // nil without --watch-cache
	client etcdClient
}

// View is what observers see of an API server. It is published as its process's view.
type View struct {
	server  *Server
	changes uint64
}

// Ready reports whether /readyz would answer ok, as far as the last checks of etcd said.
func (v *View) Ready() bool {
	s := v.server
	return s.hooksDone && !s.terminating && s.etcdHealth.last == nil && s.etcdReadiness.last == nil
}

// Started reports whether the server has started up and is not being stopped: what /readyz asks besides etcd.
func (v *View) Started() bool { return v.server.hooksDone && !v.server.terminating }

// Checked returns when the last checks of etcd began: long ago if nobody asks for the server's health.
func (v *View) Checked() sim.Time {
	if !v.Started() { // its checks may not be there yet
		return v.server.kernel.Now()
	}
	return min(v.server.etcdHealth.lastAt, v.server.etcdReadiness.lastAt)
}

// Changes counts what may have changed the answer.
func (v *View) Changes() uint64 { return v.changes }

func (v *View) note() {
	v.changes++
	v.server.process.Changed()
}

// Main is kube-apiserver of a version (v1.36.0), as a process runs it: argv is its arguments without the program's
// name. A version that ksim does not know ends the process.
func Main(p *hardware.Process, argv []string, version string) {
	release, err := api.ParseRelease(version)
	if err != nil {
		p.Exit(1, err.Error())
		return
	}
	familyOf(p.Kernel()).start(p, release, argv)
}

func (f *family) start(p *hardware.Process, release *api.Release, argv []string) {
	s := &Server{process: p, kernel: p.Kernel(), scope: p.Scope(), family: f, release: release,
		machineName: p.Machine().Name, registries: map[*api.Resource]*registry{}, doneHooks: map[string]bool{}}
	s.random = s.kernel.Rand(componentName + "/" + s.machineName)
	flags := newFlags(&s.options, release.Minor)
	if !flags.ParseOrExit(p, argv) {
		return
	}
	if err := s.options.check(); err != nil {
		p.Exit(1, "Error: "+err.Error())
		return
	}
	if s.options.advertiseAddress == "" {
		s.options.advertiseAddress = p.Machine().IP()
	}
	s.view = &View{server: s}
	s.eventLeases.server, s.endpoints.server = s, s
	p.Publish(s.view)
	p.OnTerm(s.terminate)
	p.Go("main", s.run)
}

// newEtcdClient makes one more client of etcd: every resource has its own, with its own connections and back-off.
func (s *Server) newEtcdClient() etcdClient { return s.family.connect(s) }

func connectEtcd(s *Server) etcdClient {
	return raft.NewClient(s.process, raft.ClientConfig{Endpoints: s.options.etcdServers, DialTimeout: etcdDialTimeout,
		KeepAliveTime: etcdKeepAliveTime, KeepAliveTimeout: etcdKeepAliveTimeout})
}

// buildRegistries makes the storage of every resource; the caches begin to fill at once.
func (s *Server) buildRegistries() {
	for _, r := range api.Resources() {
		if r.Rare {
			continue
		}
		g := &registry{client: s.newEtcdClient()}
		s.registries[r] = g
		// Events are stored without a watch cache's limits but watched through one, too (pkg/registry/core/event; X).
		if s.options.watchCache {
			g.cache = newWatchCache(s, r, g.client)
			s.caches = append(s.caches, g.cache)
			s.unreadyCaches++
			g.cache.run()
		}
	}
	s.etcd = s.newEtcdClient()
}

// registryOf returns the storage of a resource, nil if the server does not serve it.
func (s *Server) registryOf(r *api.Resource) *registry {
	if g := s.registries[r]; g != nil || !r.Rare {
		return g
	}
	return s.rareRegistry(r)
}

// cacheReady is called by each cache when it has content.
func (s *Server) cacheReady() {
	s.unreadyCaches = 0
	for _, c := range s.caches {
		if !c.ready {
			s.unreadyCaches++
		}
	}
	s.view.note()
}

// listen opens the port. Connections are accepted from now on, but nobody shakes hands before the server serves.
func (s *Server) listen() bool {
	http, err := s.process.Serve(s.options.securePort, s.handle)
	if err != nil {
		s.process.Exit(1, fmt.Sprintf("command failed: failed to create listener: failed to listen on 0.0.0.0:%d: %v",
			s.options.securePort, err))
		return false
	}
	s.http = http
	return true
}

// serve begins to answer.
func (s *Server) serve() {
	s.serving = true
	held := s.held
	s.held = nil
	for _, call := range held {
		if !call.Done() {
			s.handle(call)
		}
	}
	s.view.note()
}

func (s *Server) began() { s.inflight++ }

func (s *Server) ended() {
	if s.inflight--; s.inflight == 0 {
		s.idle.Broadcast()
	}
}

// internal runs a request of the server to itself, as its controllers do by way of the loopback connection.
func (s *Server) internal(p *sim.Proc, r *api.Request) (*api.Response, error) {
	r.User, r.UserAgent = loopbackUser, componentName
	q := s.newRequest(r)
	if err := q.check(); err != nil {
		return nil, err
	}
	return q.do(p)
}
