package apiserver

import (
	"time"

	"ksim/sim"
	"ksim/sim/raft"
)

// eventLeases hands out the etcd leases that Events are stored with, and uses each for a minute
// (apiserver pkg/storage/etcd3/lease_manager.go, v0.36).
type eventLeases struct {
	server  *Server
	id      int64
	used    int
	expires sim.Time
}

// maxLeaseUses is how many objects share a lease (lease_manager.go defaultLeaseMaxObjectCount).
const maxLeaseUses = 1000

// get returns a lease that lives for at least --event-ttl.
func (l *eventLeases) get(p *sim.Proc, q *request) (int64, error) {
	ttl := l.server.options.eventTTL
	now := p.Now()
	if l.id != 0 && l.used < maxLeaseUses && now.Add(ttl) <= l.expires {
		l.used++
		return l.id, nil
	}
	// It lives longer by the time that it is reused, at most a twentieth of the TTL.
	ttl += min(time.Duration(l.server.options.leaseReuse)*time.Second, ttl/20)
	resp, err := q.client.LeaseGrant(p, &raft.LeaseGrantRequest{TTL: int64(ttl / time.Second)}, q.within())
	if err != nil {
		return 0, err
	}
	p.Because(q.cause)
	l.id, l.used, l.expires = resp.ID, 1, p.Now().Add(ttl)
	return l.id, nil
}
