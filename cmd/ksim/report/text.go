package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ksim/sim"
)

// Text writes the story of a run.
func Text(w io.Writer, run *Run, style Style) {
	scenes := Tell(run)
	c := newColumns(w, style, scenes)
	title(w, c, run)
	for _, line := range wrap(fmt.Sprintf("%s, seed %d", run.Cluster, run.Seed), style.Width) {
		fmt.Fprintln(w, style.paint(Explain, line))
	}
	fmt.Fprintln(w)
	for i, line := range opening(run) {
		if i == 0 {
			c.row(Plain, clock(0), "ready", line)
			continue
		}
		c.row(Plain, "", "", line)
	}
	after := true // an empty line stands around what the outside world does
	for _, s := range scenes {
		if s.Act || after {
			fmt.Fprintln(w)
		}
		after = s.Act
		c.scene(&s)
	}
	fmt.Fprintln(w)
	traffic(w, style, run)
	expectations(w, style, run)
	if strings.TrimSpace(run.Lesson) != "" {
		writeMarkdown(w, style, run.Lesson, "  ")
		fmt.Fprintln(w)
	}
	verdict(w, style, run)
}

// title prints the name over the first two columns and the title over the third, or one below the other.
func title(w io.Writer, c *columns, run *Run) {
	name := pad(run.Name, c.what()-2, false) + "  "
	if room := c.Width - utf8.RuneCountInString(name); utf8.RuneCountInString(run.Title) <= room {
		gap := strings.Repeat(" ", utf8.RuneCountInString(name)-utf8.RuneCountInString(run.Name))
		fmt.Fprintln(w, c.paint(Strong, run.Name)+strings.TrimRight(gap+run.Title, " "))
		return
	}
	fmt.Fprintln(w, c.paint(Strong, run.Name))
	for _, line := range wrap(run.Title, c.Width) {
		fmt.Fprintln(w, line)
	}
}

func newColumns(w io.Writer, style Style, scenes []Scene) *columns {
	c := &columns{Style: style, w: w, when: 4, who: 8}
	const widest = 18 // chosen: longer names push their own line only
	for _, s := range scenes {
		c.when = max(c.when, len(clock(s.T)))
		if n := utf8.RuneCountInString(s.Who); n <= widest {
			c.who = max(c.who, n)
		}
	}
	return c
}

func (c *columns) scene(s *Scene) {
	if s.Act {
		for i, line := range s.Lines {
			if i == 0 {
				c.act(clock(s.T), line.Text)
				continue
			}
			left := strings.Repeat(" ", 2+c.when+2)
			for _, part := range wrap(line.Text, max(c.Width-len(left), 24)) {
				fmt.Fprintln(c.w, left+c.paint(line.Tone, part))
			}
		}
		return
	}
	for i, line := range s.Lines {
		if i == 0 {
			c.row(line.Tone, clock(s.T), s.Who, line.Text)
			continue
		}
		c.row(line.Tone, "", "", line.Text)
	}
}

// opening says what the cluster is like at the start.
func opening(run *Run) []string {
	before := run.Before
	if before == nil {
		return []string{"the cluster is up"}
	}
	first := "etcd led by " + orNobody(before.EtcdLeader)
	for _, h := range before.Holders {
		first += fmt.Sprintf(", %s on %s", nickname(h.Component), orNobody(h.Machine))
	}
	lines := []string{first}
	const most = 6
	masters := map[string]bool{} // nodes with a static pod of the control plane
	for _, p := range before.Pods {
		if kind(p.Owner) == "node" {
			masters[p.Node] = true
		}
	}
	var workloads []string
	byWorkload := map[string][]PodState{}
	for _, p := range before.Pods {
		if kind(p.Owner) == "node" || namespace(p.Name) == "kube-system" {
			continue
		}
		if byWorkload[p.Workload] == nil {
			workloads = append(workloads, p.Workload)
		}
		byWorkload[p.Workload] = append(byWorkload[p.Workload], p)
	}
	rank := func(name string) int { // what has replicas, what is alone, what is everywhere
		p := byWorkload[name][0]
		return slices.Index([]bool{!p.bare() && !p.staysOnNode(), p.bare(), p.staysOnNode()}, true)
	}
	slices.SortStableFunc(workloads, func(a, b string) int { return rank(a) - rank(b) })
	for i, name := range workloads {
		if i == most && len(workloads) > most+1 {
			lines = append(lines, fmt.Sprintf("and %s", count(len(workloads)-most, "more workload")))
			break
		}
		lines = append(lines, placement(name, byWorkload[name], len(before.Nodes)-len(masters)))
	}
	return lines
}

// placement says where the pods of a workload are: web 4/4 on worker-1..4.
func placement(name string, pods []PodState, workers int) string {
	ready := 0
	var on []string
	for _, p := range pods {
		if p.Ready {
			ready++
		}
		if p.Node != "" && !slices.Contains(on, p.Node) {
			on = append(on, p.Node)
		}
	}
	slices.SortFunc(on, byNumber)
	where := "on no node"
	if len(on) > 0 {
		where = "on " + ranges(on)
	}
	if len(pods) == 1 && pods[0].bare() {
		if ready == 0 {
			return name + " (not ready) " + where
		}
		return name + " " + where
	}
	if kind(pods[0].Owner) == "daemonset" && len(on) > 2 && len(on) == workers {
		where = "on every worker"
	}
	return fmt.Sprintf("%s %d/%d %s", name, ready, len(pods), where)
}

func orNobody(name string) string {
	if name == "" {
		return "nobody"
	}
	return name
}

// traffic says what each probe has met in all.
func traffic(w io.Writer, style Style, run *Run) {
	if len(run.Traffic) == 0 {
		return
	}
	widest := 0
	for i := range run.Traffic {
		widest = max(widest, utf8.RuneCountInString(run.Traffic[i].Name))
	}
	column := min(widest, style.Width/3)
	for i := range run.Traffic {
		t := &run.Traffic[i]
		for j, line := range wrap(t.Totals(), max(style.Width-column-4, 24)) {
			name := t.Name
			if j > 0 {
				name = ""
			}
			fmt.Fprintf(w, "  %s  %s\n", pad(name, column, false), style.paint(Explain, line))
		}
	}
	fmt.Fprintln(w)
}

func expectations(w io.Writer, style Style, run *Run) {
	if len(run.Expectations) == 0 {
		return
	}
	widest := 0
	for _, e := range run.Expectations {
		widest = max(widest, utf8.RuneCountInString(e.Name))
	}
	column := min(widest, max(style.Width*3/5, 30))
	for _, e := range run.Expectations {
		mark, tone := "✓", Repair
		switch {
		case e.Open:
			mark, tone = "·", Explain
		case !e.Passed:
			mark, tone = "✗", Loss
		}
		detail := e.Detail
		// Name and evidence share a line where they fit; else the evidence goes below.
		if utf8.RuneCountInString(e.Name) <= column && 4+column+2+utf8.RuneCountInString(detail) <= style.Width {
			fmt.Fprintf(w, "  %s %s  %s\n", style.paint(tone, mark), pad(e.Name, column, false), style.paint(Explain, detail))
			continue
		}
		for i, line := range wrap(e.Name, style.Width-4) {
			if i > 0 {
				mark = " "
			}
			fmt.Fprintf(w, "  %s %s\n", style.paint(tone, mark), line)
		}
		for _, line := range wrap(detail, style.Width-6) {
			if line != "" {
				fmt.Fprintf(w, "      %s\n", style.paint(Explain, line))
			}
		}
	}
	fmt.Fprintln(w)
}

// verdict writes the last lines: what came of it, how fast it was, what to look at next.
func verdict(w io.Writer, style Style, run *Run) {
	word, tone := "pass", Repair
	if !run.Passed {
		word, tone = "fail", Loss
	}
	speed := ""
	if run.Wall > 0 {
		speed = fmt.Sprintf(", %s times as fast as life", thousands(significant(int64(run.Duration/run.Wall))))
	}
	text := fmt.Sprintf("%s of cluster in %.2f s%s", span(run.Duration), run.Wall.Seconds(), speed)
	for i, line := range wrap(text, max(style.Width-8, 24)) {
		if i > 0 {
			word = ""
		}
		fmt.Fprintf(w, "%s%s\n", style.paint(tone, pad(word, 8, false)), line)
	}
	for _, e := range run.Expectations {
		if !e.Passed && !e.Open {
			for _, line := range wrap(e.Name+": "+e.Detail, max(style.Width-8, 24)) {
				fmt.Fprintf(w, "        %s\n", style.paint(Loss, line))
			}
			break
		}
	}
	for _, h := range Hints(run) {
		line := fmt.Sprintf("        %-18s %s", h.Question, h.Command)
		if utf8.RuneCountInString(line) > style.Width { // a command is for copying: never broken
			line = fmt.Sprintf("        %s\n        %s", h.Question, h.Command)
		}
		fmt.Fprintln(w, line)
	}
}

// significant keeps two digits of a figure: nobody cares for 8,123 times as fast.
func significant(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}

// Hint is a question that a reader may have now, and the command that answers it.
type Hint struct{ Question, Command string }

// Hints names commands that look closer at the run.
func Hints(run *Run) []Hint {
	seed := ""
	if run.Seed != 1 {
		seed = fmt.Sprintf(" --seed %d", run.Seed)
	}
	ask := func(question, object string) []Hint {
		return []Hint{{question, fmt.Sprintf("ksim why %s %s%s", cmp.Or(run.Source, run.Name), object, seed)}}
	}
	for _, fits := range []struct {
		question string
		event    func(*sim.Event) bool
	}{
		{"why did it move?", func(e *sim.Event) bool {
			return e.Reason == "TaintManagerEviction" && !cancels(e) && !isBare(run, e.Object)
		}},
		{"why was it deleted?", func(e *sim.Event) bool { return e.Reason == "TaintManagerEviction" && !cancels(e) }},
		{"why NotReady?", func(e *sim.Event) bool { return e.Reason == "NodeNotReady" && kind(e.Object) == "node" }},
		{"why did that happen?", func(e *sim.Event) bool {
			return e.Level == sim.Story && e.Cause != 0 && e.Object != "" && kind(e.Object) != "scenario"
		}},
	} {
		for i := range run.Trace {
			if e := &run.Trace[i]; e.T >= run.Start && fits.event(e) {
				return ask(fits.question, e.Object)
			}
		}
	}
	return nil
}

func isBare(run *Run, pod string) bool {
	if run.Before == nil {
		return false
	}
	return slices.ContainsFunc(run.Before.Pods, func(p PodState) bool { return p.Name == pod && p.bare() })
}

// WriteEvents writes every event of the trace, one a line: time, machine and component, reason, object, message.
func WriteEvents(w io.Writer, run *Run, style Style) {
	for i := range run.Trace {
		e := &run.Trace[i]
		t := e.T.Sub(run.Start)
		where := strings.Trim(e.Machine+"/"+e.Component, "/")
		line := fmt.Sprintf("%10s %6d <- %-6d %-34s %-22s %s", milliseconds(t), e.Seq, e.Cause, where, e.Reason, e.Object)
		if e.Message != "" {
			line += "  " + e.Message
		}
		if e.Setting != "" {
			line += fmt.Sprintf("  [%s: %s since %d]", e.Setting, spanText(e.Wait), e.Since)
		}
		tone := Explain
		if e.Level >= sim.Story {
			tone = toneOf(e)
		}
		fmt.Fprintln(w, style.paint(tone, strings.TrimRight(line, " ")))
	}
}

func milliseconds(t time.Duration) string {
	if t < 0 {
		return "-" + milliseconds(-t)
	}
	return fmt.Sprintf("%s.%03d", clock(t), t/time.Millisecond%1000)
}
