package controllers

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"ksim/sim/api"
)

// featureGates is --feature-gates (component-base featuregate/feature_gate.go, v0.36). Those that are listed for the
// release have an effect; Ignored names the others.
type featureGates struct {
	values  map[string]*bool
	ignored []string
}

// newFeatureGates points the gates of a release at the facts that they change.
func newFeatureGates(release *api.Release) *featureGates {
	g := &featureGates{values: map[string]*bool{}}
	for _, gate := range [...]struct {
		name        string
		first, last int // minors in which it can be set, pkg/features/kube_features.go
		fact        *bool
	}{
		{"TaintBasedEvictions", 11, 17, &release.TaintBasedEvictions},
		{"NodeDisruptionExclusion", 16, 20, &release.DisruptionExclusionLabel},
		{"LegacyNodeRoleBehavior", 16, 20, &release.MasterNamesExcluded},
		{"NodeOutOfServiceVolumeDetach", 24, 27, &release.OutOfServiceTaint},
		{"ControllerManagerReleaseLeaderElectionLockOnExit", 36, api.NewestMinor, &release.ManagerReleasesLock},
	} {
		if gate.first <= release.Minor && release.Minor <= gate.last {
			g.values[gate.name] = gate.fact
		}
	}
	return g
}

func (g *featureGates) String() string { return "" }
func (g *featureGates) Type() string   { return "mapStringBool" }

// Set reads Name=true,Other=false.
func (g *featureGates) Set(text string) error {
	for _, pair := range strings.Split(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if pair == "" {
			continue
		}
		if !ok {
			return fmt.Errorf("missing bool value for %s", name)
		}
		on, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return fmt.Errorf("invalid value of %s=%s, err: %w", name, value, err)
		}
		if fact := g.values[strings.TrimSpace(name)]; fact != nil {
			*fact = on
		} else if !slices.Contains(g.ignored, name) {
			g.ignored = append(g.ignored, name)
		}
	}
	return nil
}

// Ignored returns the gates that were set and have no effect.
func (g *featureGates) Ignored() []string { return g.ignored }
