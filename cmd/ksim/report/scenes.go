package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// Line is one line of a scene.
type Line struct {
	Tone Tone
	Text string
}

// Scene is what one subject went through at one time, told in one place.
type Scene struct {
	T     time.Duration // since the start
	Who   string
	Act   bool // done by the outside world
	Lines []Line
	// Events are those that the scene tells, in order: whoever wants the detail finds them by Seq.
	Events []sim.Event

	topic *topic
	last  sim.Time
	pods  []string // for topics that are about pods and have no events
	again []time.Duration
}

// Tell gathers a run's events into scenes, in order of time, and tells each.
func Tell(run *Run) []Scene {
	m := remember(run)
	var scenes []*Scene
	for _, step := range run.Steps {
		if !step.Skipped {
			scenes = append(scenes, actScene(step))
		}
	}
	open := map[string]*Scene{}
	loops := map[string]*Scene{}
	for i := range run.Trace {
		e := &run.Trace[i]
		if e.T < run.Start || e.Level < sim.Story || kind(e.Object) == "scenario" ||
			kind(e.Object) == "traffic" { // told by spells, with what became of it
			continue
		}
		if e.Level == sim.Fault {
			if act := actOf(scenes, m.since(e.T)); act != nil {
				act.Events = append(act.Events, *e)
				continue
			}
		}
		if e.Reason == "PodGone" && len(run.Pods) > 0 {
			continue // told for all of a node's pods together, by gone
		}
		t := topicOf(e)
		who := t.subject(m, e)
		told := loops[who+" "+gist(e)]
		if told != nil && told.loops(e, t.window) && !acted(scenes, told, m.since(e.T)) {
			told.again, told.last = append(told.again, m.since(e.T)), e.T
			continue
		}
		key := t.name + " " + who
		s := open[key]
		if s == nil || e.T.Sub(s.last) > t.window {
			s = &Scene{T: m.since(e.T), Who: who, topic: t}
			open[key] = s
			scenes = append(scenes, s)
		}
		if t == &plain || t == &podLife {
			loops[who+" "+gist(e)] = s
		}
		s.Events = append(s.Events, *e)
		s.last = e.T
	}
	scenes = slices.Concat(scenes, gone(m), spared(m), spells(run))
	// A step stands before what happens at its very moment; scenes were begun in order of their first event.
	slices.SortStableFunc(scenes, func(a, b *Scene) int {
		if d := int(a.T - b.T); d != 0 || a.Act == b.Act {
			return d
		}
		if a.Act {
			return -1
		}
		return 1
	})
	var told []Scene
	for _, s := range scenes {
		if s.Act {
			s.Lines = append(s.Lines, effects(s)...)
		} else {
			s.Lines = append(s.topic.tell(m, s), repeats(s)...)
		}
		if len(s.Lines) > 0 {
			told = append(told, *s)
		}
	}
	return told
}

// loopWindow is how long after something happened it happens again rather than anew. chosen: longer than the longest
// back-off, five minutes, would hide news; crash loops mostly come within this.
const loopWindow = 3 * time.Minute

// loops reports whether an event says again what the scene said before, too late to be part of it.
func (s *Scene) loops(e *sim.Event, window time.Duration) bool {
	since := e.T.Sub(s.last)
	return since > window && since < loopWindow
}

// gist is what an event says, without its numbers: the same for each turn of a crash loop.
func gist(e *sim.Event) string {
	return e.Object + " " + e.Reason + " " + strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, e.Message)
}

// acted reports whether the outside world did something between a scene and a time.
func acted(scenes []*Scene, told *Scene, t time.Duration) bool {
	return slices.ContainsFunc(scenes, func(s *Scene) bool { return s.Act && s.T > told.T && s.T <= t })
}

// repeats tells when a scene came again.
func repeats(s *Scene) []Line {
	const most = 4
	var times []string
	for _, t := range s.again {
		if text := clock(t); !slices.Contains(times, text) {
			times = append(times, text)
		}
	}
	switch n := len(times); {
	case n == 0:
		return nil
	case n > most:
		return []Line{{Explain, fmt.Sprintf("and %d times more until %s", n, times[n-1])}}
	}
	return []Line{{Explain, "and again at " + list(times, most)}}
}

// actOf returns the step that was typed at that time, nil if none was.
func actOf(scenes []*Scene, t time.Duration) *Scene {
	for i := len(scenes) - 1; i >= 0; i-- {
		if s := scenes[i]; s.Act && s.T <= t && t-s.T < time.Second {
			return s
		}
	}
	return nil
}

// effects tells what a command did to whom, where the command does not name them: fault crash etcd/leader.
func effects(act *Scene) []Line {
	typed := ""
	for _, line := range act.Lines {
		typed += line.Text + " "
	}
	words := strings.FieldsFunc(typed, func(r rune) bool { return r == ' ' || r == ',' })
	var lines []Line
	for i := range act.Events {
		e := &act.Events[i]
		said := Line{Act, sentence(e)} // a partition says the same of every machine
		if e.Message != "" && kind(e.Object) == "machine" && !slices.Contains(words, short(e.Object)) &&
			!slices.Contains(lines, said) {
			lines = append(lines, said)
		}
	}
	return lines
}

// actScene tells a step: the command as typed, what it printed, and whether that was wanted.
func actScene(step Step) *Scene {
	s := &Scene{T: step.T, Act: true}
	for _, line := range strings.Split(strings.TrimSpace(step.Command), "\n") {
		s.Lines = append(s.Lines, Line{Act, strings.TrimSpace(line)})
	}
	const most = 4
	for _, output := range []string{step.Stdout, step.Stderr} {
		lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
		for i, line := range lines {
			if i == most && len(lines) > most+1 {
				s.Lines = append(s.Lines, Line{Explain, "... " + count(len(lines)-most, "more line")})
				break
			}
			if line != "" {
				s.Lines = append(s.Lines, Line{Explain, line})
			}
		}
	}
	if step.Failed != "" {
		s.Lines = append(s.Lines, Line{Loss, step.Failed})
	}
	return s
}

// find returns the first event of the scene that fits, nil if none does.
func (s *Scene) find(fits func(*sim.Event) bool) *sim.Event {
	for i := range s.Events {
		if fits(&s.Events[i]) {
			return &s.Events[i]
		}
	}
	return nil
}

// waited returns the first event of the scene that ends a wait.
func (s *Scene) waited() *sim.Event {
	return s.find(func(e *sim.Event) bool { return e.Setting != "" })
}
