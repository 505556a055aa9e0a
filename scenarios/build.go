package scenarios

import (
	"ksim/sim"
	"ksim/sim/cluster"
	"ksim/sim/cluster/spec"
	"ksim/sim/shell"
)

// built is a cluster as the command language sees it.
type built struct{ *cluster.Cluster }

// Faults returns what the outside world can do to the cluster.
func (b built) Faults() shell.Faults { return b.Cluster.Faults() }

// Build makes the simulated cluster of a spec.
func Build(k *sim.Kernel, s *spec.Cluster) (shell.Cluster, error) {
	c, err := cluster.New(k, s)
	if err != nil {
		return nil, err
	}
	return built{c}, nil
}
