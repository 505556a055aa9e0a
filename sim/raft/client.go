package raft

import (
	"time"

	"ksim/sim"
)

// ClientConfig says whom a client talks to and how patiently.
type ClientConfig struct {
	Endpoints        []string      // "machine:port" or URLs; "127.0.0.1:2379" is the own machine
	DialTimeout      time.Duration // 0: none. kube-apiserver: 20s
	KeepAliveTime    time.Duration // 0: off. kube-apiserver: 30s
	KeepAliveTimeout time.Duration // kube-apiserver: 10s
}

// Do sends any request of this package and waits at most within (sim.Forever: no limit) for its answer; the answer
// to an XRequest is an *XResponse. Errors: *Error, or sim.ErrTimeout when the client's own time is over.
func (c *Client) Do(p *sim.Proc, request any, within time.Duration) (any, error) {
	x := &call{client: c, frame: clientRequest{c.nextID(), request}}
	x.begin(within)
	return x.answer.Await(p, sim.Forever)
}

func do[R any](c *Client, p *sim.Proc, request any, within time.Duration) (R, error) {
	response, err := c.Do(p, request, within)
	r, _ := response.(R)
	return r, err
}

func start[R any](c *Client, request any, within time.Duration, done func(R, error)) (cancel func()) {
	return c.Start(request, within, func(response any, err error) {
		r, _ := response.(R)
		done(r, err)
	})
}

// Range reads keys.
func (c *Client) Range(p *sim.Proc, r *RangeRequest, within time.Duration) (*RangeResponse, error) {
	return do[*RangeResponse](c, p, r, within)
}

// StartRange is Range for callbacks.
func (c *Client) StartRange(r *RangeRequest, within time.Duration, done func(*RangeResponse, error)) (cancel func()) {
	return start(c, r, within, done)
}

// Put sets a key.
func (c *Client) Put(p *sim.Proc, r *PutRequest, within time.Duration) (*PutResponse, error) {
	return do[*PutResponse](c, p, r, within)
}

// StartPut is Put for callbacks.
func (c *Client) StartPut(r *PutRequest, within time.Duration, done func(*PutResponse, error)) (cancel func()) {
	return start(c, r, within, done)
}

// DeleteRange deletes keys.
func (c *Client) DeleteRange(p *sim.Proc, r *DeleteRangeRequest, within time.Duration) (*DeleteRangeResponse, error) {
	return do[*DeleteRangeResponse](c, p, r, within)
}

// Txn runs a transaction.
func (c *Client) Txn(p *sim.Proc, r *TxnRequest, within time.Duration) (*TxnResponse, error) {
	return do[*TxnResponse](c, p, r, within)
}

// StartTxn is Txn for callbacks.
func (c *Client) StartTxn(r *TxnRequest, within time.Duration, done func(*TxnResponse, error)) (cancel func()) {
	return start(c, r, within, done)
}

// Compact forgets old revisions.
func (c *Client) Compact(p *sim.Proc, r *CompactionRequest, within time.Duration) (*CompactionResponse, error) {
	return do[*CompactionResponse](c, p, r, within)
}

// LeaseGrant makes a lease.
func (c *Client) LeaseGrant(p *sim.Proc, r *LeaseGrantRequest, within time.Duration) (*LeaseGrantResponse, error) {
	return do[*LeaseGrantResponse](c, p, r, within)
}

// StartLeaseGrant is LeaseGrant for callbacks.
func (c *Client) StartLeaseGrant(r *LeaseGrantRequest, within time.Duration,
	done func(*LeaseGrantResponse, error)) (cancel func()) {
	return start(c, r, within, done)
}

// LeaseRevoke ends a lease.
func (c *Client) LeaseRevoke(p *sim.Proc, r *LeaseRevokeRequest, within time.Duration) (*LeaseRevokeResponse, error) {
	return do[*LeaseRevokeResponse](c, p, r, within)
}

// LeaseKeepAlive renews a lease once.
func (c *Client) LeaseKeepAlive(p *sim.Proc, r *LeaseKeepAliveRequest,
	within time.Duration) (*LeaseKeepAliveResponse, error) {
	return do[*LeaseKeepAliveResponse](c, p, r, within)
}

// LeaseTimeToLive asks about a lease.
func (c *Client) LeaseTimeToLive(p *sim.Proc, r *LeaseTimeToLiveRequest,
	within time.Duration) (*LeaseTimeToLiveResponse, error) {
	return do[*LeaseTimeToLiveResponse](c, p, r, within)
}

// LeaseLeases lists the leases.
func (c *Client) LeaseLeases(p *sim.Proc, within time.Duration) (*LeaseLeasesResponse, error) {
	return do[*LeaseLeasesResponse](c, p, &LeaseLeasesRequest{}, within)
}

// Status asks the first endpoint about itself. Use a client of its own for each member that is asked.
func (c *Client) Status(p *sim.Proc, within time.Duration) (*StatusResponse, error) {
	return do[*StatusResponse](c, p, &StatusRequest{}, within)
}

// MemberList lists the members.
func (c *Client) MemberList(p *sim.Proc, r *MemberListRequest, within time.Duration) (*MemberListResponse, error) {
	return do[*MemberListResponse](c, p, r, within)
}

// MemberAdd adds a member.
func (c *Client) MemberAdd(p *sim.Proc, r *MemberAddRequest, within time.Duration) (*MemberAddResponse, error) {
	return do[*MemberAddResponse](c, p, r, within)
}

// MemberRemove removes a member.
func (c *Client) MemberRemove(p *sim.Proc, r *MemberRemoveRequest,
	within time.Duration) (*MemberChangeResponse, error) {
	return do[*MemberChangeResponse](c, p, r, within)
}

// MemberUpdate changes a member's peer URLs.
func (c *Client) MemberUpdate(p *sim.Proc, r *MemberUpdateRequest,
	within time.Duration) (*MemberChangeResponse, error) {
	return do[*MemberChangeResponse](c, p, r, within)
}

// MemberPromote makes a learner a voter.
func (c *Client) MemberPromote(p *sim.Proc, r *MemberPromoteRequest,
	within time.Duration) (*MemberChangeResponse, error) {
	return do[*MemberChangeResponse](c, p, r, within)
}

// MoveLeader has the leader, which must be the endpoint, hand its lead over.
func (c *Client) MoveLeader(p *sim.Proc, r *MoveLeaderRequest, within time.Duration) (*MoveLeaderResponse, error) {
	return do[*MoveLeaderResponse](c, p, r, within)
}

// Alarm lists, raises or disarms alarms.
func (c *Client) Alarm(p *sim.Proc, r *AlarmRequest, within time.Duration) (*AlarmResponse, error) {
	return do[*AlarmResponse](c, p, r, within)
}

// HashKV asks the endpoint for a hash over its store.
func (c *Client) HashKV(p *sim.Proc, r *HashKVRequest, within time.Duration) (*HashKVResponse, error) {
	return do[*HashKVResponse](c, p, r, within)
}

// Defragment has the endpoint give back free pages.
func (c *Client) Defragment(p *sim.Proc, within time.Duration) (*DefragmentResponse, error) {
	return do[*DefragmentResponse](c, p, &DefragmentRequest{}, within)
}

// Snapshot fetches the endpoint's database.
func (c *Client) Snapshot(p *sim.Proc, within time.Duration) (*SnapshotResponse, error) {
	return do[*SnapshotResponse](c, p, &SnapshotRequest{}, within)
}
