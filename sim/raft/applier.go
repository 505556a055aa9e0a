package raft

import (
	"bytes"
	"cmp"
	"slices"

	"ksim/sim/raft/mvcc"
)

// Models etcd's transactions on the store (server/etcdserver/txn, v3.6).

// storeError gives the store's errors their gRPC form.
func storeError(err error) error {
	switch err {
	case mvcc.ErrCompacted:
		return ErrCompacted
	case mvcc.ErrFutureRev:
		return ErrFutureRev
	}
	return err
}

// ranger is the store, or a transaction on it.
type ranger interface {
	Get(key []byte) *KeyValue
	Range(key, end []byte, o mvcc.RangeOptions) ([]*KeyValue, int64, error)
}

// isGet reports whether a range is the newest version of one key, which is what is asked for most.
func isGet(r *RangeRequest) bool {
	return len(r.RangeEnd) == 0 && r.Revision == 0 && !r.KeysOnly && !r.CountOnly && r.MinModRevision == 0 &&
		r.MaxModRevision == 0 && r.MinCreateRevision == 0 && r.MaxCreateRevision == 0
}

func getOne(from ranger, key []byte) *RangeResponse {
	kv := from.Get(key)
	if kv == nil {
		return &RangeResponse{}
	}
	one := &struct {
		response RangeResponse
		kvs      [1]*KeyValue
	}{kvs: [1]*KeyValue{kv}}
	one.response.Kvs, one.response.Count = one.kvs[:], 1
	return &one.response
}

func executeRange(from ranger, r *RangeRequest) (*RangeResponse, error) {
	if isGet(r) {
		return getOne(from, r.Key), nil
	}
	everything := r.SortOrder != SortNone || r.MinModRevision != 0 || r.MaxModRevision != 0 || r.MinCreateRevision != 0 ||
		r.MaxCreateRevision != 0
	limit := int(r.Limit)
	if everything {
		limit = 0
	}
	if limit > 0 {
		limit++ // one more tells whether there is more
	}
	kvs, count, err := from.Range(r.Key, r.RangeEnd, mvcc.RangeOptions{Revision: r.Revision, Limit: limit,
		CountOnly: r.CountOnly})
	if err != nil {
		return nil, storeError(err)
	}
	if everything {
		kvs = slices.DeleteFunc(kvs, func(kv *KeyValue) bool {
			return r.MaxModRevision != 0 && kv.ModRevision > r.MaxModRevision || kv.ModRevision < r.MinModRevision ||
				r.MaxCreateRevision != 0 && kv.CreateRevision > r.MaxCreateRevision ||
				kv.CreateRevision < r.MinCreateRevision
		})
	}
	sortRange(kvs, r)
	response := &RangeResponse{Kvs: kvs, Count: count}
	if r.Limit > 0 && len(kvs) > int(r.Limit) {
		response.Kvs, response.More = kvs[:r.Limit], true
	}
	if r.KeysOnly {
		for i, kv := range response.Kvs {
			response.Kvs[i] = kv.With(nil)
		}
	}
	return response, nil
}

func sortRange(kvs []*KeyValue, r *RangeRequest) {
	if r.SortTarget == SortByKey && r.SortOrder != SortDescend {
		return // as the store gives them
	}
	slices.SortStableFunc(kvs, func(a, b *KeyValue) int {
		n := 0
		switch r.SortTarget {
		case SortByKey:
			n = bytes.Compare(a.Key, b.Key)
		case SortByVersion:
			n = cmp.Compare(a.Version, b.Version)
		case SortByCreateRevision:
			n = cmp.Compare(a.CreateRevision, b.CreateRevision)
		case SortByModRevision:
			n = cmp.Compare(a.ModRevision, b.ModRevision)
		case SortByValue:
			n = bytes.Compare(a.Value(), b.Value())
		}
		if r.SortOrder == SortDescend {
			return -n
		}
		return n
	})
}

// checkPut returns what keeps a put from being applied.
func (s *Server) checkPut(r *PutRequest) error {
	if (r.IgnoreValue || r.IgnoreLease) && s.store.Get(r.Key) == nil {
		return ErrKeyNotFound
	}
	if r.Lease != 0 && s.store.Lease(r.Lease) == nil {
		return ErrLeaseNotFound
	}
	return nil
}

// put puts a key and returns what there was before, if that is asked for.
func put(txn *mvcc.Txn, r *PutRequest) (prev *KeyValue) {
	value, lease := r.Value, r.Lease
	if r.IgnoreValue || r.IgnoreLease {
		if was := txn.Get(r.Key); was != nil {
			if r.IgnoreValue {
				value = was.Value()
			}
			if r.IgnoreLease {
				lease = was.Lease
			}
		}
	}
	if prev := txn.Put(r.Key, value, lease); r.PrevKv {
		return prev
	}
	return nil
}

func deleteRange(txn *mvcc.Txn, r *DeleteRangeRequest) *DeleteRangeResponse {
	deleted := txn.DeleteRange(r.Key, r.RangeEnd)
	response := &DeleteRangeResponse{Deleted: int64(len(deleted))}
	if r.PrevKv {
		response.PrevKvs = deleted
	}
	return response
}

// txn runs a transaction: compares first, all of them, nested ones too; then checks; then the operations.
func (s *Server) txn(r *TxnRequest, wanted bool) (*TxnResponse, error) {
	path := s.comparePath(s.path[:0], r)
	s.path = path
	if _, err := s.checkTxn(r, path); err != nil {
		return nil, err
	}
	if txnReadOnly(r) {
		response, _, err := s.runTxn(s.store, nil, r, path)
		if err != nil {
			return nil, err
		}
		response.Header = s.header()
		return response, nil
	}
	txn := s.store.Write()
	if !wanted {
		writeTxn(txn, r, path)
		txn.End()
		return nil, nil
	}
	response, _, err := s.runTxn(txn, txn, r, path)
	txn.End()
	if err != nil { // etcd panics: a transaction that writes has been checked and cannot fail
		panic(raftPanic{"unexpected error during txn with writes: " + err.Error()})
	}
	response.Header = s.header()
	return response, nil
}

func branch(r *TxnRequest, succeeded bool) []RequestOp {
	if succeeded {
		return r.Success
	}
	return r.Failure
}

// comparePath appends which branch r takes, and which its nested transactions take.
func (s *Server) comparePath(path []bool, r *TxnRequest) []bool {
	succeeded := true
	for i := range r.Compare {
		if !s.compare(&r.Compare[i]) {
			succeeded = false
			break
		}
	}
	path = append(path, succeeded)
	ops := branch(r, succeeded)
	for i := range ops {
		if ops[i].Txn != nil {
			path = s.comparePath(path, ops[i].Txn)
		}
	}
	return path
}

func (s *Server) compare(c *Compare) bool {
	if len(c.RangeEnd) == 0 {
		kv := s.store.Get(c.Key)
		if kv == nil {
			return c.Target != CompareValue && c.holds(&KeyValue{})
		}
		return c.holds(kv)
	}
	kvs, _, _ := s.store.Range(c.Key, c.RangeEnd, mvcc.RangeOptions{})
	if len(kvs) == 0 {
		return c.Target != CompareValue && c.holds(&KeyValue{})
	}
	for _, kv := range kvs {
		if !c.holds(kv) {
			return false
		}
	}
	return true
}

func (c *Compare) holds(kv *KeyValue) bool {
	n := 0
	switch c.Target {
	case CompareValue:
		n = bytes.Compare(kv.Value(), c.Value)
	case CompareCreate:
		n = cmp.Compare(kv.CreateRevision, c.Number)
	case CompareMod:
		n = cmp.Compare(kv.ModRevision, c.Number)
	case CompareVersion:
		n = cmp.Compare(kv.Version, c.Number)
	case CompareLease:
		n = cmp.Compare(kv.Lease, c.Number)
	}
	switch c.Result {
	case CompareEqual:
		return n == 0
	case CompareNotEqual:
		return n != 0
	case CompareGreater:
		return n > 0
	default:
		return n < 0
	}
}

// checkTxn checks the operations of the branches that path takes, and returns the rest of path.
func (s *Server) checkTxn(r *TxnRequest, path []bool) ([]bool, error) {
	ops := branch(r, path[0])
	path = path[1:]
	for i := range ops {
		var err error
		switch o := &ops[i]; {
		case o.Range != nil && o.Range.Revision > s.store.Revision():
			err = ErrFutureRev
		case o.Range != nil && o.Range.Revision != 0 && o.Range.Revision < s.store.CompactRevision():
			err = ErrCompacted
		case o.Put != nil:
			err = s.checkPut(o.Put)
		case o.Txn != nil:
			path, err = s.checkTxn(o.Txn, path)
		}
		if err != nil {
			return nil, err
		}
	}
	return path, nil
}

// simpleResponse has the memory of a transaction's response of the common form, as one piece.
type simpleResponse struct {
	txn       TxnResponse
	responses [1]ResponseOp
	put       PutResponse
}

// writeTxn is runTxn for a member that nobody waits at: only what is written matters.
func writeTxn(txn *mvcc.Txn, r *TxnRequest, path []bool) []bool {
	ops := branch(r, path[0])
	path = path[1:]
	for i := range ops {
		switch o := &ops[i]; {
		case o.Put != nil:
			put(txn, o.Put)
		case o.DeleteRange != nil:
			txn.DeleteRange(o.DeleteRange.Key, o.DeleteRange.RangeEnd)
		case o.Txn != nil:
			path = writeTxn(txn, o.Txn, path)
		}
	}
	return path
}

func (s *Server) runTxn(from ranger, txn *mvcc.Txn, r *TxnRequest, path []bool) (*TxnResponse, []bool, error) {
	ops := branch(r, path[0])
	memory := &simpleResponse{}
	response := &memory.txn
	response.Succeeded, response.Responses = path[0], memory.responses[:]
	if len(ops) != 1 {
		response.Responses = make([]ResponseOp, len(ops))
	}
	path = path[1:]
	for i := range ops {
		var err error
		switch o, answer := &ops[i], &response.Responses[i]; {
		case o.Range != nil:
			answer.Range, err = executeRange(from, o.Range)
		case o.Put != nil:
			answer.Put = &memory.put
			if len(ops) > 1 {
				answer.Put = new(PutResponse)
			}
			answer.Put.PrevKv = put(txn, o.Put)
		case o.DeleteRange != nil:
			answer.DeleteRange = deleteRange(txn, o.DeleteRange)
		case o.Txn != nil:
			answer.Txn, path, err = s.runTxn(from, txn, o.Txn, path)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return response, path, nil
}

// txnReadOnly reports whether a transaction writes in no branch.
func txnReadOnly(r *TxnRequest) bool {
	for _, ops := range [...][]RequestOp{r.Success, r.Failure} {
		for i := range ops {
			if o := &ops[i]; o.Put != nil || o.DeleteRange != nil || o.Txn != nil && !txnReadOnly(o.Txn) {
				return false
			}
		}
	}
	return true
}

// txnSerializable reports whether all reads of a transaction are content with the member's own state.
func txnSerializable(r *TxnRequest) bool {
	for _, ops := range [...][]RequestOp{r.Success, r.Failure} {
		for i := range ops {
			if o := &ops[i]; o.Range == nil || !o.Range.Serializable {
				return false
			}
		}
	}
	return true
}

// txnCost is what a transaction may add to the database: the costlier of its branches.
func txnCost(r *TxnRequest) int64 {
	return max(opsCost(r.Success), opsCost(r.Failure))
}

func opsCost(ops []RequestOp) (cost int64) {
	for i := range ops {
		switch o := &ops[i]; {
		case o.Put != nil:
			cost += kvOverhead + int64(len(o.Put.Key)+len(o.Put.Value))
		case o.Txn != nil:
			cost += txnCost(o.Txn)
		}
	}
	return cost
}
