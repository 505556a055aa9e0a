package kubeproxy

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// newProxy makes a proxy of a release on a machine that is up, without informers.
func newProxy(t *testing.T, minor int) (*proxy, *hardware.Machine) {
	k := sim.New(1)
	t.Cleanup(k.Close)
	m := hardware.New(k, hardware.NetworkConfig{}).AddMachine(hardware.MachineSpec{Name: "n1"})
	release := api.ReleaseOf(minor)
	x := &proxy{options: Options{Table: NewTable(m), Release: release}, known: knownRules{},
		minSync: release.ProxyMinSyncPeriod}
	m.PowerOn()
	x.scope = m.Scope()
	require.NoError(t, k.RunUntil(sim.Time(time.Second)))
	return x, m
}

// Changes come at 0, 0.1, 0.2 and 0.3 s and every 0.1 s from then on: the rules are written as soon as they may be.
func TestRulesAreWrittenAtMostOnceASecond(t *testing.T) {
	writes := func(minor int) (times []time.Duration) {
		x, m := newProxy(t, minor)
		began := x.scope.Now()
		for at := began; at < began.Add(3500*time.Millisecond); at = at.Add(10 * time.Millisecond) {
			require.NoError(t, m.Datacenter().Kernel().RunUntil(at))
			asked := at.Sub(began)%(100*time.Millisecond) == 0 || len(times) > 0
			if asked && x.mayWrite() <= at {
				times = append(times, at.Sub(began))
				x.begin()
			}
		}
		return times
	}
	ms := func(all ...time.Duration) []time.Duration {
		for i := range all {
			all[i] *= time.Millisecond
		}
		return all
	}
	assert.Equal(t, ms(0, 1040, 2080, 3120), writes(36), "a second after the end of the last write")
	assert.Equal(t, ms(0, 40, 1000, 2000, 3000), writes(33), "two may come one after the other")
	assert.Equal(t, ms(0, 40, 80, 120, 160), writes(18)[:5], "no least time between writes before v1.19")
}

func service(change func(*corev1.ServiceSpec)) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", ResourceVersion: "5"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.9", Ports: []corev1.ServicePort{{Port: 80}}}}
	if change != nil {
		change(&s.Spec)
	}
	return s
}

type end struct {
	node                        string
	ready, serving, terminating bool
}

func sliceOf(ends ...end) []*discoveryv1.EndpointSlice {
	name, port := "", int32(8080)
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7"},
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}}}
	for i := range ends {
		e := &ends[i]
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", i+2)},
			NodeName: &e.node, Conditions: discoveryv1.EndpointConditions{Ready: &e.ready, Serving: &e.serving,
				Terminating: &e.terminating}})
	}
	return []*discoveryv1.EndpointSlice{s}
}

// try lets a machine of a release follow the rule of a Service, and says where connections to it go.
func try(t *testing.T, minor int, s *corev1.Service, slices []*discoveryv1.EndpointSlice) (map[string]int,
	hardware.Verdict) {
	x, m := newProxy(t, minor)
	rule := x.rule(s, &s.Spec.Ports[0], slices)
	x.options.Table.write(map[string]Rule{rule.ClusterIP: rule}, x.scope.Now())
	assert.EqualValues(t, 7, rule.Revision)
	met, last := map[string]int{}, hardware.Passed
	for range 3000 {
		var to string
		to, last = x.options.Table.translate("10.96.0.9", 80)
		met[to]++
		require.NoError(t, m.Datacenter().Kernel().RunUntil(x.scope.Now().Add(time.Millisecond)))
	}
	return met, last
}

func TestEachConnectionGoesToAnEndpointByChance(t *testing.T) {
	met, verdict := try(t, 36, service(nil), sliceOf(end{"n1", true, true, false}, end{"n2", true, true, false},
		end{"n3", true, true, false}, end{"n3", false, false, false}))
	require.Equal(t, hardware.Translated, verdict)
	require.Len(t, met, 3)
	for to, n := range met {
		assert.InDelta(t, 1000, n, 100, to)
	}
}

func TestServiceWithoutEndpointsRejects(t *testing.T) {
	_, verdict := try(t, 36, service(nil), sliceOf(end{"n1", false, false, false}))
	assert.Equal(t, hardware.Rejected, verdict)
}

func TestWhatTerminatesAndServesIsTheLastResort(t *testing.T) {
	ends := sliceOf(end{"n1", false, true, true}, end{"n2", false, false, true})
	met, _ := try(t, 26, service(nil), ends)
	assert.Equal(t, map[string]int{"10.244.0.2:8080": 3000}, met)
	_, verdict := try(t, 25, service(nil), ends)
	assert.Equal(t, hardware.Rejected, verdict, "ProxyTerminatingEndpoints is on from v1.26")
	met, _ = try(t, 36, service(nil), sliceOf(end{"n1", false, true, true}, end{"n2", true, true, false}))
	assert.Equal(t, map[string]int{"10.244.0.3:8080": 3000}, met)
}

func TestLocalPolicyKeepsToTheNodeAndDropsWithout(t *testing.T) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s := service(func(s *corev1.ServiceSpec) { s.InternalTrafficPolicy = &local })
	met, _ := try(t, 36, s, sliceOf(end{"n1", true, true, false}, end{"n2", true, true, false}))
	assert.Equal(t, map[string]int{"10.244.0.2:8080": 3000}, met)
	_, verdict := try(t, 36, s, sliceOf(end{"n2", true, true, false}))
	assert.Equal(t, hardware.Dropped, verdict)
	_, verdict = try(t, 36, s, sliceOf(end{"n2", false, false, false}))
	assert.Equal(t, hardware.Rejected, verdict, "without any endpoint it is as every other Service")
}

func TestAffinityKeepsAClientAtItsEndpointUntilItPauses(t *testing.T) {
	s := service(func(s *corev1.ServiceSpec) { s.SessionAffinity = corev1.ServiceAffinityClientIP })
	met, _ := try(t, 36, s, sliceOf(end{"n1", true, true, false}, end{"n2", true, true, false}))
	assert.Len(t, met, 1, "3 h are the default")
	seconds := int32(2)
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
		ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &seconds}}
	x, m := newProxy(t, 36)
	rule := x.rule(s, &s.Spec.Ports[0], sliceOf(end{"n1", true, true, false}, end{"n2", true, true, false}))
	x.options.Table.write(map[string]Rule{rule.ClusterIP: rule}, x.scope.Now())
	changes := 0
	was, _ := x.options.Table.translate("10.96.0.9", 80)
	for range 100 {
		require.NoError(t, m.Datacenter().Kernel().RunUntil(x.scope.Now().Add(2*time.Second)))
		now, _ := x.options.Table.translate("10.96.0.9", 80)
		if now != was {
			changes++
		}
		was = now
	}
	assert.InDelta(t, 50, changes, 20, "after each pause it is drawn anew")
}

func TestRulesCountOnceTheyAreWritten(t *testing.T) {
	x, m := newProxy(t, 36)
	x.options.Table.write(map[string]Rule{"10.96.0.9:80": {}}, x.scope.Now().Add(syncTime))
	_, there := x.options.Table.Lookup("10.96.0.9:80")
	assert.False(t, there)
	require.NoError(t, m.Datacenter().Kernel().RunUntil(x.scope.Now().Add(syncTime)))
	_, there = x.options.Table.Lookup("10.96.0.9:80")
	assert.True(t, there)
}
