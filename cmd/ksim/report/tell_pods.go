package report

import (
	"fmt"
	"slices"
	"time"

	"ksim/sim"
)

// tellReplacement tells of pods that a controller made: whose place each takes, where, and when it was ready.
func tellReplacement(m *memory, s *Scene) []Line {
	var made []*PodLife
	for i := range s.Events {
		if p := m.pods[s.Events[i].Related]; p != nil && !slices.Contains(made, p) {
			made = append(made, p)
		}
	}
	if len(made) == 0 {
		return tellMessages(m, s)
	}
	const most = 3
	var lines []Line
	for i, p := range made {
		if i == most && len(made) > most+1 {
			lines = append(lines, Line{Repair, m.summary(made[most:])})
			break
		}
		text := short(p.Name) + " is created"
		if old := m.replaces[p]; old != nil {
			text = fmt.Sprintf("%s takes the place of %s", short(p.Name), short(old.Name))
		}
		lines = append(lines, Line{Repair, text + m.arrival(p)})
	}
	return lines
}

// arrival says where a pod went and when it was ready: ", on worker-3; ready at 6:52".
func (m *memory) arrival(p *PodLife) string {
	switch {
	case p.Scheduled == never:
		return "; no node takes it"
	case p.Ready != never:
		return fmt.Sprintf(", on %s; ready at %s", p.Node, clock(m.since(p.Ready)))
	}
	return ", on " + p.Node
}

// summary tells of many new pods in one line.
func (m *memory) summary(pods []*PodLife) string {
	var nodes []string
	last := sim.Time(0)
	for _, p := range pods {
		if p.Node != "" && !slices.Contains(nodes, p.Node) {
			nodes = append(nodes, p.Node)
		}
		if p.Ready != never {
			last = max(last, p.Ready)
		}
	}
	slices.SortFunc(nodes, byNumber)
	text := "and " + count(len(pods), "more pod")
	if len(nodes) > 0 {
		text += ", on " + ranges(nodes)
	}
	if last > 0 {
		text += "; ready by " + clock(m.since(last))
	}
	return text
}

// tellPodLife tells what happened to pods that are not new: containers that start again, and bare pods that start.
func tellPodLife(m *memory, s *Scene) []Line {
	var left []sim.Event
	for i := range s.Events {
		p := m.pods[s.Events[i].Object]
		told := p != nil && !p.bare() && p.Created > m.run.Start && s.Events[i].T.Sub(p.Created) < time.Minute
		if !told {
			left = append(left, s.Events[i])
		}
	}
	if len(left) == 0 {
		return nil
	}
	return tellMessages(m, &Scene{Events: left, Who: s.Who})
}

// gone makes scenes of the pods that ended long after they were marked for deletion: that is what a reader was waiting
// for. The trace has a quiet write of it; the recorder saw it.
func gone(m *memory) []*Scene {
	var scenes []*Scene
	for _, p := range m.run.Pods {
		if p.Gone == never || p.Gone.Sub(p.Marked) < time.Minute || p.Marked == never {
			continue
		}
		ending := &podEnd
		if p.Running {
			ending = &podForced
		}
		i := slices.IndexFunc(scenes, func(s *Scene) bool {
			return s.Who == p.Node && s.topic == ending && p.Gone.Sub(s.last) < 5*time.Second
		})
		if i < 0 {
			scenes = append(scenes, &Scene{T: m.since(p.Gone), Who: p.Node, topic: ending})
			i = len(scenes) - 1
		}
		scenes[i].last = p.Gone
		scenes[i].pods = append(scenes[i].pods, short(p.Name))
	}
	return scenes
}

// tellPodEnd tells that pods are gone, folded.
func tellPodEnd(_ *memory, s *Scene) []Line {
	return []Line{
		{Plain, fmt.Sprintf("%s gone at last: %s", count(len(s.pods), "deleted pod"), list(s.pods, 6))},
		{Explain, fmt.Sprintf("until now %s Terminating: only the kubelet of %s could confirm that %s ended",
			theyWere(len(s.pods)), s.Who, they(len(s.pods)))},
	}
}

// tellPodForced tells that pods were removed by force, folded.
func tellPodForced(_ *memory, s *Scene) []Line {
	return []Line{
		{Plain, fmt.Sprintf("%s removed by force: %s", count(len(s.pods), "deleted pod"), list(s.pods, 6))},
		{Explain, fmt.Sprintf("until now %s Terminating; nobody has confirmed that %s containers ended",
			theyWere(len(s.pods)), map[bool]string{true: "its", false: "their"}[len(s.pods) == 1])},
	}
}

func theyWere(n int) string {
	if n == 1 {
		return "it was"
	}
	return "they were"
}
