package apiserver

import (
	"bytes"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/raft"
)

// Models the API server's storage (apiserver pkg/storage/etcd3/store.go, v0.36): objects under their keys, optimistic
// concurrency by the key's modification revision. Leaves out: encryption at rest, transformers, size estimates.

// within returns how long the request still has.
func (q *request) within() time.Duration {
	return max(q.deadline.Sub(q.server.kernel.Now()), time.Nanosecond)
}

// read gets one key, linearizably. nil: there is none.
func (q *request) read(p *sim.Proc, key []byte) (*raft.KeyValue, error) {
	resp, err := q.client.Range(p, &raft.RangeRequest{Key: key}, q.within())
	if err != nil {
		return nil, q.etcdFailed(err)
	}
	p.Because(q.cause)
	if len(resp.Kvs) == 0 {
		return nil, nil
	}
	return resp.Kvs[0], nil
}

// write is one change of one key.
type write struct {
	name     string // the key
	key      []byte // the same
	value    []byte // nil: delete
	revision int64  // that the key must stand at
	lease    int64
	reason   string // Created, Updated, Patched, Deleted
	level    sim.Level
	names    *names
}

// writeTxn is a transaction on one key, with all its parts in one piece.
type writeTxn struct {
	request raft.TxnRequest
	compare [1]raft.Compare
	success [1]raft.RequestOp
	failure [1]raft.RequestOp
	put     raft.PutRequest
	get     raft.RangeRequest
}

func (t *writeTxn) fill(w *write) *raft.TxnRequest {
	t.compare[0] = raft.Compare{Result: raft.CompareEqual, Target: raft.CompareMod, Key: w.key, Number: w.revision}
	if w.value != nil {
		t.put = raft.PutRequest{Key: w.key, Value: w.value, Lease: w.lease}
		t.success[0].Put = &t.put
	} else {
		t.success[0].DeleteRange = &raft.DeleteRangeRequest{Key: w.key}
	}
	t.get.Key = w.key
	t.failure[0].Range = &t.get
	t.request = raft.TxnRequest{Compare: t.compare[:], Success: t.success[:], Failure: t.failure[:]}
	return &t.request
}

// commit runs a transaction on one key that stands at a revision (0: does not exist): it puts value, or deletes the key
// when value is nil. When the key has moved on, ok is false and current is what it is now (nil: nothing).
func (q *request) commit(p *sim.Proc, w *write) (revision int64, current *raft.KeyValue, ok bool, err error) {
	in := &intent{write: *w, by: q}
	q.server.family.begin(in)
	resp, err := q.client.Txn(p, in.txn.fill(w), q.within())
	if err != nil {
		return 0, nil, false, q.etcdFailed(err) // it may still happen
	}
	if resp.Succeeded {
		p.Because(q.server.family.wrote(in, resp.Header.Revision))
		return resp.Header.Revision, nil, true, nil
	}
	q.server.family.end(in)
	p.Because(q.cause)
	if kvs := resp.Responses[0].Range.Kvs; len(kvs) > 0 {
		current = kvs[0]
	}
	return 0, current, false, nil
}

// traceEvent is what the trace will be told when the write has happened.
func (q *request) traceEvent(w *write) sim.Event {
	e := sim.Event{Level: w.level, Reason: w.reason, Object: w.names.event, Machine: q.server.machineName,
		Component: q.component(), Cause: q.cause}
	if w.level != sim.Routine {
		e.Message = subresourceNote(q.Subresource)
	}
	return e
}

func subresourceNote(subresource string) string {
	switch subresource {
	case "":
		return ""
	case "status":
		return "Its status."
	case "binding":
		return "Bound to a node."
	case "eviction":
		return "By eviction."
	case "scale":
		return "Its scale."
	}
	return "Its " + subresource + "."
}

// current returns the object of the request and its revision: from the watch cache if it is there, which may be stale
// and is noticed by the transaction, else from etcd. nil: there is none.
func (q *request) current(p *sim.Proc) (v *version, cached bool, err error) {
	if q.cache != nil && q.cache.ready {
		if v := q.cache.find(q.Namespace, q.Name); v != nil {
			return v, true, nil
		}
	}
	kv, err := q.read(p, q.key())
	if err != nil || kv == nil {
		return nil, false, err
	}
	return &version{kv: kv}, false, nil
}

// key returns the key of the request's object.
func (q *request) key() []byte { return q.Resource.AppendKey(nil, q.Namespace, q.Name) }

func (q *request) objectOf(v *version) api.Object {
	if v.object == nil {
		v.object = q.server.decode(q.Resource, v.kv)
	}
	return v.object
}

// create stores a new object and returns it as stored. Errors: AlreadyExists.
func (q *request) create(p *sim.Proc, obj api.Object, lease int64) (api.Object, error) {
	value, err := api.Encode(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	namespace, name := obj.GetNamespace(), obj.GetName()
	w := write{name: q.Resource.Key(namespace, name), value: value, lease: lease, reason: "Created"}
	w.key, w.names = []byte(w.name), namesOf(q.Resource, w.name)
	if q.DryRun {
		return obj, nil
	}
	w.level = q.levelOf(obj, nil)
	revision, current, ok, err := q.commit(p, &w)
	if err != nil {
		return nil, err
	}
	if !ok {
		exists := apierrors.NewAlreadyExists(q.Resource.GroupResource(), obj.GetName())
		if current != nil && q.server.decode(q.Resource, current).GetDeletionTimestamp() != nil {
			exists.ErrStatus.Message = "object is being deleted: " + exists.ErrStatus.Message
		}
		return nil, exists
	}
	return q.server.decodeAfter(q.Resource, value, revision, api.Stored{}), nil
}

// change is what a function given to update makes of an object.
type change struct {
	object api.Object // the new state; nil with remove
	remove bool       // delete the key
	keep   bool       // change nothing and return the object as it is
	kept   api.Kept   // what of the object is as it was
	lease  int64
}

// update changes the object under a key, trying again when somebody else was faster (GuaranteedUpdate). fn must not
// change what it is given; if it refuses an object from the cache it is asked again with what etcd has. It returns the
// object as stored, or its last state when it was deleted.
func (q *request) update(p *sim.Proc, reason string, fn func(existing api.Object) (change, error)) (api.Object, error) {
	v, cached, err := q.current(p)
	for {
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, q.notFound()
		}
		existing := q.objectOf(v)
		next, err := fn(existing)
		if err != nil || next.keep {
			if !cached {
				return existing, err
			}
			// The cache may be behind: what etcd has decides.
			v, cached, err = q.reread(p, v, err)
			if err == errUnchanged {
				return existing, nil
			}
			if err != nil {
				return existing, err
			}
			continue
		}
		result, current, done, err := q.apply(p, reason, v, next)
		if err != nil || done {
			return result, err
		}
		if current == nil {
			return nil, q.notFound()
		}
		v, cached = &version{kv: current}, false
	}
}

var errUnchanged = errors.New("unchanged")

// reread looks whether the cache's version, which fn refused with refusal (nil: wanted to keep), is what etcd has. If
// so the refusal stands (errUnchanged for keep); if not, the newer version is returned.
func (q *request) reread(p *sim.Proc, v *version, refusal error) (*version, bool, error) {
	kv, err := q.read(p, q.key())
	switch {
	case err != nil:
		return nil, false, err
	case kv == nil:
		return nil, false, q.notFound()
	case kv.ModRevision != v.kv.ModRevision:
		return &version{kv: kv}, false, nil
	case refusal != nil:
		return nil, false, refusal
	}
	return nil, false, errUnchanged
}

// apply writes what fn has made of v. done is false when the key has moved on, to current.
func (q *request) apply(p *sim.Proc, reason string, v *version,
	next change) (result api.Object, current *raft.KeyValue, done bool, err error) {
	existing := q.objectOf(v)
	before := api.Stored{Value: v.kv.Value(), Object: existing} // v may be out of date when the write is done
	w := write{name: v.kv.Name(), key: v.kv.Key, revision: v.kv.ModRevision, lease: next.lease, reason: reason,
		names: v.namesIn(q.Resource)}
	if !next.remove {
		value, err := api.EncodeAfter(next.object, before, next.kept)
		if err != nil {
			return nil, nil, true, apierrors.NewInternalError(err)
		}
		if bytes.Equal(value, before.Value) && next.lease == v.kv.Lease {
			return existing, nil, true, nil // nothing to write
		}
		w.value = value
		w.level = q.levelOf(next.object, existing)
	} else {
		w.reason = "Deleted"
	}
	if q.DryRun {
		if next.remove {
			return existing, nil, true, nil
		}
		return next.object, nil, true, nil
	}
	revision, current, ok, err := q.commit(p, &w)
	if err != nil || !ok {
		return nil, current, err != nil, err
	}
	if next.remove {
		return existing, nil, true, nil
	}
	return q.server.decodeAfter(q.Resource, w.value, revision, before), nil, true, nil
}

func (q *request) notFound() error { return apierrors.NewNotFound(q.Resource.GroupResource(), q.Name) }

// etcdFailed is what a client is told when etcd did not do what it was asked (apiserver pkg/storage/etcd3/errors.go,
// pkg/endpoints/handlers/responsewriters/status.go): at the request's own deadline 504, else 500 with etcd's text.
func (q *request) etcdFailed(err error) error {
	if raft.CodeOf(err) == raft.DeadlineExceeded || errors.Is(err, sim.ErrTimeout) {
		return q.timedOut()
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: 500, Message: err.Error()}}
}

// timedOut is the answer at the deadline. Writes are ended by their handler (finisher.go), reads by the time-out
// filter, whose body is no Status: the text is what client-go makes of the 504.
func (q *request) timedOut() error {
	if q.mutating {
		return apierrors.NewTimeoutError("request did not complete within requested timeout - context deadline exceeded", 0)
	}
	return apierrors.NewGenericServerResponse(504, "get", q.Resource.GroupResource(), q.Name, "", 0, false)
}

// decode returns the object of a stored value, shared by all.
func (s *Server) decode(r *api.Resource, kv *raft.KeyValue) api.Object {
	return s.decodeAfter(r, kv.Value(), kv.ModRevision, api.Stored{})
}

// decodeAfter is decode for a value that follows another of the same object.
func (s *Server) decodeAfter(r *api.Resource, value []byte, revision int64, before api.Stored) api.Object {
	obj, err := s.family.codec.DecodeAfter(r, value, revision, before)
	if err != nil {
		sim.Assert(false, "the value of %s at revision %d cannot be decoded: %v", r, revision, err)
	}
	return obj
}
