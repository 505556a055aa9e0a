package scheduler

import (
	"fmt"
	"math/big"
	"time"

	"ksim/sim"
	"ksim/sim/api"
)

// limiter is the token bucket that the client of a component sends through (client-go util/flowcontrol, rest/request.go
// tryThrottle, v0.36). In a large cluster it, not the decisions, sets the pace of scheduling.
type limiter struct {
	scope *sim.Scope
	every time.Duration // 0: no limit
	burst int
	paid  sim.Time // when all that was taken will have been paid back
}

func newLimiter(scope *sim.Scope, qps perThousand, burst int) limiter {
	l := limiter{scope: scope, burst: burst}
	if qps > 0 {
		l.every = 1000 * time.Second / time.Duration(qps)
	}
	return l
}

// take takes a token and returns how long the request must wait for it.
func (l *limiter) take() time.Duration {
	if l.every == 0 {
		return 0
	}
	now := l.scope.Now()
	l.paid = max(l.paid, now).Add(l.every)
	return max(l.paid.Sub(now)-time.Duration(l.burst)*l.every, 0)
}

// start sends a request when its turn has come.
func (s *Scheduler) start(r *api.Request, done func(*api.Response, error)) {
	if wait := s.limiter.take(); wait > 0 {
		s.scope.After(wait, "client-side throttling", func() { s.client.Start(r, done) })
		return
	}
	s.client.Start(r, done)
}

// do sends a request when its turn has come, and waits for the answer.
func (s *Scheduler) do(p *sim.Proc, r *api.Request) (*api.Response, error) {
	if wait := s.limiter.take(); wait > 0 {
		p.Sleep(wait)
	}
	return s.client.Do(p, r)
}

// perThousand is a decimal number with three digits: --kube-api-qps=50 is 50,000.
type perThousand int64

func (v *perThousand) String() string { return big.NewRat(int64(*v), 1000).FloatString(3) }

// Type implements pflag.Value.
func (v *perThousand) Type() string { return "float32" }

// Set parses a decimal number.
func (v *perThousand) Set(text string) error {
	number, ok := new(big.Rat).SetString(text)
	if !ok {
		return fmt.Errorf("strconv.ParseFloat: parsing %q: invalid syntax", text)
	}
	number.Mul(number, big.NewRat(1000, 1))
	*v = perThousand(new(big.Int).Quo(number.Num(), number.Denom()).Int64())
	return nil
}
