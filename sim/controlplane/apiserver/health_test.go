package apiserver

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim/api"
	"ksim/sim/hardware"
)

func (b *bench) path(path string) *api.Response {
	b.t.Helper()
	resp, err := b.request(&api.Request{Verb: api.Get, Path: path})
	require.NoError(b.t, err)
	return resp
}

func TestHealthIsSaidAsTheRealServerSaysIt(t *testing.T) {
	b := newBench(t).ready()
	real, err := os.ReadFile("testdata/livez-verbose.txt")
	require.NoError(t, err)
	assert.Equal(t, "ok", b.path("/livez").Body)
	assert.Equal(t, string(real), b.path("/livez?verbose").Body)
	healthz := strings.ReplaceAll(string(real), "livez check", "healthz check")
	assert.Equal(t, healthz, b.path("/healthz?verbose").Body)
	ready := strings.Replace(string(real), "[+]loopback-serving-certificate ok\n[+]etcd ok\n",
		"[+]etcd ok\n[+]etcd-readiness ok\n[+]informer-sync ok\n", 1)
	ready = strings.Replace(ready, "livez check", "[+]shutdown ok\nreadyz check", 1)
	assert.Equal(t, ready, b.path("/readyz?verbose").Body)
}

func TestHealthWithoutEtcdFailsAfterTwoSecondsAndIsThenRemembered(t *testing.T) {
	b := newBench(t).ready()
	b.path("/livez")
	b.run(2 * time.Second)
	b.etcd.frozen = true
	began := b.k.Now()
	c := b.client
	var first, second *api.Response
	var firstTook, secondTook time.Duration
	c.Start(&api.Request{Verb: api.Get, Path: "/livez"}, func(r *api.Response, _ error) {
		first, firstTook = r, b.k.Now().Sub(began)
	})
	b.run(500 * time.Millisecond)
	c.Start(&api.Request{Verb: api.Get, Path: "/healthz"}, func(r *api.Response, _ error) {
		second, secondTook = r, b.k.Now().Sub(began)-500*time.Millisecond
	})
	b.run(3 * time.Second)
	assert.Equal(t, 500, first.Status)
	assert.InDelta(t, 2, firstTook.Seconds(), 0.01)
	assert.Contains(t, first.Body, "[-]etcd failed: reason withheld\n")
	assert.True(t, strings.HasSuffix(first.Body, "livez check failed\n"))
	assert.Equal(t, 200, second.Status, "in between it repeats what it knew last")
	assert.Less(t, secondTook, 10*time.Millisecond)
	assert.Equal(t, 200, b.path("/livez?exclude=etcd").Status)
}

func TestVersionIsThatOfTheRelease(t *testing.T) {
	b := newBenchOf(t, 31).ready()
	assert.Contains(t, b.path("/version").Body, `"gitVersion": "v1.31.0"`)
	assert.Equal(t, 404, b.path("/nosuch").Status)
}

func TestTerminationLeavesTheEndpointsAndEndsWatches(t *testing.T) {
	b := newBench(t).ready()
	b.run(time.Second)
	w := b.watch(&api.Request{Resource: api.Pods, ResourceVersion: "0"})
	b.run(time.Second)
	require.NotNil(t, b.etcd.keys[masterLeases+b.dc.Machine("cp-1").IP()])
	var status *hardware.ExitStatus
	b.server.Wait(b.k.Root(), func(s hardware.ExitStatus) { status = &s })
	b.server.Signal(hardware.SIGTERM)
	b.run(time.Second)
	assert.Nil(t, b.etcd.keys[masterLeases+b.dc.Machine("cp-1").IP()])
	require.True(t, w.ended)
	require.NoError(t, w.err)
	require.NotNil(t, status)
	assert.Equal(t, 0, status.Code)
}

// A server whose etcd has gone first hangs: 20 s for the endpoints, 20 s for its peers, then for its requests.
// Measured on control planes of three: it serves cached reads to the end of its container's 30 s of grace.
func TestTerminationWithoutEtcdHangs(t *testing.T) {
	b := newBench(t).ready()
	b.run(time.Second)
	b.etcd.frozen = true
	c := b.client
	c.Start(&api.Request{Verb: api.List, Resource: api.Pods}, func(*api.Response, error) {})
	var ended time.Duration
	began := b.k.Now()
	b.server.Wait(b.k.Root(), func(hardware.ExitStatus) { ended = b.k.Now().Sub(began) })
	b.server.Signal(hardware.SIGTERM)
	b.run(39 * time.Second)
	resp, err := b.raw(&api.Request{Verb: api.List, Resource: api.Pods, ResourceVersion: "0"})
	require.NoError(t, err, "it still accepts")
	assert.Equal(t, 200, resp.Status)
	b.run(60 * time.Second)
	assert.InDelta(t, 60, ended.Seconds(), 1)
}
