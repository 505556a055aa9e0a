package truth

import "ksim/sim/api"

// World is the true state of a cluster, as nobody inside it can know it. What it returns must not be changed; it holds
// until the next kernel event.
type World interface {
	// Changes counts what has changed; the same pointer always.
	Changes() *Changes
	// Objects returns all objects of a resource as they stand in etcd now (the most advanced member), sorted by key.
	Objects(res *api.Resource) []api.Object
	// Machines returns all machines, in the order of the spec.
	Machines() []Machine
	Etcd() Etcd
	// Leaders returns the machines whose instance of a component believes now that it leads, sorted.
	Leaders(component string) []string
	// Holder returns the machine named in a component's lock now, "" if nobody is.
	Holder(component string) string
	// APIReady tells of every control-plane machine whether its API server answers /readyz with ok.
	APIReady() []Ready
}

// Input is something that a condition can look at.
type Input uint8

// The inputs. Up to OtherObjects they are resources of the API.
const (
	Pods Input = iota
	Nodes
	Deployments
	ReplicaSets
	StatefulSets
	DaemonSets
	Services
	EndpointSlices
	Endpoints
	Leases
	PodDisruptionBudgets
	ConfigMaps
	Events
	OtherObjects // of all other resources
	Machines     // power, zones, containers, processes
	EtcdState
	LeadersState // who believes it leads
	APIReadyState
	Traffic // touched by whoever probes
	Inputs  // how many there are
)

// InputOf returns the input that shows a resource, by its plural.
func InputOf(plural string) Input {
	switch plural {
	case "pods":
		return Pods
	case "nodes":
		return Nodes
	case "deployments":
		return Deployments
	case "replicasets":
		return ReplicaSets
	case "statefulsets":
		return StatefulSets
	case "daemonsets":
		return DaemonSets
	case "services":
		return Services
	case "endpointslices":
		return EndpointSlices
	case "endpoints":
		return Endpoints
	case "leases":
		return Leases
	case "poddisruptionbudgets":
		return PodDisruptionBudgets
	case "configmaps":
		return ConfigMaps
	case "events":
		return Events
	}
	return OtherObjects
}

// Changes counts, for each input, how often it has changed. Total is the sum: one look tells that nothing did.
type Changes struct {
	Total uint64
	Of    [Inputs]uint64
}

// Touch says that an input has changed.
func (c *Changes) Touch(i Input) {
	c.Total++
	c.Of[i]++
}

// Machine is the physical truth of a machine.
type Machine struct {
	Name, Zone string
	Up         bool
	Containers []Container // that exist on it, in order of creation
	Processes  []string    // names of the operating-system processes that run
}

// Container is a container that exists on a machine.
type Container struct {
	Pod, Namespace, Name string
	Running              bool
	Restarts             int
}

// Etcd is the truth of the etcd cluster.
type Etcd struct {
	Leader    string // member name; "" none. The leader of the highest term, should there be two
	Term      uint64
	Quorum    bool // could a write commit now
	Revision  int64
	ClusterID string // hex
	Members   []Member
}

// Member is one etcd member. Its machine has the same name by default.
type Member struct {
	Name, Machine         string
	Up                    bool
	Role                  string // leader | follower | candidate | learner; "" when it is not up
	Term, Commit, Applied uint64
}

// Ready tells of one API server whether it is ready.
type Ready struct {
	Machine string
	Ready   bool
}
