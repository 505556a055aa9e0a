package condition

import (
	"time"

	"ksim/sim/cluster/truth"
)

// The views are what conditions see of things that are not API objects. The tags are the names of contract and table.

type machineView struct {
	Name       string          `json:"name"`
	Up         bool            `json:"up"`
	Zone       string          `json:"zone"`
	Containers []containerView `json:"containers"`
	Processes  []string        `json:"processes"`
}

type containerView struct {
	Pod       string `json:"pod"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Running   bool   `json:"running"`
	Restarts  int    `json:"restarts"`
}

type etcdView struct {
	Leader    string                `json:"leader"`
	Term      uint64                `json:"term"`
	Quorum    bool                  `json:"quorum"`
	Revision  int64                 `json:"revision"`
	ClusterID string                `json:"clusterID"`
	Members   map[string]memberView `json:"members"`
}

type memberView struct {
	Name    string `json:"name"`
	Up      bool   `json:"up"`
	Role    string `json:"role"`
	Term    uint64 `json:"term"`
	Commit  uint64 `json:"commit"`
	Applied uint64 `json:"applied"`
}

type apiView struct {
	Ready map[string]bool `json:"ready"`
}

// TrafficView is what conditions see of a probe.
type TrafficView struct {
	OK            int           `json:"ok"`
	Failed        int           `json:"failed"`
	Up            bool          `json:"up"`
	LongestOutage time.Duration `json:"longestOutage"`
}

func viewMachines(world truth.World) map[string]machineView {
	views := map[string]machineView{}
	for _, m := range world.Machines() {
		v := machineView{Name: m.Name, Up: m.Up, Zone: m.Zone, Processes: m.Processes}
		for _, c := range m.Containers {
			v.Containers = append(v.Containers, containerView(c))
		}
		views[m.Name] = v
	}
	return views
}

func viewEtcd(world truth.World) etcdView {
	e := world.Etcd()
	v := etcdView{Leader: e.Leader, Term: e.Term, Quorum: e.Quorum, Revision: e.Revision, ClusterID: e.ClusterID,
		Members: map[string]memberView{}}
	for _, m := range e.Members {
		v.Members[m.Name] = memberView{m.Name, m.Up, m.Role, m.Term, m.Commit, m.Applied}
	}
	return v
}
