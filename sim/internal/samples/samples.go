// Package samples compares what simulations came to with what was recorded, as distributions: the Kolmogorov-Smirnov
// tests. Tests use it; nothing in a simulation does.
//
// It leaves out exact probabilities for tiny samples: the asymptotic law with Stephens' correction, good from an
// effective size of four on, must do.
//
// Start reading at Same.
package samples

import (
	"math"
	"slices"
	"sort"
)

// Sample is what was measured, in any order.
type Sample []float64 // float: of tests alone

// Same returns the probability that two samples of one distribution differ as much as these do (two-sample
// Kolmogorov-Smirnov test): small ones say that they are of different distributions.
func Same(a, b Sample) float64 { // float: of tests alone
	a, b = a.sorted(), b.sorted()
	distance := 0.0
	for _, x := range append(slices.Clone(a), b...) {
		distance = max(distance, math.Abs(a.below(x)-b.below(x)))
	}
	n, m := len(a), len(b)
	return probability(distance, 1/(1/measure(n)+1/measure(m)))
}

// Follows is Same for a sample and a distribution that is known: cdf gives the share that is at most x.
func Follows(a Sample, cdf func(x float64) float64) float64 { // float: of tests alone
	a = a.sorted()
	distance := 0.0
	for i, x := range a {
		at, n := cdf(x), measure(len(a))
		distance = max(distance, at-measure(i)/n, measure(i+1)/n-at)
	}
	return probability(distance, measure(len(a)))
}

// Quantile returns what q of the sample (0 to 1) are at most.
func (s Sample) Quantile(q float64) float64 { // float: of tests alone
	return s.sorted()[int(q*measure(len(s)-1)+0.5)]
}

func (s Sample) sorted() Sample {
	s = slices.Clone(s)
	sort.Float64s(s)
	return s
}

// below returns the share of a sorted sample that is at most x.
func (s Sample) below(x float64) float64 { // float: of tests alone
	return measure(sort.Search(len(s), func(i int) bool { return s[i] > x })) / measure(len(s))
}

func measure(n int) float64 { return float64(n) } // float: of tests alone

// probability is Kolmogorov's distribution at a distance, for samples of that effective size (Stephens 1970).
func probability(distance, size float64) float64 { // float: of tests alone
	root := math.Sqrt(size)
	lambda := (root + 0.12 + 0.11/root) * distance
	if lambda < 0.2 { // the series does not converge, and the sum is 1 to ten digits
		return 1
	}
	sum, sign := 0.0, 2.0
	for k := 1.0; k <= 100; k++ {
		sum += sign * math.Exp(-2*lambda*lambda*k*k)
		sign = -sign
	}
	return min(max(sum, 0), 1)
}
