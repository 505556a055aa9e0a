package apiserver

import "ksim/sim/controlplane"

// FlagSet returns the flags of kube-apiserver in a minor release, for whoever checks values before a run.
func FlagSet(minor int) *controlplane.Flags { return newFlags(&options{}, minor) }
