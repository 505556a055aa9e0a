package samples

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
)

func uniform(seed uint64, n int, low, high float64) (s Sample) {
	random := rand.New(rand.NewPCG(seed, 1))
	for range n {
		s = append(s, low+random.Float64()*(high-low))
	}
	return s
}

// One in twenty pairs of samples of one distribution differ with p below 0.05: that is what p means.
func TestOneInTwentyPairsOfOneDistributionDiffer(t *testing.T) {
	const runs = 2000
	pairs, laws := 0, 0
	for seed := range uint64(runs) {
		a := uniform(2*seed, 200, 0, 1)
		if Same(a, uniform(2*seed+1, 45, 0, 1)) < 0.05 {
			pairs++
		}
		if Follows(a, func(x float64) float64 { return x }) < 0.05 {
			laws++
		}
	}
	assert.InDelta(t, runs/20, pairs, runs/50)
	assert.InDelta(t, runs/20, laws, runs/50)
}

func TestDifferentDistributionsAreTold(t *testing.T) {
	a := uniform(1, 200, 0, 1)
	assert.Less(t, Same(a, uniform(2, 45, 0.3, 1.3)), 0.01, "another place")
	assert.Less(t, Same(a, uniform(3, 45, 0.35, 0.65)), 0.01, "another width")
	assert.Less(t, Follows(a, func(x float64) float64 { return min(x*1.5, 1) }), 0.01)
	assert.Equal(t, 1.0, Same(a, a))
	assert.Less(t, Same(a, uniform(4, 45, 2, 3)), 1e-9, "no overlap")
	assert.Less(t, Same(Sample{1, 2, 3, 4, 5, 6, 7}, uniform(5, 200, 8, 9)), 0.01, "seven are enough for that")
}

func TestQuantilesLieInTheSample(t *testing.T) {
	s := Sample{5, 1, 4, 2, 3}
	assert.Equal(t, []float64{1, 3, 5}, []float64{s.Quantile(0), s.Quantile(0.5), s.Quantile(1)})
}
