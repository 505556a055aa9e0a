package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// spellTopic is how spells are told; their scenes have their lines already.
var spellTopic = topic{"traffic", 0, nil, func(_ *memory, s *Scene) []Line { return s.Lines }}

// shortSpell is how long a spell is told in one place. chosen: nothing else happens meanwhile that a reader would want
// to see between its beginning and its end.
const shortSpell = 3 * time.Second

// spells makes scenes of the times when requests of probes failed: where one begins, and where it ends.
func spells(run *Run) []*Scene {
	var scenes []*Scene
	add := func(t *Traffic, at time.Duration, lines ...Line) {
		scenes = append(scenes, &Scene{T: at, Who: t.Name, topic: &spellTopic, Lines: lines})
	}
	for i := range run.Traffic {
		t := &run.Traffic[i]
		for j := range t.Spells {
			s := &t.Spells[j]
			length := s.To - s.From
			switch {
			case s.Open:
				add(t, s.From, Line{Loss, s.subject() + " from here to the end: " + s.reasons()},
					Line{Explain, s.tally() + " failed"})
			case s.Failed == 1:
				add(t, s.From, Line{Loss, "a request fails: " + s.reasons()})
			case length < shortSpell:
				add(t, s.From, Line{Loss, fmt.Sprintf("%s failed within %s: %s", s.tally(), span(length), s.reasons())})
			default:
				add(t, s.From, Line{Loss, s.subject() + " from here on: " + s.reasons()})
				add(t, s.To, s.end(length)...)
			}
		}
	}
	return scenes
}

// end tells that requests are answered again.
func (s *Spell) end(length time.Duration) []Line {
	if s.Failed == s.Sent {
		return []Line{{Repair, fmt.Sprintf("answers again, after %s and %s failed requests", span(length),
			thousands(int64(s.Failed)))}}
	}
	return []Line{
		{Repair, fmt.Sprintf("every request is answered again; %s failed within %s", s.tally(), span(length))},
		{Explain, "the longest time without a success was " + span(s.Gap)},
	}
}

// tally is how many failed: 131 of 498.
func (s *Spell) tally() string {
	if s.Failed == s.Sent {
		return "all " + thousands(int64(s.Sent)) + " requests"
	}
	return fmt.Sprintf("%s of %s requests", thousands(int64(s.Failed)), thousands(int64(s.Sent)))
}

// subject says which part of the requests fails.
func (s *Spell) subject() string {
	switch each := (s.Sent + s.Failed/2) / s.Failed; { // rounded
	case s.Failed == s.Sent:
		return "no request succeeds"
	case each < 2:
		return "most requests fail"
	case each > 20:
		return "some requests fail"
	default:
		return fmt.Sprintf("1 request in %d fails", each)
	}
}

// reasons says how requests fail, the most frequent way first, and where: connection refused (worker-1..3).
func (s *Spell) reasons() string {
	const most = 2
	type reason struct {
		what  string
		where []string
		times int
	}
	var reasons []*reason
	for _, f := range s.Failures {
		i := slices.IndexFunc(reasons, func(r *reason) bool { return r.what == f.What })
		if i < 0 {
			i = len(reasons)
			reasons = append(reasons, &reason{what: f.What})
		}
		r := reasons[i]
		if r.times += f.Count; f.Machine != "" {
			r.where = append(r.where, f.Machine)
		}
	}
	slices.SortStableFunc(reasons, func(a, b *reason) int { return cmp.Compare(b.times, a.times) })
	var said []string
	for _, r := range reasons {
		if len(r.where) > 0 {
			slices.SortFunc(r.where, byNumber)
			r.what += " (" + ranges(r.where) + ")"
		}
		said = append(said, r.what)
	}
	return list(said, most)
}

// Totals says what a probe has met in all.
func (t *Traffic) Totals() string {
	text := thousands(t.OK) + " requests answered, "
	if t.Failed == 0 {
		return text + "none failed"
	}
	return text + fmt.Sprintf("%s failed; longest outage %s", thousands(t.Failed), span(t.LongestOutage))
}
