package cluster

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ksim/sim/cluster/spec"
)

// seeds is how many runs of each timeline are held against the table: one in the project's tests, many to look for
// bounds that only luck keeps.
var seeds = flag.Int("truth-seeds", 1, "how many runs of each recorded timeline")

// figures are what a run came to, by name, for a timeline of the table.
type figures struct {
	t        *testing.T
	timeline string
	got      map[string]float64
}

// timeline runs a test for each seed, and holds its figures against testdata/truth.tsv.
func timeline(t *testing.T, name string, s func() *spec.Cluster, body func(r *rig, f *figures)) {
	t.Parallel()
	for seed := 1; seed <= *seeds; seed++ {
		t.Run(fmt.Sprintf("seed-%d", seed), func(t *testing.T) {
			r := newRig(t, uint64(seed), s())
			f := &figures{t: t, timeline: name, got: map[string]float64{}}
			body(r, f)
			if !f.hold() || testing.Verbose() && os.Getenv("KSIM_TIMELINE") != "" {
				r.print()
			}
		})
	}
}

// set gives a figure; a second one of that name must hold too.
func (f *figures) set(name string, value float64) {
	for f.got[name] != 0 && f.got[name] != value {
		name += "'"
	}
	f.got[name] = value
}

// at gives the moment of what was noted first, counted from a moment.
func (f *figures) at(r *rig, name, who, what string, from float64) float64 {
	at, ok := r.first(who, what, from)
	if !ok {
		f.t.Errorf("%s: never: %s %s", name, who, what)
		return 0
	}
	f.set(name, at-from)
	return at
}

// hold compares with the table, both ways: what is in one must be in the other.
func (f *figures) hold() bool {
	text, err := os.ReadFile("testdata/truth.tsv")
	require.NoError(f.t, err)
	known := map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "\t")
		if cells[0] != f.timeline {
			continue
		}
		require.GreaterOrEqual(f.t, len(cells), 5, "%q", line)
		name := cells[1]
		known[name] = true
		low, errLow := strconv.ParseFloat(cells[3], 64)
		high, errHigh := strconv.ParseFloat(cells[4], 64)
		require.True(f.t, errLow == nil && errHigh == nil, "%q", line)
		if _, ok := f.got[name]; !ok {
			f.t.Errorf("%s: %s was not seen", f.timeline, name)
		}
		for also := name; ; also += "'" {
			got, ok := f.got[also]
			if !ok {
				break
			}
			if got < low || got > high {
				f.t.Errorf("%s: %s is %.2f, want %v to %v (recorded: %s)", f.timeline, name, got, low, high, cells[2])
			}
		}
	}
	names := make([]string, 0, len(f.got))
	for name := range f.got {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f.t.Logf("%s: %s: %.2f", f.timeline, name, f.got[name])
		if !known[strings.TrimRight(name, "'")] {
			f.t.Errorf("%s: the table does not know %s", f.timeline, name)
		}
	}
	return !f.t.Failed()
}
