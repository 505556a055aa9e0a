package raft

import (
	"slices"
	"time"

	"ksim/sim"
)

// watch is a watch of a client, through all the streams that it takes.
//
// Models clientv3's watcher (client/v3/watch.go, v3.6): a stream that breaks is opened again from the revision
// after the last one seen.
type watch struct {
	client  *Client
	request WatchRequest
	on      func(*WatchResponse)
	call    *call
	next    int64 // the revision to go on from; 0: not known yet
	created bool
	broken  bool // waits for a connection
	backoff time.Duration
	retry   sim.Timer
}

// Watch opens a watch: on is called for every response in the scope of the client's process, the first with
// Created, a last one with Canceled unless cancel was called. Like clientv3 the client resumes the watch by itself
// after the loss of a connection or member, from the revision after the last one seen; only compaction, a refusal,
// a missing leader (with RequireLeader) or Close end it.
func (c *Client) Watch(request *WatchRequest, on func(*WatchResponse)) (cancel func()) {
	w := &watch{client: c, request: *request, on: on, next: request.StartRevision, backoff: time.Millisecond}
	c.watches = append(c.watches, w)
	w.open()
	return w.close
}

// RequestProgress asks for a progress notification on every watch of the client.
func (c *Client) RequestProgress() {
	for _, sc := range c.conns {
		if sc.state == ready {
			sc.send(&call{client: c, frame: clientRequest{c.nextID(), &WatchProgressRequest{}}})
		}
	}
}

func (w *watch) close() {
	if w.call != nil {
		w.call.giveUp()
	}
	w.retry.Stop()
	w.on = nil
	w.forget()
}

func (w *watch) forget() {
	c := w.client
	c.watches = slices.DeleteFunc(c.watches, func(other *watch) bool { return other == w })
}

func (w *watch) open() {
	c := w.client
	request := w.request
	request.StartRevision = w.next
	w.broken = false
	w.call = &call{client: c, frame: clientRequest{c.nextID(), &request}, stream: true, message: w.message, done: w.ended}
	w.call.try()
}

func (w *watch) message(msg any) {
	r := msg.(*WatchResponse)
	w.backoff = time.Millisecond
	switch {
	case r.Created:
		if w.next == 0 {
			w.next = r.Header.Revision + 1
		}
		if w.created { // clientv3 tells of it once
			return
		}
		w.created = true
	case r.Canceled:
		last := *r
		last.Err = &Error{Unknown, r.CancelReason, true}
		if r.CompactRevision != 0 {
			last.Err = ErrCompacted
		}
		w.end(&last)
		return
	case len(r.Events) > 0:
		w.next = r.Events[len(r.Events)-1].Kv.ModRevision + 1
	case r.Header.Revision >= w.next: // progress
		w.next = r.Header.Revision + 1
	}
	if w.on != nil {
		w.on(r)
	}
}

func (w *watch) end(last *WatchResponse) {
	on := w.on
	w.on = nil
	if w.call != nil {
		w.call.giveUp()
	}
	w.forget()
	if on != nil {
		on(last)
	}
}

// ended is called when a stream has ended: the watch goes on with another, unless the error is one that will not go
// away.
func (w *watch) ended(_ any, err error) {
	w.call = nil
	if w.on == nil {
		return
	}
	code := CodeOf(err)
	if err == ErrNoLeader || err != nil && code != Unavailable && code != Internal {
		w.end(&WatchResponse{Canceled: true, CancelReason: err.Error(), Err: err})
		return
	}
	if !w.client.Connected() { // nobody to ask: go on when there is
		w.broken = true
		return
	}
	w.later()
}

func (w *watch) later() {
	w.broken = false
	w.backoff = min(w.backoff+w.backoff/4+1, watchMaxBackoff)
	w.retry = w.client.scope().After(w.backoff, "watch back-off", w.open)
}

// resumeWatches goes on with watches that had nobody to ask. They would have asked every 100 ms.
func (c *Client) resumeWatches() {
	for _, w := range c.watches {
		if w.broken {
			w.broken = false
			w.retry = c.scope().After(time.Duration(c.random().Int64N(int64(watchMaxBackoff))), "watch back-off", w.open)
		}
	}
}
