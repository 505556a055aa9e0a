package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// tellNodeLost tells that the control plane gave a node up: when, by which setting, and what that does to its pods.
func tellNodeLost(m *memory, s *Scene) []Line {
	at := s.Events[0].T
	var lines []Line
	if e := s.find(func(e *sim.Event) bool { return e.Reason == "NodeNotReady" && kind(e.Object) == "node" }); e != nil {
		text := sentence(e)
		if e.Setting != "" {
			silent := e.Wait
			if e.Since > 0 && int(e.Since) <= len(m.run.Trace) {
				silent = e.T.Sub(m.run.Trace[e.Since-1].T)
			}
			text = fmt.Sprintf("NotReady: no heartbeat for %s (%s"+nbsp+"%s)", span(silent), e.Setting, span(e.Wait))
		}
		lines = append(lines, Line{Loss, text})
		at = e.T
	}
	pods := slices.DeleteFunc(m.on(s.Who, at), func(p *PodLife) bool { return p.Marked <= at })
	marked := s.find(func(e *sim.Event) bool { return e.Reason == "PodsMarkedNotReady" })
	if n := len(pods); n > 0 && (marked != nil || len(lines) > 0) {
		text := fmt.Sprintf("its %s no longer %s as ready; kubectl still shows %s Running", counted(n, "pod"),
			verb(n, "count"), them(n))
		lines = append(lines, Line{Explain, text})
	} else if marked != nil {
		lines = append(lines, Line{Explain, sentence(marked)})
	}
	for i := range s.Events {
		e := &s.Events[i]
		if e.Reason == "TaintAdded" || e.Reason == "TaintNode" {
			text := shortTaint(sentence(e))
			if len(pods) == 0 {
				text, _, _ = strings.Cut(text, ": ") // nobody's patience
			}
			lines = append(lines, Line{Explain, text})
		}
	}
	return lines
}

// shortTaint leaves out of a taint's key what all of them have: unreachable:NoExecute.
func shortTaint(text string) string { return strings.ReplaceAll(text, "node.kubernetes.io/", "") }

// tellNodeBack tells that a node is Ready again, and what does not happen then.
func tellNodeBack(m *memory, s *Scene) []Line {
	at := s.Events[0].T
	ready := s.find(func(e *sim.Event) bool { return e.Reason == "NodeReady" })
	untainted := s.find(func(e *sim.Event) bool { return strings.Contains(e.Message+e.Reason, "aint") })
	if ready == nil {
		lines := tellMessages(m, s)
		for i := range lines {
			lines[i].Text = shortTaint(lines[i].Text)
		}
		return lines
	}
	lines := []Line{{Repair, "Ready"}}
	if untainted != nil {
		lines[0].Text = "Ready; taints removed"
	}
	evicted, kept := 0, 0
	returned := false
	for _, p := range m.run.Pods {
		switch {
		case p.Node != s.Who || p.staysOnNode():
		case p.Created > at:
			returned = true
		case p.Marked <= at && p.Gone > at || p.Marked <= at && m.replaced(p):
			evicted++
		case p.Scheduled <= at && p.Marked > at && p.Gone > at:
			kept++
		}
	}
	switch {
	case evicted > 0 && !returned:
		lines = append(lines, Line{Explain, "nothing moves back: what runs elsewhere stays there"})
	case evicted == 0 && kept > 0:
		text := fmt.Sprintf("nobody was evicted: its %s %s", counted(kept, "pod"), verb(kept, "stay"))
		lines = append(lines, Line{Explain, text})
	}
	return lines
}

// replaced reports whether another pod took the place of this one.
func (m *memory) replaced(p *PodLife) bool {
	for _, old := range m.replaces { // any order: one is enough
		if old == p {
			return true
		}
	}
	return false
}

// tellEviction tells which pods of a node were marked for deletion, why now, who was not, and who will not be replaced.
func tellEviction(m *memory, s *Scene) []Line {
	at := s.last
	var marked, cancelled, orphans []string
	for i := range s.Events {
		e := &s.Events[i]
		name := short(e.Object)
		switch {
		case cancels(e):
			cancelled = append(cancelled, name)
		case !slices.Contains(marked, name):
			marked = append(marked, name)
			if p := m.pods[e.Object]; p != nil && p.bare() {
				orphans = append(orphans, name)
			}
		}
	}
	var lines []Line
	if n := len(marked); n > 0 {
		lines = append(lines, Line{Loss, fmt.Sprintf("%s marked for deletion: %s", count(n, "pod"), list(marked, 6))})
		if e := s.waited(); e != nil {
			text := fmt.Sprintf("%s tolerated the taint for %s (%s)", they(n), span(e.Wait), e.Setting)
			if e.Reason == "NodeControllerEviction" { // up to v1.12 there is no taint that pods could tolerate
				text = fmt.Sprintf("nothing had been heard of the node for %s (%s)", span(e.Wait), e.Setting)
			}
			lines = append(lines, Line{Explain, text})
		}
		lines = append(lines, m.stayers(s.Who, at)...)
		if len(orphans) > 0 {
			text := fmt.Sprintf("nobody replaces %s: %s no controller", list(orphans, 4), itHas(len(orphans)))
			lines = append(lines, Line{Explain, text})
		}
	}
	if n := len(cancelled); n > 0 {
		text := fmt.Sprintf("deletion of %s cancelled: %s", count(n, "pod"), list(cancelled, 6))
		lines = append(lines, Line{Repair, text})
	}
	return lines
}

// spared makes a scene at the end of a run in which machines failed and no pod had to go: that is news, too.
func spared(m *memory) []*Scene {
	failed := 0
	for _, c := range m.run.Changes {
		switch {
		case c.T <= m.run.Start:
		case c.What == "machine" && c.State == "down":
			failed++
		case c.What == "node" && c.State != "True":
			return nil
		}
	}
	evicted := slices.ContainsFunc(m.run.Pods, func(p *PodLife) bool { return p.Marked != never })
	if failed == 0 || evicted || len(m.run.Pods) == 0 {
		return nil
	}
	return []*Scene{{T: m.run.Duration, Who: "pods", topic: &topic{tell: func(*memory, *Scene) []Line {
		return []Line{{Explain, "to the end no node was marked NotReady and nobody was evicted"}}
	}}}}
}

// stayers tells of the pods that are not evicted with the others.
func (m *memory) stayers(node string, at sim.Time) []Line {
	var daemons, waiting []string
	static := 0
	for _, p := range m.on(node, at) {
		switch {
		case p.Marked <= at+sim.Time(evictionSpread):
		case kind(p.Owner) == "daemonset":
			daemons = append(daemons, short(p.Name))
		case kind(p.Owner) == "node":
			static++
		default:
			waiting = append(waiting, short(p.Name))
		}
	}
	var lines []Line
	if n := len(daemons); n > 0 {
		text := fmt.Sprintf("%s %s: DaemonSet pods tolerate the taint for ever", list(daemons, 4), verb(n, "stay"))
		lines = append(lines, Line{Explain, text})
	}
	if static > 0 {
		text := fmt.Sprintf("its %s %s: they tolerate every NoExecute taint", counted(static, "static pod"),
			verb(static, "stay"))
		lines = append(lines, Line{Explain, text})
	}
	if n := len(waiting); n > 0 {
		text := fmt.Sprintf("%s %s for now: longer tolerationSeconds", list(waiting, 4), verb(n, "stay"))
		lines = append(lines, Line{Explain, text})
	}
	return lines
}

// evictionSpread is how long after one pod of a node the last is evicted, when all have the same patience. chosen.
const evictionSpread = 2 * time.Second

// counted is count without the number where it is 1: its pod, its 3 pods.
func counted(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return count(n, noun)
}

// verb brings a verb to the number of its subject: 1 stays, 2 stay.
func verb(n int, infinitive string) string {
	if n == 1 {
		return infinitive + "s"
	}
	return infinitive
}

func them(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

func they(n int) string {
	if n == 1 {
		return "it"
	}
	return "they"
}

func itHas(n int) string {
	if n == 1 {
		return "it has"
	}
	return "they have"
}
