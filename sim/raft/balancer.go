package raft

import (
	"time"

	"ksim/sim/hardware"
)

// Client is a client of etcd. Its callbacks run in the scope of the process that made it.
type Client struct {
	process *hardware.Process
	config  ClientConfig
}

// NewClient makes a client of process p; it begins to dial at once.
func NewClient(p *hardware.Process, config ClientConfig) *Client {
	return &Client{process: p, config: config}
}

// Close gives up all requests, watches and connections.
func (c *Client) Close() {}

// Start is Do for callbacks: done is called once, in the scope of the client's process, never before Start has returned.
// cancel gives the request up: done is then not called.
func (c *Client) Start(request any, within time.Duration, done func(response any, err error)) (cancel func()) {
	timer := c.process.Scope().After(0, "etcd client", func() { done(nil, ErrStopped) })
	return func() { timer.Stop() }
}

// Watch opens a watch: on is called for every response in the scope of the client's process, the first with Created, a
// last one with Canceled unless cancel was called. Like clientv3 the client resumes the watch by itself after the loss of
// a connection or member, from the revision after the last one seen; only compaction, a refusal, a missing leader (with
// RequireLeader) or Close end it.
func (c *Client) Watch(request *WatchRequest, on func(*WatchResponse)) (cancel func()) {
	return func() {}
}

// RequestProgress asks for a progress notification on every watch of the client.
func (c *Client) RequestProgress() {}
