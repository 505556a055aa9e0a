package controlplane

import (
	"errors"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"ksim/sim"
	"ksim/sim/api"
	"ksim/sim/hardware"
)

// Models client-go's REST client (rest/request.go, rest/with_retry.go, v0.36): one connection an address for all
// requests and watches, errors with the request's URL, up to ten retries of answers that say Retry-After, reads sent
// again after a connection broke, rate limits (see Throttled). Leaves out: streaming lists, warnings, certificates.

const (
	// maxRetries is how often a request is sent again (client-go rest/request.go NewRequest, v0.36).
	maxRetries = 10
	// brokenRetryAfter is the wait before a read is sent again whose connection broke (rest/with_retry.go
	// retryAfterResponse).
	brokenRetryAfter = time.Second
	// defaultPort is where a server URL without a port leads.
	defaultPort = ":443"
)

// ClientConfig is what a component's kubeconfig says.
type ClientConfig struct {
	Server    string // https://lb-1:6443
	User      string // system:node:worker-1, system:kube-scheduler, kubernetes-admin
	UserAgent string // kube-scheduler/v1.36.0
}

// restClient is the api.Client of a component.
type restClient struct {
	process   *hardware.Process
	transport *hardware.Transport
	config    ClientConfig
	address   string
	bucket    *tokenBucket // nil: no limit
}

// NewClient makes a client with a connection of its own, which is dialled when it is first needed.
func NewClient(p *hardware.Process, config ClientConfig) api.Client {
	address := strings.TrimPrefix(strings.TrimSuffix(config.Server, "/"), "https://")
	if !strings.Contains(address, ":") {
		address += defaultPort
	}
	return &restClient{process: p, transport: hardware.NewTransport(p, hardware.TransportConfig{}), config: config,
		address: address}
}

// Scope returns the lifetime of the client's process.
func (c *restClient) Scope() *sim.Scope { return c.process.Scope() }

// Do sends a request and waits for its answer.
func (c *restClient) Do(p *sim.Proc, r *api.Request) (*api.Response, error) {
	e := &struct {
		exchange
		answer future
	}{exchange: exchange{client: c, request: c.identify(r)}}
	e.done = &e.answer
	e.start()
	resp, err := e.answer.Await(p, sim.Forever) // the request has its own deadline
	e.stop()
	return resp, err
}

// Start sends a request; done is called once with the answer, unless it is cancelled before.
func (c *restClient) Start(r *api.Request, done func(*api.Response, error)) api.Cancel {
	e := &exchange{client: c, request: c.identify(r), done: callback(done)}
	e.start()
	return e.stop
}

// Watch opens a watch.
func (c *restClient) Watch(r *api.Request, on func(api.WatchEvent), ended func(error)) api.Cancel {
	e := &exchange{client: c, request: c.identify(r), on: on,
		done: callback(func(_ *api.Response, err error) { ended(err) })}
	e.send()
	return e.stop
}

func (c *restClient) identify(r *api.Request) *api.Request {
	if r.User == "" {
		r.User = c.config.User
	}
	if r.UserAgent == "" {
		r.UserAgent = c.config.UserAgent
	}
	return r
}

// resolver is who is told the outcome of a request: a future or a callback.
type resolver interface {
	Resolve(resp *api.Response, err error)
}

// future hands the outcome to the process that waits in Do.
type future struct{ sim.Future[*api.Response] }

// Resolve is Hand: an exchange does nothing after it.
func (f *future) Resolve(resp *api.Response, err error) { f.Hand(resp, err) }

type callback func(*api.Response, error)

// Resolve calls it.
func (fn callback) Resolve(resp *api.Response, err error) { fn(resp, err) }

// exchange is one request with its retries. Its deadline runs the exchange itself.
type exchange struct {
	client   *restClient
	request  *api.Request
	on       func(api.WatchEvent)
	done     resolver // nil: nobody is told any more
	attempts int
	sent     *hardware.Exchange
	deadline sim.Timer
	retry    sim.Timer
}

// start begins the request when it is its turn.
func (e *exchange) start() {
	if wait := e.throttle(); wait > 0 {
		e.retry = e.client.Scope().After(wait, throttling, e.begin)
	} else {
		e.begin()
	}
}

// throttle takes the request's turn and returns how long it is away. Watches are never limited (rest/request.go Watch).
func (e *exchange) throttle() time.Duration {
	if e.client.bucket == nil || e.on != nil {
		return 0
	}
	return e.client.bucket.take()
}

// begin sends for the first time. A request that waited for its turn has all its time before it (rest/request.go
// request).
func (e *exchange) begin() {
	if within := e.request.Within; within > 0 {
		e.deadline = e.client.Scope().AfterRun(within, "client time-out", e)
	}
	e.send()
}

// again sends once more, when it is the request's turn (rest/with_retry.go Before).
func (e *exchange) again() {
	if wait := e.throttle(); wait > 0 {
		e.retry = e.client.Scope().After(wait, throttling, e.send)
		return
	}
	e.send()
}

func (e *exchange) send() { e.sent = e.client.transport.Begin(e.client.address, e.request, e) }

// Message gets an event of a watch.
func (e *exchange) Message(msg any) {
	if on := e.on; on != nil {
		event := msg.(*api.WatchEvent)
		e.client.process.Kernel().Because(event.Cause)
		on(*event)
	}
}

// Ended gets the answer, or the end of a watch.
func (e *exchange) Ended(answer any, err error) {
	e.sent = nil
	if wait, again := e.retryAfter(err); again {
		e.attempts++
		e.retry = e.client.Scope().After(wait, "retry", e.again)
		return
	}
	done := e.done
	e.stop()
	if done == nil {
		return
	}
	if err != nil {
		done.Resolve(nil, e.explain(err))
		return
	}
	resp, _ := answer.(*api.Response)
	done.Resolve(resp, nil)
}

// retryAfter says whether and when the request is sent again. Answers with Retry-After (429 and 5xx) are, for every
// verb; broken connections only for reads, because a write may have happened.
func (e *exchange) retryAfter(err error) (wait time.Duration, again bool) {
	if err == nil || e.attempts >= maxRetries {
		return 0, false
	}
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		s := status.ErrStatus
		if s.Details == nil || s.Details.RetryAfterSeconds <= 0 || s.Code != 429 && s.Code < 500 {
			return 0, false
		}
		return time.Duration(s.Details.RetryAfterSeconds) * time.Second, true
	}
	read := e.request.Verb == api.Get || e.request.Verb == api.List
	broken := errors.Is(err, hardware.ErrReset) || errors.Is(err, hardware.ErrClosed) ||
		errors.Is(err, hardware.ErrConnectionLost)
	return brokenRetryAfter, read && broken
}

// Run is the deadline.
func (e *exchange) Run() {
	done := e.done
	e.stop()
	if done != nil {
		done.Resolve(nil, e.explain(sim.ErrTimeout))
	}
}

func (e *exchange) stop() {
	e.done, e.on = nil, nil
	e.deadline.Stop()
	e.retry.Stop()
	if e.sent != nil {
		e.sent.Cancel()
		e.sent = nil
	}
}

// explain adds the URL to what a connection met, as net/http does; what the server said stays as it is.
func (e *exchange) explain(err error) error {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return err
	}
	return &requestError{request: e.request, server: e.client.config.Server, err: err}
}

// requestError is net/url's Error: what a request met that got no answer.
type requestError struct {
	request *api.Request
	server  string
	err     error
}

func (e *requestError) Unwrap() error { return e.err }

// Error is put together only when somebody reads it.
func (e *requestError) Error() string {
	return httpMethod(e.request) + " \"" + e.server + RequestPath(e.request) + "\": " + e.err.Error()
}

func httpMethod(r *api.Request) string {
	switch r.Verb {
	case api.Create:
		return "Post"
	case api.Update:
		return "Put"
	case api.Patch:
		return "Patch"
	case api.Delete, api.DeleteCollection:
		return "Delete"
	}
	return "Get"
}

// RequestPath returns the path of the request's URL without its query: /api/v1/namespaces/default/pods/web-1.
func RequestPath(r *api.Request) string {
	if r.Resource == nil {
		return r.Path
	}
	path := "/api/" + r.Resource.GVK.Version
	if group := r.Resource.GVK.Group; group != "" {
		path = "/apis/" + group + "/" + r.Resource.GVK.Version
	}
	if r.Resource.Namespaced && r.Namespace != metav1.NamespaceAll {
		path += "/namespaces/" + r.Namespace
	}
	path += "/" + r.Resource.Plural
	if r.Name != "" && (r.Verb != api.Create || r.Subresource != "") {
		path += "/" + r.Name
	}
	if r.Subresource != "" {
		path += "/" + r.Subresource
	}
	return path
}
