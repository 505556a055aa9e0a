package apiserver

import (
	"encoding/base64"
	"sort"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
	"ksim/sim/raft"
)

// Models who answers a read (apiserver pkg/storage/cacher/delegator.go, v0.36): a GET without a resourceVersion and an
// exact list go to etcd, linearizably; a list without one asks etcd only for its revision and waits for the cache (from
// v1.31); everything else comes from the cache. Leaves out: lists at an old revision from snapshots, streaming lists.

// get answers with one object.
func (q *request) get(p *sim.Proc) (*api.Response, error) {
	obj, err := q.getObject(p)
	if err != nil {
		return nil, err
	}
	if q.Subresource == "scale" {
		scale, err := scaleOf(obj)
		return &api.Response{Object: scale, Status: 200}, err
	}
	return &api.Response{Object: obj, Status: 200}, nil
}

func (q *request) getObject(p *sim.Proc) (api.Object, error) {
	if q.ResourceVersion != "" && q.cache != nil {
		wanted, err := parseRevision(q.ResourceVersion)
		if err != nil {
			return nil, err
		}
		if !q.cache.ready && wanted > 0 && !q.server.release.ResilientWatchCacheInitialization {
			if err := q.awaitReady(p); err != nil {
				return nil, err
			}
		}
		if q.cache.ready {
			if err := q.awaitFresh(p, wanted, false); err != nil {
				return nil, err
			}
			if v := q.cache.find(q.Namespace, q.Name); v != nil {
				return q.cache.object(v), nil
			}
			return nil, q.notFound()
		}
	}
	kv, err := q.read(p, q.Resource.AppendKey(nil, q.Namespace, q.Name))
	if err != nil {
		return nil, err
	}
	if kv == nil {
		return nil, q.notFound()
	}
	if q.cache != nil {
		if v := q.cache.get(kv.Name()); v != nil && v.kv == kv {
			return q.cache.object(v), nil
		}
	}
	return q.server.decode(q.Resource, kv), nil
}

func parseRevision(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 0 {
		return 0, apierrors.NewBadRequest("Invalid value: \"" + text + "\": strconv.ParseUint: parsing \"" + text +
			"\": invalid syntax")
	}
	return revision, nil
}

// awaitReady waits until the cache has content.
func (q *request) awaitReady(p *sim.Proc) error {
	ready := sim.NewFuture[struct{}]()
	q.cache.onReady(func() { ready.Resolve(struct{}{}, nil) })
	if _, err := ready.Await(p, q.within()); err != nil {
		return q.timedOut()
	}
	p.Because(q.cause)
	return nil
}

// awaitFresh waits until the cache has reached a revision.
func (q *request) awaitFresh(p *sim.Proc, revision int64, force bool) error {
	if q.cache.revision >= revision {
		return nil
	}
	fresh := sim.NewFuture[struct{}]()
	q.cache.whenFresh(revision, force, func(err error) { fresh.Resolve(struct{}{}, err) })
	_, err := fresh.Await(p, sim.Forever) // ends by itself after three seconds
	p.Because(q.cause)
	return err
}

// fromCacheAtOnce reports whether the request is a list that the cache answers without waiting, as informers' first
// ones.
func (q *request) fromCacheAtOnce() bool {
	return q.Verb == api.List && q.ResourceVersion == "0" && q.cache != nil && q.cache.ready && q.Continue == "" &&
		q.ResourceVersionMatch != metav1.ResourceVersionMatchExact
}

func (q *request) list(p *sim.Proc) (*api.Response, error) {
	wanted, err := parseRevision(q.ResourceVersion)
	if err != nil {
		return nil, err
	}
	exact := q.ResourceVersionMatch == metav1.ResourceVersionMatchExact ||
		q.ResourceVersionMatch == "" && q.Limit > 0 && wanted > 0
	consistent := q.ResourceVersion == ""
	switch {
	case q.cache == nil, exact, q.Continue != "", consistent && !q.server.release.ConsistentListFromCache:
		return q.listEtcd(p, wanted, exact)
	case !q.cache.ready:
		return q.listUnready(p, wanted)
	}
	if consistent {
		if wanted, err = q.currentRevision(p); err != nil {
			return nil, err
		}
	}
	if err := q.awaitFresh(p, wanted, q.server.release.ConsistentListFromCache); err != nil {
		if consistent { // the cache did not get there in time
			return q.listEtcd(p, 0, false)
		}
		return nil, err
	}
	return q.listCached()
}

// listUnready is a list while the cache has no content.
func (q *request) listUnready(p *sim.Proc, wanted int64) (*api.Response, error) {
	if q.server.release.ResilientWatchCacheInitialization {
		if q.Limit > 0 && (q.LabelSelector == nil || q.LabelSelector.Empty()) &&
			(q.FieldSelector == nil || q.FieldSelector.Empty()) {
			return q.listEtcd(p, 0, false)
		}
		return nil, q.cache.notReady()
	}
	if wanted == 0 {
		return q.listEtcd(p, 0, false)
	}
	if err := q.awaitReady(p); err != nil {
		return nil, err
	}
	return q.list(p)
}

// currentRevision asks etcd, linearizably, how far its store is (etcd3/store.go GetCurrentResourceVersion).
func (q *request) currentRevision(p *sim.Proc) (int64, error) {
	resp, err := q.client.Range(p, &raft.RangeRequest{Key: []byte(q.Resource.Prefix), CountOnly: true}, q.within())
	if err != nil {
		return 0, q.etcdFailed(err)
	}
	p.Because(q.cause)
	return resp.Header.Revision, nil
}

// keyPrefix returns what the keys that a list looks at begin with.
func (q *request) keyPrefix(scope scopeKey) string {
	if q.Resource.Namespaced && scope.namespace != "" {
		return q.Resource.Prefix + scope.namespace + "/"
	}
	return q.Resource.Prefix
}

// listCached lists what the cache has, in the order of keys.
func (q *request) listCached() (*api.Response, error) {
	f, scope, err := newFilter(q.Request)
	if err != nil {
		return nil, err
	}
	c := q.cache
	l := &listing{q: q, filter: f, revision: c.revision}
	if q.ResourceVersion != "0" { // with 0 the limit is ignored
		l.limit = q.Limit
	}
	prefix := q.keyPrefix(scope)
	switch {
	case scope.name != "" && (scope.namespace != "" || !q.Resource.Namespaced):
		if v := c.find(scope.namespace, scope.name); v != nil {
			l.add(v, c.object(v), scope)
		}
	case scope.node != "" && c.byNode != nil:
		for _, key := range sortedKeys(c.byNode[scope.node]) {
			if v := c.get(key); strings.HasPrefix(key, prefix) && !l.add(v, c.object(v), scope) {
				break
			}
		}
	default:
		c.inOrder().Ascend(prefix, func(key string) bool {
			if !strings.HasPrefix(key, prefix) {
				return false
			}
			v := c.get(key)
			return l.add(v, c.object(v), scope)
		})
	}
	return l.response(), nil
}

func sortedKeys(on map[string]*entry) []string {
	keys := make([]string, 0, len(on))
	for key := range on { // any order: sorted below
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// listing collects the items of a list.
type listing struct {
	q        *request
	filter   filter
	limit    int64
	revision int64
	items    []api.Object
	left     int64 // how many there are beyond the limit
	lastKey  string
}

// add takes an object if it is wanted; false ends the list.
func (l *listing) add(v *version, obj api.Object, scope scopeKey) bool {
	if scope.name != "" && obj.GetName() != scope.name || scope.namespace != "" && l.q.Resource.Namespaced &&
		obj.GetNamespace() != scope.namespace || !l.filter.matchesObject(obj) {
		return true
	}
	if l.limit > 0 && int64(len(l.items)) == l.limit {
		l.left++
		return l.filter.empty() // with a selector nobody is told how many are left
	}
	l.items = append(l.items, obj)
	l.lastKey = string(v.kv.Key)
	return true
}

func (l *listing) response() *api.Response {
	resp := &api.Response{Items: l.items, ResourceVersion: formatRevision(l.revision), Status: 200}
	if l.left > 0 {
		resp.Continue = continueToken(l.revision, l.lastKey)
		if l.filter.empty() {
			resp.RemainingItems = &l.left
		}
	}
	return resp
}

// listEtcd reads a list from etcd: at a revision if exact, else the newest; or the next page.
func (q *request) listEtcd(p *sim.Proc, wanted int64, exact bool) (*api.Response, error) {
	f, scope, err := newFilter(q.Request)
	if err != nil {
		return nil, err
	}
	prefix := q.keyPrefix(scope)
	r := &raft.RangeRequest{Key: []byte(prefix), RangeEnd: prefixEnd(prefix)}
	if q.Continue != "" {
		after, revision, err := parseContinue(q.Continue)
		if err != nil {
			return nil, err
		}
		r.Key, r.Revision = []byte(after+"\x00"), revision
	} else if exact {
		r.Revision = wanted
	}
	resp, err := q.client.Range(p, r, q.within())
	if err != nil {
		return nil, q.listFailed(err)
	}
	p.Because(q.cause)
	if !exact && wanted > resp.Header.Revision {
		return nil, tooLarge(wanted, resp.Header.Revision)
	}
	revision := resp.Header.Revision
	if r.Revision > 0 {
		revision = r.Revision
	}
	l := &listing{q: q, filter: f, limit: q.Limit, revision: revision}
	for _, kv := range resp.Kvs {
		if !l.add(&version{kv: kv}, q.server.decode(q.Resource, kv), scope) {
			break
		}
	}
	return l.response(), nil
}

// listFailed words what a list at an old revision meets (etcd3/errors.go).
func (q *request) listFailed(err error) error {
	switch {
	case err == error(raft.ErrCompacted) && q.Continue != "":
		return apierrors.NewResourceExpired("The provided continue parameter is too old to display a consistent list " +
			"result. You can start a new list without the continue parameter, or use the continue token in this response " +
			"to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent " +
			"list - objects that were created, modified, or deleted between the time the first chunk was returned and " +
			"now may show up in the list.")
	case err == error(raft.ErrCompacted):
		return apierrors.NewResourceExpired("The resourceVersion for the provided list is too old.")
	case err == error(raft.ErrFutureRev):
		wanted, _ := parseRevision(q.ResourceVersion) // was parsed before
		return tooLarge(wanted, q.cacheRevision())
	}
	return q.etcdFailed(err)
}

func (q *request) cacheRevision() int64 {
	if q.cache == nil {
		return 0
	}
	return q.cache.revision
}

// A continue token holds the list's revision and the last key (apiserver pkg/storage/continue.go); clients do not look
// inside.
func continueToken(revision int64, key string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(formatRevision(revision) + " " + key))
}

func parseContinue(token string) (key string, revision int64, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		number, rest, ok := strings.Cut(string(text), " ")
		if revision, err = strconv.ParseInt(number, 10, 64); ok && err == nil {
			return rest, revision, nil
		}
	}
	return "", 0, apierrors.NewBadRequest("continue key is not valid: illegal base64 data")
}

// watch opens a watch on the cache.
func (q *request) watch(call *hardware.Call) {
	c := q.cache
	wanted, err := parseRevision(q.ResourceVersion)
	if err != nil {
		call.Fail(err)
		return
	}
	f, scope, err := newFilter(q.Request)
	if err != nil {
		call.Fail(err)
		return
	}
	switch {
	case c == nil:
		call.Fail(apierrors.NewMethodNotSupported(q.Resource.GroupResource(), "watch"))
	case !c.ready && q.server.release.ResilientWatchCacheInitialization:
		call.Fail(c.notReady())
	case !c.ready:
		c.onReady(func() {
			if !call.Done() {
				q.watch(call)
			}
		})
	default:
		w := &watcher{call: call, scope: scope, filter: f, after: wanted, bookmark: q.AllowWatchBookmarks}
		q.startWatcher(w, wanted)
	}
}

// startWatcher sends what the watcher has missed since the revision it names, or the whole state if it names none, and
// registers it for what comes.
func (q *request) startWatcher(w *watcher, from int64) {
	c := q.cache
	if from == 0 {
		w.after = c.revision
		w.cache = c
		q.sendState(w)
	} else {
		w.cache = c
		missed := func(ev *cacheEvent) {
			if w.inScope(ev) {
				q.server.kernel.Because(ev.cause)
				w.show(ev)
			}
		}
		if w.scope.node != "" && c.touched[w.scope.node] <= from {
			missed = nil // as mostly when a kubelet opens its watch of pods again
		}
		if err := c.since(from, missed); err != nil {
			w.call.Send(&api.WatchEvent{Type: api.Error, Err: err})
			w.call.Reply(&api.Response{Status: 200})
			return
		}
	}
	c.watchers.add(w, q.watchLifetime())
}

func (q *request) sendState(w *watcher) {
	c := w.cache
	list := &request{Request: q.Request, server: q.server, cache: c}
	resp, err := list.listCached()
	if err != nil {
		return // the filter was good before
	}
	for _, obj := range resp.Items {
		w.call.Send(&api.WatchEvent{Type: api.Added, Object: obj, Cause: api.CauseOf(q.server.kernel, obj)})
	}
}

// inScope reports whether an event is one that the groups of the watcher would have shown it.
func (w *watcher) inScope(ev *cacheEvent) bool {
	s := w.scope
	if s.node != "" && nodeOf(ev.current) != s.node && nodeOf(ev.previous) != s.node {
		return false
	}
	names := ev.namesIn(w.cache.resource)
	namespace, name := names.namespace, names.name
	if s.namespace != "" && s.namespace != namespace && w.cache.resource.Namespaced {
		return false
	}
	return s.name == "" || s.name == name
}

// watchLifetime is what the client asked for, else 30 to 60 minutes (apiserver pkg/endpoints/handlers/get.go).
func (q *request) watchLifetime() time.Duration {
	if q.TimeoutSeconds > 0 {
		return time.Duration(q.TimeoutSeconds) * time.Second
	}
	least := time.Duration(q.server.options.minRequestTimeout) * time.Second
	return q.server.random.Between(least, 2*least)
}
