package controllers

import (
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// FlagSet returns the flags of kube-controller-manager in a release, for whoever checks values before a run.
func FlagSet(release *api.Release) *controlplane.Flags {
	own := *release // feature gates change it
	return newOptions(&own).flags(&own)
}
