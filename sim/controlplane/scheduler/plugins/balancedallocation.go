package plugins

import (
	"math/bits"

	fwk "ksim/sim/controlplane/scheduler/framework"
)

// BalancedAllocation prefers nodes whose shares of CPU and memory in use are, or become, alike.
//
// Models kube-scheduler's NodeResourcesBalancedAllocation plugin over CPU and memory
// (pkg/scheduler/framework/plugins/noderesources/balanced_allocation.go, v1.36, and the forms before it). Leaves out:
// other resources.
type BalancedAllocation struct{ features *fwk.Features }

// whole is a share of 1: shares are counted in thousand millionths.
const whole = 1_000_000_000

var skipBalanced = fwk.NewStatus(fwk.Skip, balancedAllocation)

// Name implements fwk.Plugin.
func (pl *BalancedAllocation) Name() string { return balancedAllocation }

// PreScore implements fwk.PreScorePlugin.
func (pl *BalancedAllocation) PreScore(_ *fwk.CycleState, pod *fwk.PodInfo, _ []*fwk.NodeInfo) *fwk.Status {
	if pl.features.BalancedSkipsBestEffort && pod.Requests.MilliCPU == 0 && pod.Requests.Memory == 0 {
		return skipBalanced
	}
	return nil
}

// Score implements fwk.ScorePlugin.
func (pl *BalancedAllocation) Score(_ *fwk.CycleState, pod *fwk.PodInfo, node *fwk.NodeInfo) int64 {
	has, used := &node.Allocatable, &node.Requested
	cpu, memory := pod.Requests.MilliCPU, pod.Requests.Memory
	if pl.features.BalancedDefaults {
		used, cpu, memory = &node.NonZeroRequested, pod.NonZero.MilliCPU, pod.NonZero.Memory
	}
	if pl.features.BalancedDistance {
		c, m := share(used.MilliCPU+cpu, has.MilliCPU), share(used.Memory+memory, has.Memory)
		if c >= whole || m >= whole {
			return 0
		}
		return (whole - distance(c, m)) * pl.features.MaxNodeScore / whole
	}
	with := balance(used.MilliCPU+cpu, used.Memory+memory, has)
	if !pl.features.BalancedChange {
		return with
	}
	without := balance(used.MilliCPU, used.Memory, has)
	return fwk.MaxNodeScore/2 + (fwk.MaxNodeScore/2+with-without)/2
}

// balance is 100 less the standard deviation of the shares, in per cent: half the distance between two.
func balance(cpu, memory int64, has *fwk.Resource) int64 {
	if has.MilliCPU == 0 || has.Memory == 0 {
		return fwk.MaxNodeScore
	}
	d := distance(share(cpu, has.MilliCPU), share(memory, has.Memory))
	return (2*whole - d) * fwk.MaxNodeScore / (2 * whole)
}

func distance(a, b int64) int64 { return max(a-b, b-a) }

// share is part of capacity, at most the whole.
func share(part, capacity int64) int64 {
	if part >= capacity {
		return whole
	}
	high, low := bits.Mul64(uint64(max(part, 0)), whole)
	quotient, _ := bits.Div64(high, low, uint64(capacity))
	return int64(quotient)
}
