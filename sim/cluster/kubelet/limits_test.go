package kubelet

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// How fast a kubelet may ask is set by its release, its file, its flags; the later wins.
func TestRequestLimits(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	write := func(text string) {
		require.NoError(t, b.machine.Disk().WriteFileSync("/var/lib/kubelet/config.yaml", []byte(text)))
	}
	for _, tt := range []struct {
		minor       int
		file        string
		args        []string
		api, events requestLimit
		failure     string
	}{
		{minor: 26, api: requestLimit{5, 10}, events: requestLimit{5, 10}},
		{minor: 27, api: requestLimit{50, 100}, events: requestLimit{50, 100}},
		{minor: 36, file: "kubeAPIQPS: 7\nkubeAPIBurst: 8\neventRecordQPS: 0\neventBurst: 9\n", api: requestLimit{7, 8},
			events: requestLimit{0, 9}},
		{minor: 36, file: "kubeAPIQPS: 7\n", args: []string{"--kube-api-qps=3", "--event-burst=4"},
			api: requestLimit{3, 100}, events: requestLimit{50, 4}},
		{minor: 36, args: []string{"--kube-api-qps=-1"}, failure: "failed to validate kubelet configuration, error: " +
			"invalid configuration: kubeAPIQPS (--kube-api-qps) -1 must not be a negative number"},
	} {
		args := tt.args
		if tt.file != "" {
			write(tt.file)
			args = append(args, "--config=/var/lib/kubelet/config.yaml")
		}
		done := false
		b.machine.Start("test", func(p *hardware.Process) {
			for range 2 { // the second is remembered
				c, err := configOf(p, args, api.ReleaseOf(tt.minor))
				if tt.failure != "" {
					assert.EqualError(t, err, tt.failure)
					continue
				}
				require.NoError(t, err)
				assert.Equal(t, tt.api, c.api, "%v", tt)
				assert.Equal(t, tt.events, c.events, "%v", tt)
			}
			done = true
		})
		b.run(time.Second)
		assert.True(t, done)
	}
}

// Statuses and events wait for their turn, each in its own line; leases do not wait.
func TestLeasesDoNotWaitForTheRateLimit(t *testing.T) {
	b := newBench(t, 1)
	b.args = append(b.args, "--kube-api-qps=1", "--kube-api-burst=1", "--event-qps=1", "--event-burst=2")
	b.run(time.Minute)
	began := b.kernel.Now()
	for i := range 10 {
		b.put(testPod(fmt.Sprintf("pod-%d", i), "", ""))
	}
	b.run(45 * time.Second)
	times := map[*api.Resource][]sim.Time{}
	for _, w := range b.server.writes {
		if w.at > began && w.request != nil {
			times[w.request.Resource] = append(times[w.request.Resource], w.at)
		}
	}
	every := func(res *api.Resource, from int) (shortest, longest time.Duration) {
		shortest = time.Hour
		for i, at := range times[res][from:] {
			if i > 0 {
				d := at.Sub(times[res][from+i-1])
				shortest, longest = min(shortest, d), max(longest, d)
			}
		}
		return shortest, longest
	}
	shortest, _ := every(api.Pods, 0)
	assert.GreaterOrEqual(t, shortest, 1900*time.Millisecond, "a read and a write, a second each")
	shortest, longest := every(api.Events, 3)
	assert.InDelta(t, time.Second, shortest, float64(10*time.Millisecond))
	assert.InDelta(t, time.Second, longest, float64(10*time.Millisecond))
	_, longest = every(api.Leases, 0)
	assert.Len(t, times[api.Leases], 5)
	assert.LessOrEqual(t, longest, 10500*time.Millisecond)
}
