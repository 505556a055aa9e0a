package scheduler

import (
	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// FlagSet returns the flags of kube-scheduler in a release, for whoever checks values before a run.
func FlagSet(release *api.Release) *controlplane.Flags { return newFlags(release).set(release) }
