package scenarios

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ksim/scenarios/source"
)

var rewrite = flag.Bool("rewrite", false, "write golden files anew")

// Every mistake of a file is told at once, with its place. The golden files hold what a user reads.
func TestEveryMistakeIsToldWithItsPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		_, err = Parse(Source{Name: filepath.Base(file), Data: data,
			Open: func(string) ([]byte, error) { return nil, errors.New("no such file") }})
		var problems *source.Problems
		require.ErrorAs(t, err, &problems, file)
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *rewrite {
			require.NoError(t, os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		require.Equal(t, string(want), problems.Error()+"\n", file)
	}
}

// What is accepted and has no effect is told once, with its places: kinds that are only stored, fields that nothing
// acts on or that the release drops.
func TestWhatHasNoEffectIsToldOnceWithItsPlaces(t *testing.T) {
	const file, golden = "testdata/noted/manifests.yaml", "testdata/noted/manifests.txt"
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	s, err := Parse(Source{Name: "manifests.yaml", Data: data, Open: func(path string) ([]byte, error) {
		return os.ReadFile(filepath.Join("testdata/noted", path))
	}})
	require.NoError(t, err)
	var told strings.Builder
	for _, w := range s.Warnings {
		told.WriteString(w.String() + "\n")
	}
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, []byte(told.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), told.String())
}

func TestFileBeyondTheLimitIsRefused(t *testing.T) {
	_, err := Parse(Source{Name: "big.yaml", Data: make([]byte, 10<<20)})
	require.EqualError(t, err, "big.yaml:1:1: the file has 10485760 bytes; a scenario has at most 1048576")
}

func TestParametersArePutInEverywhereAndCanBeSet(t *testing.T) {
	text := `ksim: 1
name: p
params: {outage: 10m, workers: 2, who: worker-1}
duration: ${outage}
cluster: {workers: "${workers}"}
steps:
  - {name: "crash ${who}", at: 1m, run: "X=1; fault crash ${who}; echo ${X}"}
expect:
  - {name: e, never: 'pods.on("${who}").size() > ${workers}', between: [1m, "${outage}"]}
`
	s, err := Parse(Source{Name: "p.yaml", Data: []byte(text)}, Param{"outage", "5m"}, Param{"workers", "3"})
	require.NoError(t, err)
	require.Equal(t, "5m0s", s.Duration.String())
	require.Len(t, s.Spec.Workers, 3)
	require.Equal(t, "crash worker-1", s.Steps[0].Name)
	require.Equal(t, "X=1; fault crash worker-1; echo ${X}", s.Steps[0].Run)
	require.Equal(t, Condition(`pods.on("worker-1").size() > 3`), s.Expect[0].Never)
	_, err = Parse(Source{Name: "p.yaml", Data: []byte(text)}, Param{"outge", "5m"})
	require.EqualError(
		t,
		err,
		`scenario p.yaml has no parameter "outge" (did you mean "outage"?); it has: outage, workers, who`,
	)
	_, err = Parse(Source{Name: "p.yaml", Data: []byte(text)}, Param{"who", "worker-9"})
	require.ErrorContains(t, err, `p.yaml:7:`)
}

func TestClusterDefaultsAreThoseOfTheContract(t *testing.T) {
	s, err := Parse(
		Source{Name: "d.yaml", Data: []byte("ksim: 1\nname: d\ncluster: {topology: stacked, zones: [a, b]}\n")},
	)
	require.NoError(t, err)
	require.Equal(t, "v1.36", s.Spec.Kubernetes)
	require.Equal(t, 3, s.Spec.ControlPlanes)
	require.Equal(t, "/healthz", s.Spec.LoadBalancer.Check)
	require.Equal(t, "lb-1", s.Spec.Server())
	var names []string
	for _, m := range s.Spec.Machines() {
		names = append(names, m.Name+" "+m.Zone)
	}
	require.Equal(t, []string{"cp-1 a", "cp-2 b", "cp-3 a", "worker-1 a", "worker-2 b", "lb-1 ", "admin "}, names)
	s, err = Parse(Source{Name: "d.yaml", Data: []byte("ksim: 1\nname: d\n")})
	require.NoError(t, err)
	require.Nil(t, s.Spec.LoadBalancer)
	require.Equal(t, "cp-1", s.Spec.Server())
}

// No input makes the parser panic, and what it refuses it refuses with a place.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "testdata/wrong/*.yaml"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			require.NoError(f, err)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Parse(Source{Name: "f.yaml", Data: data})
		if err == nil {
			return
		}
		var problems *source.Problems
		require.ErrorAs(t, err, &problems)
		for _, p := range problems.List() {
			require.Positive(t, p.Line)
			require.Positive(t, p.Column)
			require.NotEmpty(t, p.Message)
		}
	})
}
