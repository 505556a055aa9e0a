package kubeproxy

import (
	"slices"
	"strconv"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Models the rules that kube-proxy writes as the Linux kernel follows them (pkg/proxy/iptables/proxier.go, v1.36): an
// endpoint drawn for each new connection and kept for all its packets (netfilter's nat table, modules statistic and
// recent); REJECT without endpoints, DROP without local ones. Leaves out: IPVS and nftables, conntrack's limits and
// time-outs.

// Table is what a machine's kernel has been told: where packets for the ports of Services go. Make one per machine; a
// boot empties it.
type Table struct {
	machine *hardware.Machine
	kernel  *sim.Kernel
	random  *sim.Stream // nil: nothing was drawn yet
	rules   map[string]Rule
	since   sim.Time
	next    map[string]Rule // being written until nextAt; nil: nothing is
	nextAt  sim.Time
	clients map[string]client // of Services with session affinity, by cluster IP
}

// client is where the machine's own connections to a Service went last.
type client struct {
	endpoint string
	last     sim.Time
}

// NewTable makes the empty table of a machine that is cleared at every boot, and has the machine follow it.
func NewTable(m *hardware.Machine) *Table {
	t := &Table{machine: m, kernel: m.Datacenter().Kernel()}
	m.OnBoot(func() { t.rules, t.next, t.clients = nil, nil, nil })
	m.Translate(t.translate)
	return t
}

// write has the rules replaced at a time to come: iptables-restore commits them all at once.
func (t *Table) write(rules map[string]Rule, at sim.Time) {
	t.look()
	t.next, t.nextAt = rules, at
}

// look makes what has been written meanwhile the rules.
func (t *Table) look() {
	if t.next != nil && t.kernel.Now() >= t.nextAt {
		t.rules, t.since, t.next = t.next, t.nextAt, nil
	}
}

// Lookup returns the rule for "clusterIP:port".
func (t *Table) Lookup(address string) (Rule, bool) {
	t.look()
	rule, ok := t.rules[address]
	return rule, ok
}

// Len returns how many rules there are.
func (t *Table) Len() int {
	t.look()
	return len(t.rules)
}

// Written returns when the rules were last written.
func (t *Table) Written() sim.Time {
	t.look()
	return t.since
}

// translate is what becomes of a new connection of the machine's. What follows has the write for a cause that the rule
// was made of.
func (t *Table) translate(host string, port int) (to string, verdict hardware.Verdict) {
	address := host + ":" + strconv.Itoa(port)
	rule, ok := t.Lookup(address)
	if !ok {
		return "", hardware.Passed
	}
	t.kernel.Because(t.kernel.Trace().WriteOf(rule.Revision))
	endpoints := rule.Endpoints
	if len(endpoints) > 0 && rule.Local != nil {
		if endpoints = rule.local(t.machine.Name); len(endpoints) == 0 {
			return "", hardware.Dropped
		}
	}
	if len(endpoints) == 0 {
		return "", hardware.Rejected
	}
	return t.pick(&rule, endpoints), hardware.Translated
}

// pick chooses an endpoint: the last one while affinity lasts, else by chance.
func (t *Table) pick(rule *Rule, endpoints []string) string {
	now := t.kernel.Now()
	if rule.Affinity > 0 {
		if c, ok := t.clients[rule.ClusterIP]; ok && now.Sub(c.last) < rule.Affinity &&
			slices.Contains(endpoints, c.endpoint) {
			t.clients[rule.ClusterIP] = client{c.endpoint, now}
			return c.endpoint
		}
	}
	if t.random == nil {
		t.random = t.kernel.Rand("netfilter/" + t.machine.Name)
	}
	endpoint := endpoints[t.random.IntN(len(endpoints))]
	if rule.Affinity > 0 {
		if t.clients == nil {
			t.clients = map[string]client{}
		}
		t.clients[rule.ClusterIP] = client{endpoint, now}
	}
	return endpoint
}
