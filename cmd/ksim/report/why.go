package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ksim/sim"
)

// Link is one event of a chain of causes. Times are since the start.
type Link struct {
	Event sim.Event
	T     time.Duration
	// After is how long after this event the one above it came: 0 for the first.
	After time.Duration
	// Aside says that the event is not on the chain of causes: a wait of the one above began with it.
	Aside bool
	// Waited is the wait that began here and ended with the event above, with the name of the setting; "" for none.
	Waited  time.Duration
	Setting string

	seq sim.EventID // on the chain; Event may be one that tells the same with more words
}

// Why walks from an event to its cause, and on to the act of the outside world (or the start) that all of it goes back
// to. Steps between that a reader would not miss are left out unless all is set.
func Why(run *Run, id sim.EventID, all bool) []Link {
	chain := causes(run.Trace, id)
	var links []Link
	for i, e := range chain {
		told := e
		if !all {
			told = teller(run.Trace, e)
		}
		first, last := i == 0, i == len(chain)-1
		if all || first || last || told.Level >= sim.Story || opensWait(chain[:i], e.Seq) || isTurn(chain, i) {
			links = append(links, Link{Event: *told, T: told.T.Sub(run.Start), seq: e.Seq})
		}
	}
	links = slices.CompactFunc(links, func(a, b Link) bool { return a.Event.Seq == b.Event.Seq })
	if n := len(links); n > 1 && !all && links[n-1].Event.Reason == "Step" && StepOf(run, links[n-2].Event) != "" {
		links = links[:n-1] // the fault above names its step
	}
	return withWaits(run, links)
}

// teller returns the event that tells best what a quiet write was: one of the story, about the same object, by the same
// component at the same time, that the write caused or that has the write's cause.
func teller(trace []sim.Event, write *sim.Event) *sim.Event {
	if write.Level >= sim.Story {
		return write
	}
	const near = sim.Time(200 * time.Millisecond)
	best := write
	from := max(int(write.Seq)-200, 0) // chosen: what is said of a write is said close to it
	for i := from; i < min(int(write.Seq)+200, len(trace)); i++ {
		e := &trace[i]
		apart := max(e.T-write.T, write.T-e.T)
		if e.Level < sim.Story || e.Object != write.Object || e.Component != write.Component || apart > near {
			continue
		}
		related := e.Cause == write.Seq || e.Cause == write.Cause
		if related && (best == write || best.Setting == "" && e.Setting != "") {
			best = e
		}
	}
	return best
}

// causes returns the event and its causes, the outside world last.
func causes(trace []sim.Event, id sim.EventID) []*sim.Event {
	var chain []*sim.Event
	for id > 0 && int(id) <= len(trace) {
		e := &trace[id-1]
		chain = append(chain, e)
		if e.Cause >= id {
			break // a cause comes before its effect
		}
		id = e.Cause
	}
	return chain
}

// opensWait reports whether one of the later events says that its wait began with that one.
func opensWait(later []*sim.Event, id sim.EventID) bool {
	return slices.ContainsFunc(later, func(e *sim.Event) bool { return e.Since == id })
}

// isTurn reports whether the chain comes here to another object or after a wait: a quiet write by the same component
// about the same thing, at once, is none.
func isTurn(chain []*sim.Event, i int) bool {
	later, e := chain[i-1], chain[i]
	return later.T.Sub(e.T) > 500*time.Millisecond && e.Message != ""
}

// withWaits puts in the events with which waits began, and says of each link how long it was until the one above.
func withWaits(run *Run, links []Link) []Link {
	var out []Link
	for i, link := range links {
		if i > 0 {
			link.After = links[i-1].T - link.T
		}
		out = append(out, link)
		e := link.Event
		if e.Since == 0 || int(e.Since) > len(run.Trace) {
			continue
		}
		if i+1 < len(links) && (links[i+1].seq == e.Since || links[i+1].Event.Seq == e.Since) {
			links[i+1].Waited, links[i+1].Setting = e.Wait, e.Setting
			continue
		}
		since := run.Trace[e.Since-1]
		if link.seq == since.Seq {
			continue
		}
		out = append(out, Link{Event: since, T: since.T.Sub(run.Start), After: e.T.Sub(since.T), Aside: true,
			Waited: e.Wait, Setting: e.Setting})
	}
	return out
}

// WhyText prints a chain of causes, the last event first.
func WhyText(w io.Writer, run *Run, links []Link, style Style) {
	when := 6
	for _, l := range links {
		when = max(when, len(clockTenths(l.T)))
	}
	for i, l := range links {
		after := ""
		if i > 0 && l.After > 0 && !links[i-1].Aside {
			after = fmt.Sprintf("+ %5.1f s", l.After.Seconds())
		}
		prefix := fmt.Sprintf(" %s   %-9s   ", pad(clockTenths(l.T), when, true), after)
		text := explain(&l.Event)
		if l.Setting != "" {
			text += fmt.Sprintf(" (%s: %s)", l.Setting, span(l.Waited))
		}
		tone := toneOf(&l.Event)
		if l.Aside {
			tone = Explain
		}
		for _, line := range linkLines(style, prefix, Line{tone, text}, StepOf(run, l.Event)) {
			fmt.Fprintln(w, line)
		}
	}
}

// linkLines lays out one link behind its prefix; the command that did it stands at the end where it fits, else below.
func linkLines(style Style, prefix string, what Line, step string) []string {
	indent := utf8.RuneCountInString(prefix)
	blank := strings.Repeat(" ", indent)
	var lines []string
	room := 0
	for _, line := range wrap(what.Text, max(style.Width-indent, 24)) {
		room = style.Width - indent - utf8.RuneCountInString(line)
		lines = append(lines, prefix+style.paint(what.Tone, line))
		prefix = blank
	}
	if step == "" {
		return lines
	}
	step = "▶ " + step
	if utf8.RuneCountInString(step)+3 <= room {
		lines[len(lines)-1] += "   " + style.paint(Act, step)
		return lines
	}
	return append(lines, blank+style.paint(Act, step))
}

// explain says an event for a reader of a chain: what, by whom, where.
func explain(e *sim.Event) string {
	if text, ok := explainWrite(e); ok {
		return text
	}
	text := shortTaint(sentence(e))
	if e.Message == "" && e.Object != "" {
		text = spaced(e.Reason) + " " + e.Object
	}
	by := e.Component
	if by != "" && e.Machine != "" && by != e.Machine {
		by += " on " + e.Machine
	}
	if by == "" || e.Level == sim.Fault || strings.Contains(text, e.Component) {
		return text
	}
	return text + ", by " + by
}

// explainWrite says a quiet write to the API: its component is who asked for it, its machine that of the API server.
func explainWrite(e *sim.Event) (string, bool) {
	verbs := map[string]string{"Created": "created", "Updated": "updated", "Patched": "updated", "Deleted": "deleted"}
	verb, ok := verbs[e.Reason]
	if !ok || e.Level >= sim.Story {
		return "", false
	}
	switch {
	case strings.HasPrefix(e.Object, "lease/kube-node-lease/"):
		return "last heartbeat of " + short(e.Object) + " that reached the API: its lease renewed", true
	case kind(e.Object) == "lease":
		return fmt.Sprintf("the lock %s renewed by %s", short(e.Object), e.Component), true
	}
	what := e.Object
	if of, ok := strings.CutPrefix(strings.TrimSuffix(e.Message, "."), "Its "); ok {
		what = of + " of " + what
	}
	return fmt.Sprintf("%s %s by %s", what, verb, e.Component), true
}

// StepOf returns the command that brought about a fault, "" for other events.
func StepOf(run *Run, e sim.Event) string {
	if e.Level != sim.Fault {
		return ""
	}
	t := e.T.Sub(run.Start)
	best := ""
	for _, s := range run.Steps {
		if !s.Skipped && s.T <= t && t-s.T < time.Second {
			best = strings.TrimSpace(s.Command)
		}
	}
	first, _, _ := strings.Cut(best, "\n")
	return first
}

// Subjects lists the objects that a run's trace speaks of, sorted.
func Subjects(run *Run) []string {
	seen := map[string]bool{}
	var all []string
	for i := range run.Trace {
		if name := run.Trace[i].Object; name != "" && !seen[name] && kind(name) != "event" && kind(name) != "step" {
			seen[name] = true
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// FindSubject finds the objects that a person means: pod/default/web-1, pod/web-1 (any namespace), web-1, or a
// beginning of one of these. An exact name wins; several answers mean that the name is not clear.
func FindSubject(name string, subjects []string) []string {
	forms := func(object string) []string {
		loose := []string{object, short(object), kind(object) + "/" + short(object)}
		if ns := namespace(object); ns != "" {
			loose = append(loose, ns+"/"+short(object))
		}
		return loose
	}
	exact, begins := []string(nil), []string(nil)
	for _, object := range subjects {
		switch {
		case object == name:
			return []string{object}
		case slices.Contains(forms(object), name):
			exact = append(exact, object)
		case slices.ContainsFunc(forms(object), func(f string) bool { return strings.HasPrefix(f, name) }):
			begins = append(begins, object)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return begins
}

// EventOf returns the event of an object that a reader asks about: the last that the story tells, else the last at all,
// up to a time unless that is negative. false: there is none.
func EventOf(run *Run, object string, at time.Duration) (sim.Event, bool) {
	var best *sim.Event
	for i := range run.Trace {
		e := &run.Trace[i]
		if e.Object != object || at >= 0 && e.T.Sub(run.Start) > at {
			continue
		}
		if best == nil || weight(e) >= weight(best) {
			best = e
		}
	}
	if best == nil {
		return sim.Event{}, false
	}
	return *best, true
}

// weight says how much an event is worth asking about.
func weight(e *sim.Event) int {
	switch {
	case e.Level >= sim.Story:
		return 2
	case e.Message != "":
		return 1
	}
	return 0
}

// MostTold chooses among objects of one name the one that the story speaks of most: worker-1 is a machine, a Node, a
// lease. false: none stands out.
func MostTold(run *Run, objects []string) (string, bool) {
	for _, object := range objects {
		if short(object) != short(objects[0]) {
			return "", false
		}
	}
	told := map[string]int{}
	for i := range run.Trace {
		if e := &run.Trace[i]; e.T >= run.Start && e.Level >= sim.Story {
			told[e.Object]++
		}
	}
	best, clear := "", false
	for _, object := range objects {
		switch n := told[object]; {
		case n > told[best]:
			best, clear = object, true
		case n == told[best]:
			clear = false
		}
	}
	return best, clear
}
