package kubelet

import (
	"errors"
	"fmt"
	"strings"

	"ksim/sim/api"
	"ksim/sim/controlplane"
)

// Models the kubelet's three clients (cmd/kubelet/app/server.go run, v1.36): one for most things, one for events, each
// with its rate limit, and one without any for the Lease and the Node's status. Leaves out: nothing that shows.

// requestLimit is --kube-api-qps and --kube-api-burst, or --event-qps and --event-burst.
type requestLimit struct{ qps, burst int32 }

// defaultLimit: 50 and 100 for requests and for events; 5 and 10 before v1.27 (pkg/kubelet/apis/config/v1beta1/
// defaults.go, v1.36 and v1.26).
func defaultLimit(minor int) requestLimit {
	if minor < 27 {
		return requestLimit{5, 10}
	}
	return requestLimit{50, 100}
}

// read takes over what a configuration file says; a burst of 0 is none said.
func (l *requestLimit) read(qps *int32, burst int32) {
	if qps != nil {
		l.qps = *qps
	}
	if burst != 0 {
		l.burst = burst
	}
}

func (l requestLimit) limit() controlplane.RateLimit {
	return controlplane.RateLimit{QPS: controlplane.PerThousand(l.qps) * 1000, Burst: int(l.burst)}
}

// validate refuses what the kubelet does (pkg/kubelet/apis/config/validation/validation.go, v1.36).
func (c *config) validate() error {
	var bad []string
	for _, value := range []struct {
		number      int32
		field, flag string
	}{
		{c.events.burst, "eventBurst", "event-burst"}, {c.events.qps, "eventRecordQPS", "event-qps"},
		{c.api.burst, "kubeAPIBurst", "kube-api-burst"}, {c.api.qps, "kubeAPIQPS", "kube-api-qps"},
	} {
		if value.number < 0 {
			bad = append(bad, fmt.Sprintf("invalid configuration: %s (--%s) %d must not be a negative number", value.field,
				value.flag, value.number))
		}
	}
	switch len(bad) {
	case 0:
		return nil
	case 1:
		return errors.New("failed to validate kubelet configuration, error: " + bad[0])
	}
	return errors.New("failed to validate kubelet configuration, error: [" + strings.Join(bad, ", ") + "]")
}

// useClient makes the clients, which share a connection.
func (kl *Kubelet) useClient(client api.Client) error {
	limit := kl.config.api.limit()
	if err := limit.Check(); err != nil {
		return fmt.Errorf("failed to initialize kubelet client: %w", err)
	}
	kl.heartbeat, kl.client = client, controlplane.Throttled(client, limit)
	kl.events = controlplane.NewRecorder(controlplane.Throttled(client, kl.config.events.limit()), "kubelet").
		On(kl.config.nodeName, kl.machine.Clock().Now)
	return nil
}
