package raft

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Models etcd's HTTP health endpoints (server/etcdserver/api/etcdhttp/health.go, v3.6): /health, /livez, /readyz,
// /version.

// serveHTTP answers on a --listen-metrics-urls port: requests are hardware.HTTPGet, answers *HealthResponse.
func (s *Server) serveHTTP(call *hardware.Call) {
	r, ok := call.Request.(hardware.HTTPGet)
	if !ok {
		call.Reply(&HealthResponse{404, "404 page not found\n"})
		return
	}
	s.health(r.HTTPPath(), func(h *HealthResponse) { call.Reply(h) })
}

func (s *Server) health(path string, done func(*HealthResponse)) {
	at, query, _ := strings.Cut(path, "?")
	var values url.Values
	if query != "" {
		var err error
		if values, err = url.ParseQuery(query); err != nil {
			done(&HealthResponse{400, err.Error()})
			return
		}
	}
	switch {
	case at == "/version":
		done(&HealthResponse{200, fmt.Sprintf(`{"etcdserver":%q,"etcdcluster":%q,"storage":%q}`, s.config.Version,
			s.cluster.version, storageVersion(s.config.Version))})
	case at == "/health":
		s.oldHealth(values, done)
	case at == "/livez" && s.livez:
		s.checks(at, values, []healthCheck{{"serializable_read", s.readCheck(true)}}, done)
	case at == "/readyz" && s.livez:
		s.checks(at, values, []healthCheck{
			{"data_corruption", func(done func(error)) { done(s.corruption()) }},
			{"serializable_read", s.readCheck(true)},
			{"linearizable_read", s.readCheck(false)},
			{"non_learner", func(done func(error)) { done(s.learnerError()) }},
		}, done)
	default:
		done(&HealthResponse{404, "404 page not found\n"})
	}
}

// hasLivez reports whether an etcd version has /livez and /readyz: from 3.4.29 and 3.5.11 on.
func hasLivez(version string) bool {
	var major, minor, patch int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &major, &minor, &patch); n != 3 {
		return true
	}
	switch {
	case minor == 4:
		return patch >= 29
	case minor == 5:
		return patch >= 11
	}
	return major > 3 || minor > 5
}

// oldHealth is /health: alarms, a leader (unless serializable), and a read.
func (s *Server) oldHealth(query url.Values, done func(*HealthResponse)) {
	fail := func(reason string) {
		done(&HealthResponse{503, fmt.Sprintf(`{"health":"false","reason":%q}`, reason)})
	}
	for _, a := range s.alarms {
		if !slices.Contains(query["exclude"], a.Alarm.String()) {
			fail("ALARM " + a.Alarm.String())
			return
		}
	}
	serializable := query.Get("serializable") == "true"
	if s.lead == 0 && !serializable {
		fail("RAFT NO LEADER")
		return
	}
	s.readCheck(serializable)(func(err error) {
		if err != nil {
			fail("RANGE ERROR:" + err.Error())
			return
		}
		done(&HealthResponse{200, `{"health":"true","reason":""}`})
	})
}

func (s *Server) readCheck(serializable bool) func(func(error)) {
	return func(done func(error)) {
		if serializable {
			done(nil)
			return
		}
		answered := false
		finish := func(err error) {
			if !answered {
				answered = true
				done(err)
			}
		}
		s.scope.After(s.config.requestTimeout(), "health", func() { finish(sim.ErrTimeout) })
		s.reads.linearizable(readerFunc(finish))
	}
}

func (s *Server) corruption() error {
	if s.hasAlarm(AlarmCorrupt) {
		return fmt.Errorf("alarm activated: CORRUPT")
	}
	return nil
}

func (s *Server) learnerError() error {
	if s.isLearner() {
		return fmt.Errorf("not supported for learner")
	}
	return nil
}

type healthCheck struct {
	name string
	run  func(done func(error))
}

// checks runs checks one after the other and words the result as Kubernetes' endpoints do.
func (s *Server) checks(path string, query url.Values, list []healthCheck, done func(*HealthResponse)) {
	var text strings.Builder
	failed := false
	var next func(i int)
	next = func(i int) {
		if i == len(list) {
			if failed {
				done(&HealthResponse{503, text.String() + path[1:] + " check failed\n"})
				return
			}
			if _, verbose := query["verbose"]; verbose {
				done(&HealthResponse{200, text.String() + path[1:] + " check passed\n"})
				return
			}
			done(&HealthResponse{200, "ok\n"})
			return
		}
		check := list[i]
		if slices.Contains(query["exclude"], check.name) {
			fmt.Fprintf(&text, "[+]%s excluded: ok\n", check.name)
			next(i + 1)
			return
		}
		check.run(func(err error) {
			if err != nil {
				failed = true
				fmt.Fprintf(&text, "[-]%s failed: %s\n", check.name, err)
			} else {
				fmt.Fprintf(&text, "[+]%s ok\n", check.name)
			}
			next(i + 1)
		})
	}
	next(0)
}
