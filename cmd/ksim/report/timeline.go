package report

import (
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// timeline is a run as a drawing sees it: a lane for each machine, and on it what was there from when to when.
type timeline struct {
	length  time.Duration
	lanes   []*lane
	acts    []moment
	traffic []Traffic
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
	marked         time.Duration // to where it was not
	replaces       string
}

// maxRows is how many pods a lane draws one above the other; chosen: more are no longer seen.
const maxRows = 10

func newTimeline(run *Run) *timeline {
	m := remember(run)
	tl := &timeline{length: run.Duration, traffic: run.Traffic}
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
	for _, c := range run.Changes {
		tl.change(run, c, byName)
	}
	for _, step := range run.Steps {
		if !step.Skipped {
			first, _, _ := strings.Cut(strings.TrimSpace(step.Command), "\n")
			tl.acts = append(tl.acts, moment{step.T, first})
		}
	}
	for _, p := range run.Pods {
		tl.place(m, p, byName)
	}
	return tl
}

// change draws power, readiness and leadership.
func (tl *timeline) change(run *Run, c Change, lanes map[string]*lane) {
	t := c.T.Sub(run.Start)
	switch l := lanes[c.Name]; {
	case c.What == "leader":
		tl.lead(nickname(c.Name), c.State, t)
	case l == nil:
	case c.What == "machine" && c.State == "down":
		l.down = open(l.down, t, tl.length)
	case c.What == "machine":
		l.down = end(l.down, t)
	case c.What == "node" && c.State != "True":
		l.notReady = open(l.notReady, t, tl.length)
	case c.What == "node":
		l.notReady = end(l.notReady, t)
	}
}

// lead draws who leads something from now on; whoever did before no longer does.
func (tl *timeline) lead(what, machines string, t time.Duration) {
	now := strings.Fields(machines)
	for _, l := range tl.lanes {
		leads := slices.Contains(now, l.name)
		i := slices.IndexFunc(l.leads, func(n named) bool { return n.what == what && n.to == tl.length })
		switch {
		case leads && i < 0:
			l.leads = append(l.leads, named{stretch{t, tl.length}, what})
		case !leads && i >= 0:
			l.leads[i].to = t
		}
	}
}

// open opens a span, unless one is open.
func open(spans []stretch, t, length time.Duration) []stretch {
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

// place draws a pod on the lane of its node, in the first row that is free.
func (tl *timeline) place(m *memory, l *PodLife, lanes map[string]*lane) {
	on := lanes[l.Node]
	if on == nil || l.Scheduled == never || kind(l.Owner) == "node" || namespace(l.Name) == "kube-system" {
		return
	}
	at := func(t sim.Time) time.Duration {
		if t == never {
			return tl.length
		}
		return min(m.since(t), tl.length)
	}
	bar := podBar{name: l.Name, workload: l.Workload, from: at(l.Scheduled), to: at(l.Gone),
		marked: at(l.Marked)}
	if old := m.replaces[l]; old != nil {
		bar.replaces = old.Name
	}
	overlaps := func(b podBar) bool { return b.row == bar.row && b.to > bar.from && b.from < bar.to }
	for slices.ContainsFunc(on.pods, overlaps) {
		bar.row++
	}
	if bar.row < maxRows {
		on.rows = max(on.rows, bar.row+1)
		on.pods = append(on.pods, bar)
	}
}
