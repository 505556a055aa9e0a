package scenarios

import (
	"errors"

	"ksim/sim"
	"ksim/sim/cluster/spec"
	"ksim/sim/shell"
)

// Build makes the simulated cluster of a spec.
func Build(k *sim.Kernel, s *spec.Cluster) (shell.Cluster, error) {
	return nil, errors.New("no cluster can be built yet")
}
