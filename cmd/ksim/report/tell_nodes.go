package report

import (
	"fmt"
	"slices"
	"strings"

	"ksim/sim"
)

// tellNodeLost tells that the control plane gave a node up: when, by which setting, and what that does to its pods.
func tellNodeLost(m *memory, s *Scene) []Line {
	at := s.Events[0].T
	lines := []Line{{Loss, "NotReady"}}
	if e := s.waited(); e != nil {
		lines[0].Text = fmt.Sprintf("NotReady: no heartbeat for %s (%s)", span(e.Wait), e.Setting)
	} else if e := s.find(func(e *sim.Event) bool { return kind(e.Object) == "node" }); e != nil {
		lines[0].Text = sentence(e)
	}
	pods := slices.DeleteFunc(m.on(s.Who, at), func(l *life) bool { return l.marked <= at })
	if n := len(pods); n > 0 {
		text := fmt.Sprintf("its %s no longer %s as ready; kubectl still shows %s Running 1/1", plural(n, "pod"),
			verb(n, "count"), them(n))
		lines = append(lines, Line{Explain, text})
	}
	taint := s.find(func(e *sim.Event) bool { return strings.Contains(e.Message, "NoExecute") })
	if taint != nil && len(pods) > 0 {
		lines = append(lines, Line{Explain, "taint unreachable:NoExecute: the patience of its pods starts to run"})
	}
	return lines
}

// tellNodeBack tells that a node is Ready again, and what does not happen then.
func tellNodeBack(m *memory, s *Scene) []Line {
	at := s.Events[0].T
	lines := []Line{{Repair, "Ready"}}
	if s.find(func(e *sim.Event) bool { return strings.Contains(strings.ToLower(e.Message), "taint") }) != nil {
		lines[0].Text = "Ready; taints removed"
	}
	evicted, kept := 0, 0
	for _, name := range m.pods {
		l := m.lives[name]
		switch {
		case l.Node != s.Who || l.scheduled > at || l.staysOnNode():
		case l.marked <= at:
			evicted++
		case l.marked > at && l.gone > at:
			kept++
		}
	}
	returned := slices.ContainsFunc(m.pods, func(name string) bool {
		l := m.lives[name]
		return l.Node == s.Who && l.created > at && l.created != never && !l.staysOnNode()
	})
	switch {
	case evicted > 0 && !returned:
		lines = append(lines, Line{Explain, "nothing moves back: what runs elsewhere stays there"})
	case evicted == 0 && kept > 0:
		lines = append(lines, Line{Explain, fmt.Sprintf("nobody was evicted: its %s %s", plural(kept, "pod"), verb(kept, "stay"))})
	}
	return lines
}

// tellEviction tells which pods of a node were marked for deletion, why now, who was not, and who will not be replaced.
func tellEviction(m *memory, s *Scene) []Line {
	at := s.last
	var marked, cancelled, orphans []string
	for i := range s.Events {
		e := &s.Events[i]
		switch {
		case cancels(e):
			cancelled = append(cancelled, short(e.Object))
		case !slices.Contains(marked, short(e.Object)):
			marked = append(marked, short(e.Object))
			if l := m.lives[e.Object]; l != nil && l.bare() {
				orphans = append(orphans, short(e.Object))
			}
		}
	}
	var lines []Line
	if len(marked) > 0 {
		lines = append(lines, Line{Loss, fmt.Sprintf("%s marked for deletion: %s", plural(len(marked), "pod"), list(marked, 6))})
		if e := s.waited(); e != nil {
			lines = append(lines, Line{Explain, fmt.Sprintf("%s tolerated the taint for %s (%s)", they(len(marked)), span(e.Wait), e.Setting)})
		}
		lines = append(lines, m.stayers(s.Who, at)...)
		for _, name := range orphans {
			lines = append(lines, Line{Explain, "nobody replaces " + name + ": it has no controller"})
		}
	}
	if len(cancelled) > 0 {
		lines = append(lines, Line{Repair, fmt.Sprintf("deletion of %s cancelled: %s", plural(len(cancelled), "pod"), list(cancelled, 6))})
	}
	return lines
}

// stayers tells of the pods that are not evicted with the others.
func (m *memory) stayers(node string, at sim.Time) []Line {
	daemons, static := []string(nil), 0
	for _, l := range m.on(node, at) {
		switch {
		case l.marked <= at:
		case kind(l.Owner) == "daemonset":
			daemons = append(daemons, short(l.Name))
		case kind(l.Owner) == "node":
			static++
		}
	}
	var lines []Line
	if len(daemons) > 0 {
		text := fmt.Sprintf("%s %s: DaemonSet pods tolerate the taint for ever", list(daemons, 4), verb(len(daemons), "stay"))
		lines = append(lines, Line{Explain, text})
	}
	if static > 0 {
		text := fmt.Sprintf("its %s %s: they tolerate every NoExecute taint", plural(static, "static pod"), verb(static, "stay"))
		lines = append(lines, Line{Explain, text})
	}
	return lines
}

func plural(n int, noun string) string { return count(n, noun) }

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
