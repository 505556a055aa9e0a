package raft

import (
	"time"

	"ksim/sim"
)

// lessor decides when leases expire. Only the leader does: others keep leases without an end.
//
// Models etcd's lessor (server/lease/lessor.go, v3.6). Leaves out: checkpoints (off by default), so that a new
// leader gives every lease its full time again.
type lessor struct {
	server  *Server
	primary bool
	expiry  map[int64]sim.Time
	timer   sim.Timer
}

// promote makes the member the one that expires leases. All get their time again, and what an election may have
// taken.
func (l *lessor) promote(extend time.Duration) {
	l.primary = true
	for _, lease := range l.server.store.Leases() {
		l.expiry[lease.ID] = l.server.kernel.Now().Add(time.Duration(lease.TTL)*time.Second + extend)
	}
	l.schedule()
}

func (l *lessor) demote() {
	l.primary = false
	clear(l.expiry)
	l.timer.Stop()
}

// schedule has Run called when the loop, which turns every 500 ms, would find the next lease expired.
func (l *lessor) schedule() {
	l.timer.Stop()
	first := sim.Time(-1)
	for _, at := range l.expiry { // any order: the least of them
		if first < 0 || at < first {
			first = at
		}
	}
	if first < 0 || !l.primary {
		return
	}
	turns := (first.Sub(l.server.started) + leaseExpireEvery - 1) / leaseExpireEvery
	at := l.server.started.Add(turns * leaseExpireEvery)
	if now := l.server.kernel.Now(); at <= now {
		at = now.Add(leaseExpireEvery)
	}
	l.timer = l.server.scope.AtRun(at, "lease expiry", l)
}

// Run revokes what has expired.
func (l *lessor) Run() {
	now := l.server.kernel.Now()
	for _, lease := range l.server.store.Leases() {
		at, known := l.expiry[lease.ID]
		if !known || at > now {
			continue
		}
		l.expiry[lease.ID] = now.Add(3 * time.Second) // lessor.expiredLeaseRetryInterval: if revoking fails
		id := lease.ID
		l.server.propose(&LeaseRevokeRequest{ID: id}, answerFunc(func(_ any, err error) {
			if err != nil {
				l.server.log.warn("failed to revoke lease lease-id:%016x error:%s", id, err)
			}
		}))
	}
	l.schedule()
}

func (l *lessor) applyGrant(r *LeaseGrantRequest) outcome {
	s := l.server
	if s.hasAlarm(AlarmNoSpace) {
		return outcome{nil, ErrNoSpace}
	}
	if s.store.Lease(r.ID) != nil {
		return outcome{nil, ErrLeaseExist}
	}
	if r.TTL > maxLeaseTTL {
		return outcome{nil, ErrLeaseTTLTooLarge}
	}
	full := s.overQuota(leaseOverhead)
	lease := s.store.Grant(r.ID, max(r.TTL, minLeaseTTL))
	if l.primary {
		l.expiry[r.ID] = s.kernel.Now().Add(time.Duration(lease.TTL) * time.Second)
		l.schedule()
	}
	response := &LeaseGrantResponse{Header: s.header(), ID: lease.ID, TTL: lease.TTL}
	if full {
		return outcome{response, ErrNoSpace}
	}
	return outcome{response, nil}
}

func (l *lessor) applyRevoke(r *LeaseRevokeRequest) outcome {
	s := l.server
	delete(l.expiry, r.ID)
	if !s.store.Revoke(r.ID) {
		return outcome{nil, ErrLeaseNotFound}
	}
	return outcome{&LeaseRevokeResponse{s.header()}, nil}
}

// renew gives a lease its time again; only the leader is asked.
func (l *lessor) renew(id int64) (any, error) {
	lease := l.server.store.Lease(id)
	if lease == nil {
		return &LeaseKeepAliveResponse{Header: l.server.header(), ID: id}, nil
	}
	l.expiry[id] = l.server.kernel.Now().Add(time.Duration(lease.TTL) * time.Second)
	l.schedule()
	return &LeaseKeepAliveResponse{Header: l.server.header(), ID: id, TTL: lease.TTL}, nil
}

// timeToLive says how long a lease has left; only the leader is asked.
func (l *lessor) timeToLive(r *LeaseTimeToLiveRequest) (any, error) {
	s := l.server
	lease := s.store.Lease(r.ID)
	response := &LeaseTimeToLiveResponse{Header: s.header(), ID: r.ID, TTL: -1}
	if lease == nil {
		return response, nil
	}
	response.GrantedTTL = lease.TTL
	response.TTL = int64(l.expiry[r.ID].Sub(s.kernel.Now()) / time.Second)
	if r.Keys {
		for _, key := range s.store.LeaseKeys(lease) {
			response.Keys = append(response.Keys, []byte(key))
		}
	}
	return response, nil
}

// ask answers a request that only the leader can, or sends it there: again and again until the request time-out.
func (l *lessor) ask(request any, done func(any, error)) {
	s := l.server
	answered := false
	finish := func(response any, err error) {
		if !answered {
			answered = true
			done(response, err)
		}
	}
	pending := false
	s.retryUntil(s.kernel.Now().Add(s.config.requestTimeout()), 50*time.Millisecond, func() bool {
		switch {
		case answered:
			return true
		case pending || s.lead == 0:
			return false
		case s.isLeader() && l.primary:
			finish(l.local(request))
			return true
		case s.isLeader():
			return false
		}
		pending = true
		s.peers.request(s.lead, request, func(response any, err error) {
			pending = false
			if err == nil {
				finish(response, nil)
			}
		})
		return false
	}, func() { finish(nil, ErrTimeout) })
}

func (l *lessor) local(request any) (any, error) {
	switch r := request.(type) {
	case *LeaseKeepAliveRequest:
		return l.renew(r.ID)
	case *LeaseTimeToLiveRequest:
		return l.timeToLive(r)
	}
	return nil, ErrNotCapable
}
