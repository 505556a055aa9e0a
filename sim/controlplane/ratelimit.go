package controlplane

import (
	"cmp"
	"errors"
	"fmt"
	"math/big"
	"time"

	"ksim/sim"
	"ksim/sim/api"
)

// Models client-go's client-side rate limit (util/flowcontrol/throttle.go, golang.org/x/time/rate; rest/request.go
// tryThrottle, v0.36): requests wait for a token in the order in which they are made, before their time-out begins, and
// again when they are sent again; watches do not. Leaves out: the turn of a request that is given up goes to nobody.

// RateLimit is --kube-api-qps and --kube-api-burst.
type RateLimit struct {
	QPS   PerThousand // requests per 1000 s; 0: client-go's default; less: no limit
	Burst int
}

// What client-go takes for none (rest/config.go DefaultQPS and DefaultBurst).
const (
	defaultQPS   = 5000
	defaultBurst = 10
)

// Times returns a limit that is so many times as generous.
func (l RateLimit) Times(qps, burst int) RateLimit {
	return RateLimit{QPS: l.QPS * PerThousand(qps), Burst: l.Burst * burst}
}

// Check returns client-go's error for a limit that lets nothing through (kubernetes/clientset.go
// NewForConfigAndClient).
func (l RateLimit) Check() error {
	if l.QPS > 0 && l.Burst <= 0 {
		return errors.New("burst is required to be greater than 0 when RateLimiter is not set and QPS is set to greater " +
			"than 0")
	}
	return nil
}

// tokenBucket lets a burst of requests go at once and spaces the others.
type tokenBucket struct {
	scope *sim.Scope
	every time.Duration
	burst int
	paid  sim.Time // when all that was taken will have been paid back
}

func newTokenBucket(scope *sim.Scope, limit RateLimit) *tokenBucket {
	limit = RateLimit{QPS: cmp.Or(limit.QPS, defaultQPS), Burst: cmp.Or(limit.Burst, defaultBurst)}
	return &tokenBucket{scope: scope, burst: limit.Burst, every: 1000 * time.Second / time.Duration(limit.QPS)}
}

// take takes a token and returns how long the request must wait for it.
func (b *tokenBucket) take() time.Duration {
	now := b.scope.Now()
	b.paid = max(b.paid, now).Add(b.every)
	return max(b.paid.Sub(now)-time.Duration(b.burst)*b.every, 0)
}

// Throttled returns a client with a token bucket of its own. It shares client's connection, as client-go's transport
// cache has it.
func Throttled(client api.Client, limit RateLimit) api.Client {
	if limit.QPS < 0 {
		return client
	}
	bucket := newTokenBucket(client.Scope(), limit)
	if other, ok := client.(*throttled); ok {
		client = other.Client
	}
	if rest, ok := client.(*restClient); ok {
		own := *rest
		own.bucket = bucket
		return &own
	}
	return &throttled{Client: client, bucket: bucket}
}

// throttled gives any other client a token bucket.
type throttled struct {
	api.Client
	bucket *tokenBucket
}

// Do sends a request when its turn has come, and waits for its answer.
func (c *throttled) Do(p *sim.Proc, r *api.Request) (*api.Response, error) {
	if wait := c.bucket.take(); wait > 0 {
		p.Sleep(wait)
	}
	return c.Client.Do(p, r)
}

// Start sends a request when its turn has come.
func (c *throttled) Start(r *api.Request, done func(*api.Response, error)) api.Cancel {
	wait := c.bucket.take()
	if wait == 0 {
		return c.Client.Start(r, done)
	}
	var cancel api.Cancel
	timer := c.Scope().After(wait, throttling, func() { cancel = c.Client.Start(r, done) })
	return func() {
		timer.Stop()
		if cancel != nil {
			cancel()
		}
	}
}

// throttling is what client-go calls the wait.
const throttling = "client-side throttling"

// PerThousand is a decimal number with three digits: --kube-api-qps=50 is 50,000.
type PerThousand int64

func (v *PerThousand) String() string { return big.NewRat(int64(*v), 1000).FloatString(3) }

// Type implements pflag.Value.
func (v *PerThousand) Type() string { return "float32" }

// Set parses a decimal number.
func (v *PerThousand) Set(text string) error {
	number, ok := new(big.Rat).SetString(text)
	if !ok {
		return fmt.Errorf("strconv.ParseFloat: parsing %q: invalid syntax", text)
	}
	number.Mul(number, big.NewRat(1000, 1))
	*v = PerThousand(new(big.Int).Quo(number.Num(), number.Denom()).Int64())
	return nil
}
