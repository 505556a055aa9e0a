package apiserver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// Models /livez, /readyz, /healthz and /version (apiserver pkg/server/healthz,
// pkg/storage/storagebackend/factory/etcd3.go, v0.36): checks in their order, etcd's with a time-out and a rate limit.
// The list of checks is that of a server v1.36 without RBAC's hook, which readiness waits for without naming it. Leaves
// out: metrics, OpenAPI, discovery documents, profiling.

// etcdProbeKey is what the etcd checks read (factory/etcd3.go Probe: "health" below the prefix).
const etcdProbeKey = "/registry/health"

// etcdCheck is one of the two checks of etcd: a linearizable read, at most once in half its time-out; in between it
// repeats what the read before last said. Each has a client of its own.
type etcdCheck struct {
	name    string
	server  *Server
	client  etcdClient
	timeout time.Duration
	next    sim.Time // before this no new read
	last    error
	lastAt  sim.Time // when the read began that said so
}

func (c *etcdCheck) run(p *sim.Proc) error {
	now := p.Now()
	if now < c.next {
		return c.last
	}
	c.next = now.Add(c.timeout / 2)
	_, err := c.client.Range(p, &raft.RangeRequest{Key: []byte(etcdProbeKey)}, c.timeout)
	if err != nil {
		err = fmt.Errorf("error getting data from etcd: %w", err)
	}
	if now >= c.lastAt {
		c.last, c.lastAt = err, now
	}
	c.server.view.note()
	return err
}

// hooks are the post-start hooks of v1.36, in the order in which they are reported (truth: kubectl get --raw
// /livez?verbose).
var hooks = []string{
	"start-apiserver-admission-initializer", "generic-apiserver-start-informers", "priority-and-fairness-config-consumer",
	"priority-and-fairness-filter", "storage-object-count-tracker-hook", "start-apiextensions-informers",
	"start-apiextensions-controllers", "crd-informer-synced", "start-system-namespaces-controller",
	"peer-endpoint-reconciler-controller", "start-cluster-authentication-info-controller",
	"start-kube-apiserver-identity-lease-controller", "start-kube-apiserver-identity-lease-garbage-collector",
	"storage-readiness", "start-legacy-token-tracking-controller", "start-service-ip-repair-controllers",
	hookPriorityClasses, "priority-and-fairness-config-producer", "bootstrap-controller",
	"start-kubernetes-service-cidr-controller", "start-kube-aggregator-informers",
	"apiservice-status-local-available-controller", "apiservice-status-remote-available-controller",
	"apiservice-registration-controller", "apiservice-discovery-controller", "kube-apiserver-autoregistration",
	"apiservice-openapi-controller", "apiservice-openapiv3-controller",
}

const (
	hookPriorityClasses = "scheduling/bootstrap-system-priority-classes"
	hookRoles           = "rbac/bootstrap-roles"
	hookPrefix          = "poststarthook/"
	// afterAutoregistration is the check that stands behind that hook without being one.
	afterAutoregistration = "autoregister-completion"
)

// handlePath serves what is no resource.
func (s *Server) handlePath(call *hardware.Call, r *api.Request) {
	path, query, _ := strings.Cut(r.Path, "?")
	name, single, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	switch {
	case path == "/version":
		call.Reply(&api.Response{Status: 200, Body: s.version()})
	case name == "healthz" || s.release.LivezReadyz && (name == "livez" || name == "readyz"):
		s.scope.Begin("health", func(p *sim.Proc) { call.Reply(s.health(p, parseHealthQuery(name, single, query))) })
	default:
		call.Reply(&api.Response{Status: 404, Body: "404 page not found"})
	}
}

// healthQuery is what a health request asks for.
type healthQuery struct {
	endpoint string // healthz, livez, readyz
	single   string // one check: /livez/etcd
	verbose  bool
	excluded []string
}

func parseHealthQuery(endpoint, single, query string) healthQuery {
	q := healthQuery{endpoint: endpoint, single: single}
	for query != "" {
		var part string
		part, query, _ = strings.Cut(query, "&")
		switch key, value, _ := strings.Cut(part, "="); key {
		case "verbose":
			q.verbose = true
		case "exclude":
			q.excluded = append(q.excluded, value)
		}
	}
	return q
}

// wants reports whether a check is part of the answer.
func (q *healthQuery) wants(check string) bool {
	return (q.single == "" || q.single == check) && !slices.Contains(q.excluded, check)
}

// health runs the checks of an endpoint. Those of etcd take time, one after the other: an etcd without quorum costs two
// seconds each. The text is put together only when somebody is to see it.
func (s *Server) health(p *sim.Proc, q healthQuery) *api.Response {
	var etcd, readiness error
	if q.wants(s.etcdHealth.name) {
		etcd = s.etcdHealth.run(p)
	}
	if q.endpoint == "readyz" && q.wants(s.etcdReadiness.name) {
		readiness = s.etcdReadiness.run(p)
	}
	if etcd == nil && readiness == nil && s.hooksDone && !s.terminating && !q.verbose &&
		len(q.excluded) == 0 {
		return &api.Response{Status: 200, Body: "ok"}
	}
	var text strings.Builder
	failed, unknown := false, sets.New(q.excluded...)
	for _, check := range s.checks(q.endpoint, etcd, readiness) {
		switch {
		case q.single != "" && check.name != q.single:
			continue
		case slices.Contains(q.excluded, check.name):
			unknown.Delete(check.name)
			text.WriteString("[+]" + check.name + " excluded: ok\n")
		case check.err != nil:
			failed = true
			text.WriteString("[-]" + check.name + " failed: reason withheld\n")
		default:
			text.WriteString("[+]" + check.name + " ok\n")
		}
	}
	if unknown.Len() > 0 {
		names := sets.List(unknown)
		for i := range names {
			names[i] = strconv.Quote(names[i])
		}
		text.WriteString("warn: some health checks cannot be excluded: no matches for " + strings.Join(names, ", ") + "\n")
	}
	switch {
	case failed:
		return &api.Response{Status: 500, Body: text.String() + q.endpoint + " check failed\n"}
	case !q.verbose:
		return &api.Response{Status: 200, Body: "ok"}
	}
	return &api.Response{Status: 200, Body: text.String() + q.endpoint + " check passed\n"}
}

// check is one check and what it found.
type check struct {
	name string
	err  error
}

// checks lists what an endpoint looks at, in its order, with what the two checks of etcd have found.
func (s *Server) checks(endpoint string, etcd, readiness error) []check {
	list := []check{{"ping", nil}, {"log", nil}}
	if endpoint != "readyz" {
		list = append(list, check{"loopback-serving-certificate", nil})
	}
	list = append(list, check{s.etcdHealth.name, etcd})
	if endpoint == "readyz" {
		list = append(list, check{s.etcdReadiness.name, readiness}, check{"informer-sync", s.informerSync()})
	}
	for _, hook := range hooks {
		if hook == hookPriorityClasses && endpoint == "readyz" && !s.rolesMade {
			list = append(list, check{hookPrefix + hookRoles, errUnfinished})
		}
		list = append(list, check{hookPrefix + hook, s.hookState(hook)})
		if hook == "kube-apiserver-autoregistration" {
			list = append(list, check{afterAutoregistration, s.hookState(hook)})
		}
	}
	if endpoint == "readyz" {
		var stopping error
		if s.terminating {
			stopping = errTerminating
		}
		list = append(list, check{"shutdown", stopping})
	}
	return list
}

func (s *Server) informerSync() error {
	if s.unreadyCaches == 0 || s.hooksDone { // the informers keep what they have once had
		return nil
	}
	return fmt.Errorf("%d informers not started yet", s.unreadyCaches)
}

var (
	errUnfinished  = errors.New("not finished")
	errTerminating = errors.New("process is shutting down")
)

func (s *Server) hookState(hook string) error {
	if s.hooksDone || s.doneHooks[hook] {
		return nil
	}
	return errUnfinished
}

// version is the document at /version.
func (s *Server) version() string {
	text := fmt.Sprintf("{\n  \"major\": \"1\",\n  \"minor\": \"%d\",\n", s.release.Minor)
	if s.release.Minor >= 33 { // KEP-4330: compatibility versions are reported from v1.33 (X)
		text += fmt.Sprintf("  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"%d\",\n"+
			"  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"%d\",\n", s.release.Minor, s.release.Minor-1)
	}
	return text + fmt.Sprintf("  \"gitVersion\": %q,\n  \"gitCommit\": \"$Format:%%H$\",\n  \"gitTreeState\": \"\",\n"+
		"  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"go1.26.8\",\n  \"compiler\": \"gc\",\n"+
		"  \"platform\": \"linux/amd64\"\n}", s.release.Version())
}
