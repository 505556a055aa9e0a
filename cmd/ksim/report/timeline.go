package report

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// timeline is a run as a drawing sees it: a lane for each machine, and on it what was there from when to when.
type timeline struct {
	length time.Duration
	lanes  []*lane
	acts   []moment
}

// lane is one machine.
type lane struct {
	name, zone string
	node       bool      // it is a Node
	down       []stretch // without power
	notReady   []stretch // its Node is not Ready
	leads      []named   // what it leads: etcd, controllers, scheduler
	pods       []podBar
	rows       int // of pods, one above the other
}

type stretch struct{ from, to time.Duration }

type named struct {
	stretch
	what string
}

type moment struct {
	t    time.Duration
	text string
}

// podBar is a pod's stay on a node.
type podBar struct {
	name, workload string
	row            int
	from, to       time.Duration
	ready, marked  time.Duration // to where there was no such moment
	replaces       string
}

// maxRows is how many pods a lane draws one above the other; chosen: more are no longer seen.
const maxRows = 10

func newTimeline(run *Run) *timeline {
	m := remember(run)
	tl := &timeline{length: run.Duration}
	byName := map[string]*lane{}
	if run.Before != nil {
		nodes := map[string]bool{}
		for _, n := range run.Before.Nodes {
			nodes[n.Name] = true
		}
		for _, machine := range run.Before.Machines {
			if machine.Name == "admin" {
				continue
			}
			l := &lane{name: machine.Name, zone: machine.Zone, node: nodes[machine.Name]}
			byName[l.name] = l
			tl.lanes = append(tl.lanes, l)
		}
		for _, n := range run.Before.Nodes {
			if byName[n.Name] == nil {
				byName[n.Name] = &lane{name: n.Name, node: true}
				tl.lanes = append(tl.lanes, byName[n.Name])
			}
		}
	}
	tl.states(run, byName)
	tl.leaders(run, byName)
	for _, step := range run.Steps {
		if !step.Skipped {
			first, _, _ := strings.Cut(strings.TrimSpace(step.Command), "\n")
			tl.acts = append(tl.acts, moment{step.T, first})
		}
	}
	for _, name := range m.pods {
		tl.place(m, m.lives[name], byName)
	}
	return tl
}

// states draws power and readiness from the events that change them.
func (tl *timeline) states(run *Run, lanes map[string]*lane) {
	for i := range run.Trace {
		e := &run.Trace[i]
		l := lanes[short(e.Object)]
		if l == nil || e.T < run.Start {
			continue
		}
		t := e.T.Sub(run.Start)
		switch {
		case e.Reason == "MachineCrashed" || e.Reason == "MachineStopped" || e.Reason == "MachineShutDown":
			l.down = begin(l.down, t, tl.length)
		case e.Reason == "MachineStarted" || e.Reason == "MachineBooted":
			l.down = end(l.down, t)
		case e.Reason == "NodeNotReady" && kind(e.Object) == "node":
			l.notReady = begin(l.notReady, t, tl.length)
		case e.Reason == "NodeReady":
			l.notReady = end(l.notReady, t)
		}
	}
}

// begin opens a span, unless one is open.
func begin(spans []stretch, t, length time.Duration) []stretch {
	if n := len(spans); n > 0 && spans[n-1].to == length {
		return spans
	}
	return append(spans, stretch{t, length})
}

// end closes the last span.
func end(spans []stretch, t time.Duration) []stretch {
	if n := len(spans); n > 0 && spans[n-1].to > t {
		spans[n-1].to = t
	}
	return spans
}

// leaders draws who leads what: known at the start, changed by each election that a member or component wins.
func (tl *timeline) leaders(run *Run, lanes map[string]*lane) {
	now := map[string]string{}
	since := map[string]time.Duration{}
	var order []string
	change := func(what, machine string, t time.Duration) {
		if l := lanes[now[what]]; l != nil && t > since[what] {
			l.leads = append(l.leads, named{stretch{since[what], t}, what})
		}
		if _, known := now[what]; !known {
			order = append(order, what)
		}
		now[what], since[what] = machine, t
	}
	if run.Before != nil {
		change("etcd", run.Before.EtcdLeader, 0)
		for _, h := range run.Before.Holders {
			change(nickname(h.Component), h.Machine, 0)
		}
	}
	for i := range run.Trace {
		e := &run.Trace[i]
		if e.T < run.Start {
			continue
		}
		t := e.T.Sub(run.Start)
		switch e.Reason {
		case "BecameLeader":
			if strings.HasPrefix(e.Object, "etcdmember/") {
				change("etcd", cmp.Or(e.Machine, short(e.Object)), t)
				continue
			}
			change(nickname(short(e.Object)), e.Machine, t)
		case "LeaderElection":
			change(nickname(short(e.Object)), e.Machine, t)
		case "LostLeadership", "LeaderLost":
			change(nickname(cmp.Or(e.Component, short(e.Object))), "", t)
		case "MachineCrashed":
			for _, what := range order {
				if now[what] == short(e.Object) {
					change(what, "", t)
				}
			}
		}
	}
	for _, what := range order {
		change(what, "", tl.length)
	}
}

// place draws a pod on the lane of its node, in the first row that is free.
func (tl *timeline) place(m *memory, l *life, lanes map[string]*lane) {
	on := lanes[l.Node]
	if on == nil || l.scheduled == never || kind(l.Owner) == "node" || namespace(l.Name) == "kube-system" {
		return
	}
	at := func(t sim.Time) time.Duration {
		if t == never {
			return tl.length
		}
		return min(m.since(t), tl.length)
	}
	bar := podBar{name: l.Name, workload: l.Workload, from: at(l.scheduled), to: at(l.gone), ready: at(l.ready),
		marked: at(l.marked), replaces: l.replaces}
	for slices.ContainsFunc(on.pods, func(b podBar) bool { return b.row == bar.row && b.to > bar.from && b.from < bar.to }) {
		bar.row++
	}
	if bar.row < maxRows {
		on.rows = max(on.rows, bar.row+1)
		on.pods = append(on.pods, bar)
	}
}
