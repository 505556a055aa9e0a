package scenarios

import "ksim/sim/api"

// componentFlags returns the real flags of a component in a release: those that ksim models, and those that it accepts and does
// nothing with. known is false for a component whose flags ksim cannot list.
func componentFlags(component string, release *api.Release) (modelled, accepted []string, known bool) {
	return nil, nil, false
}

// checkFlagValue says what is wrong with the value of a flag.
func checkFlagValue(component string, release *api.Release, name, value string) error { return nil }
