package raft

import (
	"slices"
	"time"

	"ksim/sim"
	"ksim/sim/hardware"
)

// clientv3's retry of unary requests (client/v3/options.go and retry_interceptor.go, v3.6).
const (
	maxAttempts     = 100
	retryWait       = 25 * time.Millisecond
	retryJitter     = 100 // per mille, both ways
	watchMaxBackoff = 100 * time.Millisecond
)

// Client is a client of etcd. Its callbacks run in the scope of the process that made it.
//
// Models clientv3 (client/v3, v3.6): round robin over the endpoints that are connected, gRPC's back-off, the rules
// of which requests are sent again, watches that are resumed. Leaves out: TLS, authentication, one stream for
// several watches.
type Client struct {
	process *hardware.Process
	config  ClientConfig
	conns   []*subConn
	turn    int
	lastID  uint64
	picking []*call // wait for a connection
	watches []*watch
	waiters []func() // wait for the first connection
	closed  bool
}

// NewClient makes a client of process p; it begins to dial at once.
func NewClient(p *hardware.Process, config ClientConfig) *Client {
	c := &Client{process: p, config: config}
	for _, endpoint := range config.Endpoints {
		c.conns = append(c.conns, &subConn{client: c, endpoint: endpoint})
	}
	for _, sc := range c.conns {
		sc.connect()
	}
	return c
}

// WaitConnected waits at most within for the first connection, as clientv3.New does with grpc.WithBlock. Errors:
// sim.ErrTimeout, which reads "context deadline exceeded".
func (c *Client) WaitConnected(p *sim.Proc, within time.Duration) error {
	if c.Connected() {
		return nil
	}
	f := sim.NewFuture[bool]()
	c.waiters = append(c.waiters, func() { f.Resolve(true, nil) })
	_, err := f.Await(p, within)
	return err
}

// Connected reports whether an endpoint is connected and serves.
func (c *Client) Connected() bool {
	for _, sc := range c.conns {
		if sc.state == ready {
			return true
		}
	}
	return false
}

// Close gives up all requests, watches and connections.
func (c *Client) Close() {
	if c.closed {
		return
	}
	c.closed = true
	for _, sc := range c.conns {
		if sc.cancel != nil {
			sc.cancel()
		}
		sc.health.Stop()
		sc.calls, sc.state = nil, shutdown
		if sc.conn != nil {
			sc.conn.Close()
			sc.conn = nil
		}
	}
	c.picking, c.watches = nil, nil
}

func (c *Client) scope() *sim.Scope { return c.process.Scope() }
func (c *Client) now() sim.Time     { return c.scope().Now() }
func (c *Client) random() *sim.Stream {
	return c.scope().Rand("etcd client/" + c.process.Machine().Name)
}

// call is one request, through all its attempts, or one stream.
type call struct {
	client   *Client
	frame    clientRequest // what is sent, at each attempt the same
	attempts int
	over     bool
	done     func(any, error)
	answer   sim.Future[any] // instead of done, for Do
	message  func(any)       // of a stream
	on       *subConn
	deadline sim.Timer
	retry    sim.Timer
	stream   bool
}

// Start is Do for callbacks: done is called once in the scope of the client's process, never before Start has
// returned. cancel gives the request up: done is then not called.
func (c *Client) Start(request any, within time.Duration, done func(response any, err error)) (cancel func()) {
	x := &call{client: c, frame: clientRequest{c.nextID(), request}, done: done}
	x.begin(within)
	return x.giveUp
}

func (c *Client) nextID() uint64 {
	c.lastID++
	return c.lastID
}

func (x *call) begin(within time.Duration) {
	if within >= 0 {
		x.deadline = x.client.scope().AfterRun(within, "etcd client deadline", x)
	}
	x.try()
}

// Run ends a call whose time is over.
func (x *call) Run() {
	x.leave()
	x.finish(nil, sim.ErrTimeout)
}

func (x *call) giveUp() {
	if x.over {
		return
	}
	x.leave()
	x.over, x.done, x.message = true, nil, nil
	x.deadline.Stop()
}

// leave takes the call from wherever it waits.
func (x *call) leave() {
	x.retry.Stop()
	if x.on != nil {
		on := x.on
		x.on = nil
		on.forget(x)
	}
	if i := slices.Index(x.client.picking, x); i >= 0 {
		x.client.picking = slices.Delete(x.client.picking, i, i+1)
	}
}

func (x *call) finish(response any, err error) {
	if x.over {
		return
	}
	done := x.done
	x.over, x.done, x.message = true, nil, nil
	x.deadline.Stop()
	if done == nil {
		x.answer.Hand(response, err)
		return
	}
	done(response, err)
}

// try picks a connection, the next one that is ready, or waits for one: clientv3 sends with WaitForReady, so that a
// request whose members are all away ends at its own deadline and not before (client/v3/options.go).
func (x *call) try() {
	c := x.client
	if c.closed {
		c.scope().After(0, "closed", func() { x.finish(nil, ErrCanceled) })
		return
	}
	x.attempts++
	if sc := c.pick(); sc != nil {
		sc.send(x)
		return
	}
	c.picking = append(c.picking, x)
}

func (c *Client) pick() *subConn {
	for range c.conns {
		sc := c.conns[c.turn%len(c.conns)]
		c.turn++
		if sc.state == ready {
			return sc
		}
	}
	return nil
}

// stateChanged lets calls that wait for a connection go on.
func (c *Client) stateChanged() {
	if c.closed {
		return
	}
	if !c.Connected() {
		return
	}
	waiters := c.waiters
	c.waiters = nil
	for _, fn := range waiters {
		fn()
	}
	c.resumeWatches()
	picking := c.picking
	c.picking = nil
	for _, x := range picking {
		if x.over {
			continue
		}
		x.attempts--
		x.try()
	}
}

// received takes what the member says.
func (x *call) received(m *serverAnswer) {
	switch {
	case m.more:
		if x.message != nil {
			x.message(m.response)
		}
	case m.err != nil:
		x.on = nil
		x.failed(m.err)
	default:
		x.on = nil
		x.finish(m.response, nil)
	}
}

// failed decides whether the request is sent again: after a deadline that was not its own, always; reads after
// whatever is "unavailable"; writes never, for they may have been done.
func (x *call) failed(err error) {
	x.on = nil
	if x.over {
		return
	}
	code := CodeOf(err)
	again := code == DeadlineExceeded || code == Canceled ||
		code == Unavailable && repeatable(x.frame.request) ||
		err == ErrNotSupportedForLearner && len(x.client.conns) > 1
	if x.stream || !again || x.attempts >= maxAttempts {
		x.finish(nil, err)
		return
	}
	x.retry = x.client.scope().After(x.wait(), "etcd client retry", x.try)
}

// wait is how long until the next attempt: nothing until a majority of the endpoints has been asked, then 25 ms
// (roundRobinQuorumBackoff).
func (x *call) wait() time.Duration {
	quorum := len(x.client.conns)/2 + 1
	if x.attempts%quorum != 0 {
		return 0
	}
	return jittered(retryWait, retryJitter, x.client.random())
}

func jittered(d time.Duration, perMille int64, r *sim.Stream) time.Duration {
	span := int64(d) * perMille / 1000
	return d - time.Duration(span) + time.Duration(r.Int64N(2*span+1))
}

// repeatable reports whether a request may be sent again without doing something twice (client/v3/retry.go).
func repeatable(request any) bool {
	switch request.(type) {
	case *RangeRequest, *LeaseTimeToLiveRequest, *LeaseLeasesRequest, *LeaseGrantRequest, *LeaseRevokeRequest,
		*LeaseKeepAliveRequest, *MemberListRequest, *StatusRequest, *HashKVRequest, *SnapshotRequest, *MoveLeaderRequest,
		*HealthRequest:
		return true
	case *AlarmRequest:
		return true
	}
	return false
}
