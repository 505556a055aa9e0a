package apiserver

import (
	corev1 "k8s.io/api/core/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Every API server of a cluster is told the same changes by its own etcd. What they make of them is the same, too, so
// it is made once: the caches share the states of objects, and what watchers are sent of a change.

// version is one state of one object, decoded when somebody first looks.
type version struct {
	kv      *raft.KeyValue
	object  api.Object
	names   *names // nil of an Event
	holders int32  // caches in which it is the newest state
}

// names says what one finds an object by. The versions of an object share them. Events, which are most of all objects
// and which hardly anybody watches, have them made when somebody asks.
type names struct {
	namespace, name string
	event           string // as the trace names it
	node            string // a pod's spec.nodeName
}

func namesOf(r *api.Resource, key string) *names {
	namespace, name := splitKey(r, key)
	n := &names{event: api.ResourceEventName(r, namespace, name)}
	at := len(n.event) - len(name) // the one text holds all three
	n.name = n.event[at:]
	if namespace != "" {
		n.namespace = n.event[at-1-len(namespace) : at-1]
	}
	return n
}

// stored is the version as those who make the next one look at it.
func (v *version) stored() api.Stored {
	if v == nil || v.object == nil {
		return api.Stored{}
	}
	return api.Stored{Value: v.kv.Value(), Object: v.object}
}

// cacheEvent is one change in the window. There are very many of them.
type cacheEvent struct {
	current  *version // nil: deleted
	previous *version // nil: created
	revision int64
	at       sim.Time
	cause    sim.EventID
}

// namesIn returns what the changed object, of that resource, is found by.
func (ev *cacheEvent) namesIn(r *api.Resource) *names {
	if ev.current != nil {
		return ev.current.namesIn(r)
	}
	return ev.previous.namesIn(r)
}

func (v *version) namesIn(r *api.Resource) *names {
	if v.names != nil {
		return v.names
	}
	return namesOf(r, v.kv.Name())
}

// recent is what a cache has made of a revision.
type recent struct {
	current, previous *version
	revision          int64
	cause             sim.EventID
	messages          [3]*api.WatchEvent // added, modified, deleted
}

// recents holds what was made of the newest revisions; the place of a revision is its remainder.
type recents []recent

// chosen: API servers learn of a change within milliseconds of each other; etcd makes a few thousand in a second.
const recentMin, recentMax = 1 << 6, 1 << 9

func (m *recents) at(revision int64) *recent {
	for revision >= int64(len(*m)) && len(*m) < recentMax {
		old := *m
		*m = make(recents, max(2*len(old), recentMin))
		for i := range old {
			if r := old[i].revision; r != 0 {
				(*m)[r&int64(len(*m)-1)] = old[i]
			}
		}
	}
	return &(*m)[revision&int64(len(*m)-1)]
}

// version returns the version that kv is, of an object with those names (nil: not known yet).
func (m *recents) version(r *api.Resource, kv *raft.KeyValue, known *names) *version {
	made := m.at(kv.ModRevision)
	if v := made.current; v != nil && v.kv == kv {
		return v
	}
	v := &version{kv: kv}
	switch {
	case r == api.Events:
	case known == nil:
		v.names = namesOf(r, kv.Name())
	default:
		v.names = known
	}
	if kv.ModRevision >= made.revision { // else it is one of a list: old
		*made = recent{current: v, revision: kv.ModRevision}
	}
	return v
}

// message returns the place for a watch event of a change: filled in if another server has made it.
func (m *recents) message(ev *cacheEvent, slot int) **api.WatchEvent {
	made := m.at(ev.revision)
	if made.revision > ev.revision {
		return new(*api.WatchEvent)
	}
	if made.revision == ev.revision && made.current == ev.current && made.messages == [3]*api.WatchEvent{} {
		made.previous, made.cause = ev.previous, ev.cause
	}
	if made.revision != ev.revision || made.current != ev.current || made.previous != ev.previous ||
		made.cause != ev.cause {
		*made = recent{current: ev.current, previous: ev.previous, revision: ev.revision, cause: ev.cause}
	}
	return &made.messages[slot]
}

// entry is the place of a key in a cache.
type entry struct{ current *version }

// newEntry makes a place for a new key.
func (c *watchCache) newEntry() *entry {
	if len(c.entries) == 0 {
		c.entries = make([]entry, min(max(len(c.objects), 1), 1<<8))
	}
	e := &c.entries[0]
	c.entries = c.entries[1:]
	return e
}

// hold makes v the newest state of a key.
func (e *entry) hold(v *version) {
	e.release()
	e.current = v
	if v != nil {
		v.holders++
	}
}

// release forgets what a state decodes to when it is no cache's newest any more: only who resumes a watch further back
// will look at it again.
func (e *entry) release() {
	if v := e.current; v != nil {
		if v.holders--; v.holders == 0 {
			v.object = nil
		}
	}
}

// get returns the newest state of a key, nil if there is none.
func (c *watchCache) get(key string) *version {
	if e := c.objects[key]; e != nil {
		return e.current
	}
	return nil
}

// find is get by the parts of a key. It puts no key together that would be thrown away.
func (c *watchCache) find(namespace, name string) *version {
	var room [128]byte
	if e := c.objects[string(c.resource.AppendKey(room[:0], namespace, name))]; e != nil {
		return e.current
	}
	return nil
}

// object decodes a version when it is first needed.
func (c *watchCache) object(v *version) api.Object { return c.objectAfter(v, nil) }

// objectAfter is object for a version that follows another of the same object.
func (c *watchCache) objectAfter(v, previous *version) api.Object {
	if v.object == nil {
		v.object = c.server.decodeAfter(c.resource, v.kv.Value(), v.kv.ModRevision, previous.stored())
	}
	return v.object
}

// index keeps pods by node, so that neither a kubelet's list nor its watch looks at other nodes' pods.
func (c *watchCache) index(e *entry, previous, current *version) {
	if c.byNode == nil {
		return
	}
	if current != nil {
		pod, ok := c.objectAfter(current, previous).(*corev1.Pod)
		if ok && pod.Spec.NodeName != current.names.node {
			named := *current.names
			named.node = pod.Spec.NodeName
			current.names = &named
		}
	}
	was, is := nodeOf(previous), nodeOf(current)
	c.touch(was)
	if is != was {
		c.touch(is)
	}
	if was == is && (previous == nil) == (current == nil) {
		return
	}
	if was != "" {
		delete(c.byNode[was], previous.kv.Name())
		if len(c.byNode[was]) == 0 {
			delete(c.byNode, was)
		}
	}
	if is == "" {
		return
	}
	on := c.byNode[is]
	if on == nil {
		on = map[string]*entry{}
		c.byNode[is] = on
	}
	on[current.kv.Name()] = e
}

// touch notes that the newest change concerns the pods of a node.
func (c *watchCache) touch(node string) {
	if node != "" {
		c.touched[node] = c.revision
	}
}

// nodeOf returns the node that a pod is bound to, "" for none.
func nodeOf(v *version) string {
	if v == nil || v.names == nil {
		return ""
	}
	return v.names.node
}
