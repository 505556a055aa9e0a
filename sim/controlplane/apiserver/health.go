package apiserver

import (
	"fmt"
	"slices"
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
		s.scope.Go("health", func(p *sim.Proc) { call.Reply(s.health(p, name, single, query)) })
	default:
		call.Reply(&api.Response{Status: 404, Body: "404 page not found"})
	}
}

// health runs the checks of an endpoint, one after the other as the real server does: an etcd without quorum costs two
// seconds for each check of it.
func (s *Server) health(p *sim.Proc, endpoint, single, query string) *api.Response {
	excluded, verbose := sets.New[string](), false
	for _, part := range strings.Split(query, "&") {
		switch key, value, _ := strings.Cut(part, "="); key {
		case "verbose":
			verbose = true
		case "exclude":
			excluded.Insert(value)
		}
	}
	var text strings.Builder
	failed, known := false, excluded.Clone()
	for _, check := range s.checks(endpoint) {
		switch {
		case single != "" && check.name != single:
			continue
		case excluded.Has(check.name):
			known.Delete(check.name)
			text.WriteString("[+]" + check.name + " excluded: ok\n")
		case check.run(p) != nil:
			failed = true
			text.WriteString("[-]" + check.name + " failed: reason withheld\n")
		default:
			text.WriteString("[+]" + check.name + " ok\n")
		}
	}
	if known.Len() > 0 {
		names := sets.List(known)
		for i := range names {
			names[i] = fmt.Sprintf("%q", names[i])
		}
		text.WriteString("warn: some health checks cannot be excluded: no matches for " + strings.Join(names, ", ") + "\n")
	}
	switch {
	case failed:
		return &api.Response{Status: 500, Body: text.String() + endpoint + " check failed\n"}
	case !verbose:
		return &api.Response{Status: 200, Body: "ok"}
	}
	return &api.Response{Status: 200, Body: text.String() + endpoint + " check passed\n"}
}

type check struct {
	name string
	run  func(*sim.Proc) error
}

func passed(*sim.Proc) error { return nil }

func unfinished(*sim.Proc) error { return errUnfinished }

// checks lists what an endpoint looks at, in its order.
func (s *Server) checks(endpoint string) []check {
	list := []check{{"ping", passed}, {"log", passed}}
	if endpoint != "readyz" { // added first of all when the server prepares to run
		list = append(list, check{"loopback-serving-certificate", passed})
	}
	list = append(list, check{"etcd", s.etcdHealth.run})
	if endpoint == "readyz" {
		list = append(list, check{"etcd-readiness", s.etcdReadiness.run}, check{"informer-sync", func(*sim.Proc) error {
			if s.unreadyCaches > 0 {
				return fmt.Errorf("%d informers not started yet", s.unreadyCaches)
			}
			return nil
		}})
	}
	for _, hook := range hooks {
		list = append(list, check{hookPrefix + hook, func(*sim.Proc) error { return s.hookState(hook) }})
		if hook == "kube-apiserver-autoregistration" {
			list = append(list, check{afterAutoregistration, func(*sim.Proc) error { return s.hookState(hook) }})
		}
	}
	if endpoint == "readyz" {
		if !s.rolesKnown || !s.rolesMade {
			at := slices.IndexFunc(list, func(c check) bool { return c.name == hookPrefix+hookPriorityClasses })
			list = slices.Insert(list, at, check{hookPrefix + hookRoles, unfinished})
		}
		list = append(list, check{"shutdown", func(*sim.Proc) error {
			if s.terminating {
				return fmt.Errorf("process is shutting down")
			}
			return nil
		}})
	}
	return list
}

var errUnfinished = fmt.Errorf("not finished")

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
		text += fmt.Sprintf("  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"%d\",\n  \"minCompatibilityMajor\": \"1\",\n"+
			"  \"minCompatibilityMinor\": \"%d\",\n", s.release.Minor, s.release.Minor-1)
	}
	return text + fmt.Sprintf("  \"gitVersion\": %q,\n  \"gitCommit\": \"$Format:%%H$\",\n  \"gitTreeState\": \"\",\n"+
		"  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"go1.26.8\",\n  \"compiler\": \"gc\",\n"+
		"  \"platform\": \"linux/amd64\"\n}", s.release.Version())
}
