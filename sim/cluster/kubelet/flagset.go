package kubelet

import "ksim/sim/controlplane"

// FlagSet returns the flags of the kubelet in a minor release, for whoever checks values before a run.
func FlagSet(minor int) *controlplane.Flags {
	c := config{}
	return c.flags(minor)
}
