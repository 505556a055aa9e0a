package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const playedDir = "testdata/played"

func parsePlayed(t *testing.T, name, text string) *Scenario {
	t.Helper()
	s, err := Parse(Source{Name: name, Data: []byte(text),
		Open: func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(playedDir, path)) }})
	require.NoError(t, err)
	return s
}

func failures(r *Result) []string {
	var failed []string
	for _, e := range r.Expectations {
		if e.Verdict != Pass {
			failed = append(failed, e.Name+": "+e.Detail)
		}
	}
	return failed
}

// Scenario files written from the description of the format alone, by somebody who knows Kubernetes and not this
// program, go as they expect on a whole cluster. Each file holds what it expects.
func TestScenariosWrittenFromTheFormatAloneRunAsMeant(t *testing.T) {
	files, err := filepath.Glob(playedDir + "/*.yaml")
	require.NoError(t, err)
	for _, file := range files {
		name := filepath.Base(file)
		if name == "dep.yaml" { // a manifest that several of them share
			continue
		}
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			_, result, err := Play(parsePlayed(t, name, string(text)), Options{})
			require.NoError(t, err)
			require.Empty(t, failures(result))
			known := map[uint64]bool{0: true}
			for _, e := range result.Events {
				require.True(t, known[e.Cause], "the cause of event %d, %s, should be there", e.Seq, e.Object)
				known[e.Seq] = true
			}
		})
	}
}

// In no release does anything restart, lose its lock or move while nothing happens.
func TestEveryReleaseIsSteady(t *testing.T) {
	for minor := 11; minor <= 37; minor++ {
		s := parsePlayed(t, "steady.yaml", fmt.Sprintf(`ksim: 1
name: steady
duration: 3m
cluster: {kubernetes: v1.%d, topology: single, workers: 2}
manifests: [dep.yaml]
expect:
  - {name: controllers, always: 'leaders("kube-controller-manager") == ["cp-1"]'}
  - {name: scheduler, always: 'leaders("kube-scheduler") == ["cp-1"]'}
  - {name: API, always: 'api.ready["cp-1"]'}
  - {name: nodes, always: 'nodes.all(n, nodes[n].ready == "True")'}
  - {name: pods, always: 'podsOf("dep").ready().size() == 3'}
`, minor))
		_, result, err := Play(s, Options{})
		require.NoError(t, err, s.Spec.Kubernetes)
		require.Empty(t, failures(result), s.Spec.Kubernetes)
		for _, e := range result.Events {
			kind, _, _ := strings.Cut(e.Object, "/")
			require.False(t, e.T > 90 && slices.Contains([]string{"lease", "endpoints", "node"}, kind),
				"%s: %s %s at %v repeats, and means that all is well", s.Spec.Kubernetes, e.Component, e.Object, float64(e.T))
		}
	}
}

// A scenario's times meet the periods of the cluster's loops in any phase: the seed decides, not the start-up.
func TestDetectionOfADeathSpreadsOverTheMonitorsPeriod(t *testing.T) {
	s := parsePlayed(t, "death.yaml", `ksim: 1
name: death
duration: 2m30s
cluster: {topology: single, workers: 1}
steps: [{name: crash, at: 1m, run: fault crash worker-1}]
expect: [{name: noticed, eventually: 'nodes["worker-1"].ready == "Unknown"', between: [1m40s, 2m1s]}]
`)
	phases := map[time.Duration]bool{}
	for seed := range uint64(24) {
		_, result, err := Play(s, Options{Seed: &seed})
		require.NoError(t, err)
		require.Empty(t, failures(result))
		at := time.Duration(float64(result.Expectations[0].T) * float64(time.Second))
		phases[at%(5*time.Second)/time.Second] = true
	}
	require.Len(t, phases, 5, "each second of the monitor's period of 5 s")
}
