package cluster

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/cluster/spec"
	"ksim/sim/cluster/truth"
	"ksim/sim/controlplane"
	"ksim/sim/hardware"
	"ksim/sim/raft/mvcc"
)

// memberView is what an etcd process shows to observers.
type memberView interface {
	Role() string // leader | follower | candidate | learner
	Term() uint64
	Commit() uint64
	Applied() uint64
	ClusterID() uint64
	Store() *mvcc.Store
}

// leaderView is what a leader-elected component shows to observers.
type leaderView interface{ IsLeader() bool }

// readyView is what an API server shows to observers.
type readyView interface {
	Ready() bool       // by its last checks of etcd
	Checked() sim.Time // when they began
	Started() bool
}

// electedComponents are those that compete for a lock.
var electedComponents = [...]string{"kube-controller-manager", "kube-scheduler"}

// world is the observer's view of the cluster. It looks at the processes' published views whenever one of them may have
// changed, and never touches anything.
type world struct {
	cluster  *Cluster
	changes  truth.Changes
	codec    *api.Codec
	machines uint64 // the data centre's changes that were looked at

	members []member
	// The cluster ID seen last, and its name.
	clusterID   uint64
	clusterName string
	ready       []truth.Ready
	leaders     [len(electedComponents)][]string
	locks       [len(electedComponents)]lockKey
	newest      *mvcc.Store // of the most advanced member; kept when all are down
	looked      int64       // its revision
	places      []*place    // of resources in etcd, those lately touched first
}

// place is where a resource's objects lie in etcd, and what of the view shows them.
type place struct {
	resource *api.Resource
	prefix   []byte
	input    truth.Input
	list     *listing // nil: nobody has asked for it
}

// member is an etcd member as it was last seen.
type member struct {
	truth.Member
	store   *mvcc.Store
	machine *hardware.Machine
	process *hardware.Process
	id      uint64
}

func newWorld(c *Cluster) *world {
	w := &world{cluster: c, codec: api.CodecOf(c.kernel), machines: ^uint64(0)}
	for i, name := range electedComponents {
		w.locks[i] = lockKeyOf(name, c.spec.Flags[name])
	}
	for _, res := range api.Resources() {
		w.places = append(w.places, &place{resource: res, prefix: []byte(res.Prefix), input: truth.InputOf(res.Plural)})
	}
	c.kernel.Invariant("one raft leader a term", w.look)
	return w
}

// Changes counts what has changed, by input.
func (w *world) Changes() *truth.Changes { return &w.changes }

// look brings the view up to date after an event, and checks what no run may break.
func (w *world) look() error {
	machines, changed := w.cluster.dc.Changes(), w.cluster.dc.Changed()
	switch {
	case w.machines != machines:
		w.machines = machines
		w.changes.Touch(truth.Machines)
		w.lookAtAll()
	case len(changed) == 0:
		return nil
	default:
		for _, p := range changed {
			if h := w.cluster.byName[p.Machine().Name]; h != nil && p.Alive() {
				w.lookAtProcess(h, p)
			}
		}
	}
	w.followStore()
	return w.oneLeaderATerm()
}

// lookAtAll looks at every process that observers see something of, and at those that are gone.
func (w *world) lookAtAll() {
	for _, h := range w.cluster.core {
		running := map[string]*hardware.Process{}
		for _, p := range h.machine.Processes() {
			running[p.Name] = p
			w.lookAtProcess(h, p)
		}
		if h.Member && running["etcd"] == nil {
			w.noteMember(h, member{Member: truth.Member{Name: h.Name, Machine: h.Name}, machine: h.machine})
		}
		if h.Role != spec.RoleControlPlane {
			continue
		}
		if running["kube-apiserver"] == nil {
			w.noteReady(h, false)
		}
		for i, name := range electedComponents {
			if running[name] == nil {
				w.noteLeader(i, h.Name, false)
			}
		}
	}
}

// lookAtProcess looks at what a running process publishes.
func (w *world) lookAtProcess(h *host, p *hardware.Process) {
	switch v := p.View().(type) {
	case memberView:
		w.noteMember(h, member{Member: truth.Member{Name: h.Name, Machine: h.Name, Up: true, Role: v.Role(), Term: v.Term(),
			Commit: v.Commit(), Applied: v.Applied()}, machine: h.machine, process: p, store: v.Store(), id: v.ClusterID()})
	case readyView:
		w.noteServer(h, p, v)
	case leaderView:
		for i, name := range electedComponents {
			if name == p.Name {
				w.noteLeader(i, h.Name, v.IsLeader())
			}
		}
	}
}

func (w *world) noteMember(h *host, now member) {
	for i := range w.members {
		if m := &w.members[i]; m.Name == h.Name {
			if m.Member != now.Member || m.id != now.id {
				w.changes.Touch(truth.EtcdState)
			}
			moved := m.Up != now.Up || m.Role != now.Role || m.Term != now.Term
			*m = now
			if moved {
				w.lookAtServers()
			}
			return
		}
	}
	w.members = append(w.members, now)
	w.changes.Touch(truth.EtcdState)
}

// staleCheck is when an API server's last check of etcd says nothing any more. chosen: longer than a check of 2 s every
// second, as the kubelet's probes ask for, can be apart.
const staleCheck = 5 * time.Second

// noteServer notes whether an API server would answer /readyz with ok: by what its own last checks said or, where
// nobody has asked it for a while, by what a check would find.
func (w *world) noteServer(h *host, p *hardware.Process, v readyView) {
	ready := v.Ready()
	if w.cluster.kernel.Now().Sub(v.Checked()) > staleCheck {
		ready = v.Started() && w.etcdAnswers(h)
	}
	w.noteReady(h, ready && !p.Stopped() && !h.machine.Frozen())
}

// etcdAnswers reports whether the API server of a machine reaches a member that can serve a linearizable read.
func (w *world) etcdAnswers(h *host) bool {
	for i := range w.members {
		leader := &w.members[i]
		if leader.Role != "leader" || !w.quorum(leader) {
			continue
		}
		dc := w.cluster.dc
		for j := range w.members {
			m := &w.members[j]
			if (!h.Member || m.Name == h.Name) && m.Up && !m.process.Stopped() && dc.Reaches(h.machine, m.machine) &&
				dc.Reaches(m.machine, leader.machine) && dc.Reaches(leader.machine, m.machine) {
				return true
			}
		}
	}
	return false
}

// lookAtServers looks at the API servers again because etcd's members have changed their parts.
func (w *world) lookAtServers() {
	for _, h := range w.cluster.core {
		for _, p := range h.machine.Processes() {
			if v, ok := p.View().(readyView); ok {
				w.noteServer(h, p, v)
			}
		}
	}
}

func (w *world) noteReady(h *host, ready bool) {
	now := truth.Ready{Machine: h.Name, Ready: ready}
	for i := range w.ready {
		if w.ready[i].Machine == h.Name {
			if w.ready[i] != now {
				w.ready = slices.Clone(w.ready)
				w.ready[i] = now
				w.changes.Touch(truth.APIReadyState)
			}
			return
		}
	}
	w.ready = append(w.ready, now)
	w.changes.Touch(truth.APIReadyState)
}

// noteLeader keeps the sorted list of machines whose instance of a component leads.
func (w *world) noteLeader(component int, machine string, leads bool) {
	list := w.leaders[component]
	at, there := slices.BinarySearch(list, machine)
	switch {
	case leads && !there:
		w.leaders[component] = slices.Insert(slices.Clone(list), at, machine)
	case !leads && there:
		w.leaders[component] = slices.Delete(slices.Clone(list), at, at+1)
	default:
		return
	}
	w.changes.Touch(truth.LeadersState)
}

// followStore finds the most advanced member's store, and touches the inputs of the keys that changed in it.
func (w *world) followStore() {
	store := w.newest
	for i := range w.members {
		m := &w.members[i]
		if m.store != nil && (store == nil || m.store.Revision() > store.Revision() || !w.running(store)) {
			store = m.store
		}
	}
	if store == nil {
		return
	}
	if store != w.newest && !w.descends(store) {
		w.looked = 0
	}
	w.newest = store
	if store.Revision() == w.looked {
		return
	}
	complete := store.Since(w.looked, w.touch)
	if !complete || w.looked == 0 {
		for input := truth.Input(0); input <= truth.OtherObjects; input++ {
			w.changes.Touch(input)
		}
		for _, p := range w.places {
			p.list = nil
		}
	}
	w.looked = store.Revision()
}

// running reports whether a store belongs to a member that is up.
func (w *world) running(store *mvcc.Store) bool {
	return slices.ContainsFunc(w.members, func(m member) bool { return m.store == store })
}

// descends reports whether a store has the history that was looked at: false after a restore from a snapshot.
func (w *world) descends(store *mvcc.Store) bool { return store.Revision() >= w.looked }

// touch notes that a key has changed: in the list that it belongs to, and in the input that shows it.
func (w *world) touch(kv *mvcc.KeyValue) {
	for i, p := range w.places {
		if !bytes.HasPrefix(kv.Key, p.prefix) {
			continue
		}
		if i > 0 { // one place further ahead: leases and pods are touched more than all others together
			w.places[i-1], w.places[i] = p, w.places[i-1]
		}
		if p.list != nil && !p.list.note(kv.Name(), kv) {
			p.list = nil
		}
		w.changes.Touch(p.input)
		return
	}
}

// place returns where a resource's objects lie.
func (w *world) place(res *api.Resource) *place {
	for _, p := range w.places {
		if p.resource == res {
			return p
		}
	}
	p := &place{resource: res, prefix: []byte(res.Prefix), input: truth.OtherObjects} // one that was added to the cluster
	w.places = append(w.places, p)
	return p
}

func (w *world) oneLeaderATerm() error {
	for i := range w.members {
		for j := range w.members[:i] {
			a, b := &w.members[i], &w.members[j]
			if a.Role == "leader" && b.Role == "leader" && a.Term == b.Term && a.id == b.id {
				return fmt.Errorf("%s and %s both lead etcd in term %d", a.Name, b.Name, a.Term)
			}
		}
	}
	return nil
}

// Machines returns the physical truth.
func (w *world) Machines() []truth.Machine {
	all := make([]truth.Machine, 0, len(w.cluster.hosts))
	for _, h := range w.cluster.hosts {
		m := truth.Machine{Name: h.Name, Zone: h.Zone, Up: h.machine.Up()}
		for _, p := range h.machine.Processes() {
			m.Processes = append(m.Processes, p.Name)
		}
		if h.runtime != nil {
			for _, c := range h.runtime.Containers() {
				m.Containers = append(m.Containers, truth.Container{Pod: c.Pod, Namespace: c.Namespace, Name: c.Name,
					Running: c.Running && m.Up, Restarts: c.Restarts})
			}
		}
		all = append(all, m)
	}
	return all
}

// Etcd returns the truth of the etcd cluster.
func (w *world) Etcd() truth.Etcd {
	e := truth.Etcd{Members: make([]truth.Member, 0, len(w.members))}
	for i := range w.members {
		m := &w.members[i]
		e.Members = append(e.Members, m.Member)
		if m.Up {
			e.Term = max(e.Term, m.Term)
			if m.id != w.clusterID || w.clusterName == "" {
				w.clusterID, w.clusterName = m.id, strconv.FormatUint(m.id, 16)
			}
			e.ClusterID = w.clusterName
		}
	}
	for i := range w.members {
		if m := &w.members[i]; m.Role == "leader" && m.Term == e.Term {
			e.Leader = m.Name
			e.Quorum = w.quorum(m)
		}
	}
	if w.newest != nil {
		e.Revision = w.newest.Revision()
	}
	return e
}

// quorum reports whether a leader and enough others can hear each other now.
func (w *world) quorum(leader *member) bool {
	works := func(m *member) bool { return m.Up && !m.process.Stopped() && m.machine.Up() && !m.machine.Frozen() }
	voters, heard := 0, 0
	for i := range w.members {
		m := &w.members[i]
		if m.Role == "learner" {
			continue
		}
		voters++
		dc := w.cluster.dc
		if works(m) && works(leader) && dc.Reaches(leader.machine, m.machine) && dc.Reaches(m.machine, leader.machine) {
			heard++
		}
	}
	return heard > voters/2
}

// Leaders returns the machines whose instance of a component believes that it leads.
func (w *world) Leaders(component string) []string {
	for i, name := range electedComponents {
		if name == component {
			return w.leaders[i]
		}
	}
	return nil
}

// Holder returns the machine named in a component's lock.
func (w *world) Holder(component string) string {
	for i, name := range electedComponents {
		if name == component {
			machine, _, _ := strings.Cut(w.locks[i].holder(w), "_")
			return machine
		}
	}
	return ""
}

// lockKey says where a component keeps its lock.
type lockKey struct {
	api.Key
	kinds []*api.Resource // the first that names a holder counts
}

// lockKeyOf returns where a component of the spec keeps its lock. Leases come before what older releases have: they all
// write the Lease, too, from the release on that has one.
func lockKeyOf(component string, flags []spec.Flag) lockKey {
	key := lockKey{Key: api.Key{Namespace: "kube-system", Name: component},
		kinds: []*api.Resource{api.Leases, api.Endpoints}}
	for _, f := range flags {
		switch f.Name {
		case "leader-elect-resource-name", "lock-object-name":
			key.Name = f.Value
		case "leader-elect-resource-namespace", "lock-object-namespace":
			key.Namespace = f.Value
		case "leader-elect-resource-lock":
			if strings.HasPrefix(f.Value, "configmaps") {
				key.kinds = []*api.Resource{api.ConfigMaps}
			}
		}
	}
	return key
}

// holder returns the identity in the lock.
func (k *lockKey) holder(w *world) string {
	for _, kind := range k.kinds {
		for _, object := range w.Objects(kind) {
			if object.GetNamespace() != k.Namespace || object.GetName() != k.Name {
				continue
			}
			if identity := controlplane.LockHolder(object); identity != "" {
				return identity
			}
		}
	}
	return ""
}

// APIReady tells of every API server whether it is ready.
func (w *world) APIReady() []truth.Ready { return w.ready }
