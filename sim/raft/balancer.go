package raft

import (
	"slices"
	"time"

	"ksim/sim"
	"ksim/sim/hardware"
)

// gRPC's connection back-off (grpc backoff.DefaultConfig) and least time for one attempt (grpc clientconn.go).
const (
	backoffBase       = time.Second
	backoffMax        = 120 * time.Second
	backoffJitter     = 200 // per mille, both ways
	minConnectTimeout = 20 * time.Second
)

// connState is the state of a connection to one endpoint (grpc connectivity).
type connState uint8

const (
	connecting connState = iota
	ready
	transientFailure
	shutdown
)

// subConn is a client's connection to one endpoint, kept up: one that is lost is dialled again at once, a failed
// attempt is repeated after the back-off.
//
// Models gRPC's addrConn and pick_first under clientv3's round_robin balancer. Leaves out: TLS.
type subConn struct {
	client   *Client
	endpoint string
	state    connState // as the balancer sees it: after a failure, failure until ready
	dialing  bool
	failures int
	conn     *hardware.Conn
	cancel   func()
	began    sim.Time
	calls    []*call
	health   sim.Timer
	pinged   bool
	drained  bool // the member has sent GOAWAY
}

func (sc *subConn) connect() {
	c := sc.client
	if sc.dialing || sc.conn != nil || c.closed {
		return
	}
	sc.dialing, sc.began = true, c.now()
	limit := max(minConnectTimeout, sc.backoff())
	timeout := c.scope().After(limit, "connect time-out", sc.failed)
	sc.cancel = c.process.Dial(sc.endpoint, limit, func(conn *hardware.Conn, err error) {
		if err != nil {
			timeout.Stop()
			sc.failed()
			return
		}
		sc.conn = conn
		conn.OnClose(func(err error) {
			timeout.Stop()
			sc.lost(conn, err)
		})
		conn.OnMessage(func(msg any) {
			if _, first := msg.(*settings); first {
				timeout.Stop()
				sc.up()
				return
			}
			sc.receive(msg)
		})
	})
}

// backoff is how long after the beginning of an attempt the next may begin.
func (sc *subConn) backoff() time.Duration {
	if sc.failures == 0 {
		return backoffBase
	}
	d := backoffBase
	for i := 0; i < sc.failures && d < backoffMax; i++ {
		d = d * 16 / 10
	}
	d = min(d, backoffMax)
	return d - d*backoffJitter/1000 + time.Duration(sc.client.random().Int64N(int64(d)*2*backoffJitter/1000+1))
}

func (sc *subConn) failed() {
	c := sc.client
	if !sc.dialing {
		return
	}
	sc.dialing = false
	if sc.cancel != nil {
		sc.cancel()
	}
	if conn := sc.conn; conn != nil {
		sc.conn = nil
		conn.Close()
	}
	sc.state = transientFailure
	wait := sc.backoff() - c.now().Sub(sc.began)
	sc.failures++
	c.scope().After(wait, "grpc back-off", sc.connect)
	c.stateChanged()
}

func (sc *subConn) up() {
	c := sc.client
	sc.dialing, sc.failures, sc.state, sc.drained, sc.pinged = false, 0, ready, false, false
	if c.config.KeepAliveTime > 0 {
		sc.health = c.scope().AfterRun(c.config.KeepAliveTime, "keepalive", sc)
	}
	c.stateChanged()
}

// lost is called when the connection has ended.
func (sc *subConn) lost(conn *hardware.Conn, err error) {
	if sc.conn != conn {
		return
	}
	sc.conn = nil
	sc.health.Stop()
	if sc.dialing { // before the settings came
		sc.failed()
		return
	}
	sc.state = connecting
	calls := sc.calls
	sc.calls = nil
	failure := &Error{Unavailable, "error reading from server: " + err.Error(), false}
	sc.client.scope().After(0, "reconnect", sc.connect)
	for _, x := range calls {
		x.failed(failure)
	}
	sc.client.stateChanged()
}

// Run is the keepalive: a ping when nothing has come for KeepAliveTime, and the end KeepAliveTimeout later.
func (sc *subConn) Run() {
	c := sc.client
	if sc.conn == nil {
		return
	}
	silent := c.now().Sub(sc.conn.Received())
	switch {
	case silent < c.config.KeepAliveTime:
		sc.pinged = false
		sc.health = c.scope().AfterRun(c.config.KeepAliveTime-silent, "keepalive", sc)
	case sc.pinged && silent >= c.config.KeepAliveTime+c.config.KeepAliveTimeout:
		conn := sc.conn
		conn.Close()
		sc.lost(conn, errKeepalive)
	case len(sc.calls) == 0: // no ping without a stream
		sc.health = c.scope().AfterRun(c.config.KeepAliveTime, "keepalive", sc)
	default:
		if !sc.pinged {
			sc.pinged = true
			sc.conn.Send(thePing)
		}
		sc.health = c.scope().AfterRun(c.config.KeepAliveTimeout, "keepalive", sc)
	}
}

var errKeepalive = &Error{Unavailable, "keepalive ping failed to receive ACK within timeout", false}

func (sc *subConn) receive(msg any) {
	switch m := msg.(type) {
	case *serverAnswer:
		for i, x := range sc.calls {
			if x.frame.id != m.id {
				continue
			}
			if !m.more {
				last := len(sc.calls) - 1
				sc.calls[i] = sc.calls[last]
				sc.calls[last] = nil
				sc.calls = sc.calls[:last]
			}
			x.received(m)
			break
		}
		sc.maybeClose()
	case *goAway:
		sc.drained = true
		sc.state = connecting
		sc.client.stateChanged()
		sc.maybeClose()
	}
}

// maybeClose closes a connection that takes no new requests once its last one has ended, and dials anew.
func (sc *subConn) maybeClose() {
	if !sc.drained || len(sc.calls) > 0 || sc.conn == nil {
		return
	}
	sc.conn.Close()
	sc.conn = nil
	sc.health.Stop()
	sc.connect()
}

// send puts a call on the connection.
func (sc *subConn) send(x *call) {
	x.on = sc
	sc.calls = append(sc.calls, x)
	sc.conn.Send(&x.frame)
}

// forget takes a call off, telling the member.
func (sc *subConn) forget(x *call) {
	if i := slices.Index(sc.calls, x); i >= 0 {
		sc.calls = slices.Delete(sc.calls, i, i+1)
		if sc.conn != nil {
			sc.conn.Send(&clientCancel{x.frame.id})
		}
		sc.maybeClose()
	}
}
