package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// tellReplacement tells of pods that a controller made: whose place each takes, where, and when it was ready.
func tellReplacement(m *memory, s *Scene) []Line {
	var made []*life
	for i := range s.Events {
		if l := m.lives[s.Events[i].Related]; l != nil && !slices.Contains(made, l) {
			made = append(made, l)
		}
	}
	if len(made) == 0 {
		return tellMessages(m, s)
	}
	const most = 3
	var lines []Line
	for i, l := range made {
		if i == most && len(made) > most+1 {
			lines = append(lines, Line{Plain, m.summary(made[most:])})
			break
		}
		text := short(l.Name) + " is created"
		if l.replaces != "" {
			text = fmt.Sprintf("%s takes the place of %s", short(l.Name), short(l.replaces))
		}
		lines = append(lines, Line{Repair, text + m.arrival(l)})
	}
	return lines
}

// arrival says where a pod went and when it ran: ", on worker-3; ready at 6:52".
func (m *memory) arrival(l *life) string {
	switch {
	case l.scheduled == never:
		return "; no node takes it"
	case l.ready != never:
		return fmt.Sprintf(", on %s; ready at %s", l.Node, clock(m.since(l.ready)))
	case l.started != never:
		return fmt.Sprintf(", on %s; runs at %s", l.Node, clock(m.since(l.started)))
	}
	return ", on " + l.Node
}

// summary tells of many new pods in one line.
func (m *memory) summary(pods []*life) string {
	var nodes []string
	last := sim.Time(0)
	for _, l := range pods {
		if l.Node != "" && !slices.Contains(nodes, l.Node) {
			nodes = append(nodes, l.Node)
		}
		if l.ready != never {
			last = max(last, l.ready)
		}
	}
	slices.Sort(nodes)
	text := "and " + count(len(pods), "more pod")
	if len(nodes) > 0 {
		text += ", on " + list(nodes, 5)
	}
	if last > 0 {
		text += "; ready by " + clock(m.since(last))
	}
	return text
}

// tellPodLife tells of pods that start without having been told as replacements: bare ones, and containers that run again.
func tellPodLife(m *memory, s *Scene) []Line {
	var names []string
	for i := range s.Events {
		e := &s.Events[i]
		l := m.lives[e.Object]
		told := l != nil && !l.bare() && l.created > m.run.Start && e.T.Sub(l.created) < time.Minute
		if !told && !slices.Contains(names, e.Object) {
			names = append(names, e.Object)
		}
	}
	if len(names) == 0 {
		return nil
	}
	var left []sim.Event
	for i := range s.Events {
		if slices.Contains(names, s.Events[i].Object) {
			left = append(left, s.Events[i])
		}
	}
	return tellMessages(m, &Scene{Events: left})
}

// tellPodEnd tells that pods are gone, folded: which, and who confirmed it.
func tellPodEnd(m *memory, s *Scene) []Line {
	var gone []string
	waited := time.Duration(0)
	for i := range s.Events {
		e := &s.Events[i]
		l := m.lives[e.Object]
		if l == nil || l.gone == never || slices.Contains(gone, short(e.Object)) {
			continue
		}
		gone = append(gone, short(e.Object))
		if l.marked != never {
			waited = max(waited, l.gone.Sub(l.marked))
		}
	}
	if len(gone) == 0 {
		return tellMessages(m, s)
	}
	lines := []Line{{Plain, fmt.Sprintf("%s gone: %s", plural(len(gone), "deleted pod"), list(gone, 6))}}
	if waited > time.Minute {
		lines[0].Text = strings.Replace(lines[0].Text, " gone:", " gone at last:", 1)
		lines = append(lines, Line{Explain, "they stayed Terminating until then: only " + s.Who + "'s kubelet could confirm that they ended"})
	}
	return lines
}
