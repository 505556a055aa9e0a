package raft

// Models the checks that etcd's gRPC front makes before a request goes anywhere
// (server/etcdserver/api/v3rpc/key.go, v3.6).

func checkRequest(request any, maxTxnOps int) error {
	switch r := request.(type) {
	case *RangeRequest:
		return checkRange(r)
	case *PutRequest:
		return checkPutRequest(r)
	case *DeleteRangeRequest:
		return checkDelete(r)
	case *TxnRequest:
		if err := checkTxnRequest(r, maxTxnOps); err != nil {
			return err
		}
		for _, ops := range [...][]RequestOp{r.Success, r.Failure} {
			if _, _, err := checkOverlaps(ops); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkRange(r *RangeRequest) error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	return nil
}

func checkDelete(r *DeleteRangeRequest) error {
	if len(r.Key) == 0 {
		return ErrEmptyKey
	}
	return nil
}

func checkPutRequest(r *PutRequest) error {
	switch {
	case len(r.Key) == 0:
		return ErrEmptyKey
	case r.IgnoreValue && len(r.Value) != 0:
		return ErrValueProvided
	case r.IgnoreLease && r.Lease != 0:
		return ErrLeaseProvided
	}
	return nil
}

func checkTxnRequest(r *TxnRequest, maxOps int) error {
	most := max(len(r.Compare), len(r.Success), len(r.Failure))
	if most > maxOps {
		return ErrTooManyOps
	}
	for i := range r.Compare {
		if len(r.Compare[i].Key) == 0 {
			return ErrEmptyKey
		}
	}
	for _, ops := range [...][]RequestOp{r.Success, r.Failure} {
		for i := range ops {
			if err := checkOp(&ops[i], maxOps-most); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkOp(o *RequestOp, maxOps int) error {
	switch {
	case o.Range != nil:
		return checkRange(o.Range)
	case o.Put != nil:
		return checkPutRequest(o.Put)
	case o.DeleteRange != nil:
		return checkDelete(o.DeleteRange)
	case o.Txn != nil:
		return checkTxnRequest(o.Txn, maxOps)
	}
	return ErrKeyNotFound
}

// checkOverlaps refuses operations that put a key twice, or put one that others delete; it returns what is put and
// deleted.
func checkOverlaps(ops []RequestOp) (puts map[string]bool, deletes []*DeleteRangeRequest, err error) {
	if len(ops) == 1 && ops[0].Txn == nil { // by far the most frequent case
		return nil, nil, nil
	}
	puts = map[string]bool{}
	for i := range ops {
		if d := ops[i].DeleteRange; d != nil {
			deletes = append(deletes, d)
		}
	}
	for i := range ops {
		nested := ops[i].Txn
		if nested == nil {
			continue
		}
		here := map[string]bool{} // of either branch: they exclude each other
		var deeper []*DeleteRangeRequest
		for _, part := range [...][]RequestOp{nested.Success, nested.Failure} {
			partPuts, partDeletes, err := checkOverlaps(part)
			if err != nil {
				return nil, nil, err
			}
			if len(part) == 1 && part[0].Put != nil {
				partPuts = map[string]bool{string(part[0].Put.Key): true}
			}
			if len(part) == 1 && part[0].DeleteRange != nil {
				partDeletes = []*DeleteRangeRequest{part[0].DeleteRange}
			}
			for key := range partPuts { // any order: the same error for each
				if puts[key] || deletesKey(deletes, key) {
					return nil, nil, ErrDuplicateKey
				}
				here[key] = true
			}
			deeper = append(deeper, partDeletes...)
		}
		for key := range here { // any order: into a map
			puts[key] = true
		}
		deletes = append(deletes, deeper...)
	}
	for i := range ops {
		if p := ops[i].Put; p != nil {
			key := string(p.Key)
			if puts[key] || deletesKey(deletes, key) {
				return nil, nil, ErrDuplicateKey
			}
			puts[key] = true
		}
	}
	return puts, deletes, nil
}

func deletesKey(deletes []*DeleteRangeRequest, key string) bool {
	for _, d := range deletes {
		switch end := string(d.RangeEnd); {
		case end == "" && key == string(d.Key):
			return true
		case end == "\x00" && key >= string(d.Key), end != "" && key >= string(d.Key) && key < end:
			return true
		}
	}
	return false
}
