package report

import (
	"fmt"
	"hash/fnv"
	"html"
	"strings"
	"time"
)

// The measures of the drawing, in its own units. chosen: a name, a pod's row and a label stay readable on a page.
const (
	drawWidth  = 1000
	nameWidth  = 110
	rightSpace = 14
	topSpace   = 34
	laneHead   = 18
	podHeight  = 9
	laneGap    = 10
	legend     = 26
	probeLane  = 22
)

// drawing writes a timeline as SVG.
type drawing struct {
	strings.Builder
	tl *timeline
	y  map[string]int // of each pod's bar, for the lines between a pod and the one that replaces it
}

func drawSVG(tl *timeline) string {
	d := &drawing{tl: tl, y: map[string]int{}}
	height := topSpace
	for _, l := range tl.lanes {
		height += laneHead + l.rows*podHeight + laneGap
	}
	height += probeLane * len(tl.traffic)
	fmt.Fprintf(d, `<svg viewBox="0 0 %d %d" role="img" aria-label="timeline" xmlns="http://www.w3.org/2000/svg">`,
		drawWidth, height+legend)
	d.WriteString(`<defs><pattern id="ended" width="4" height="4" patternUnits="userSpaceOnUse" ` +
		`patternTransform="rotate(45)"><rect width="4" height="4" class="paper"/><rect width="2" height="4" class="hatch"/>` +
		`</pattern></defs>`)
	d.axis(height)
	y := topSpace
	for _, l := range tl.lanes {
		d.lane(l, y)
		y += laneHead + l.rows*podHeight + laneGap
	}
	for i := range tl.traffic {
		d.probe(&tl.traffic[i], y)
		y += probeLane
	}
	d.moves()
	d.acts(height)
	d.key(height + 16)
	d.WriteString("</svg>")
	return d.String()
}

// x returns where a time stands.
func (d *drawing) x(t time.Duration) int {
	if d.tl.length <= 0 {
		return nameWidth
	}
	return nameWidth + int(int64(t)*(drawWidth-nameWidth-rightSpace)/int64(d.tl.length))
}

func (d *drawing) axis(height int) {
	step := tick(d.tl.length)
	for t := time.Duration(0); t <= d.tl.length; t += step {
		fmt.Fprintf(d, `<line class="grid" x1="%d" x2="%d" y1="%d" y2="%d"/>`, d.x(t), d.x(t), topSpace-8, height)
		fmt.Fprintf(d, `<text class="axis" x="%d" y="%d">%s</text>`, d.x(t), topSpace-12, clock(t))
	}
}

// tick chooses the distance of the axis' marks: at most about twelve of them.
func tick(length time.Duration) time.Duration {
	for _, step := range []time.Duration{time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
		2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute} {
		if length <= 13*step {
			return step
		}
	}
	return max(length/10, time.Hour).Truncate(time.Minute)
}

func (d *drawing) bar(class string, s stretch, y, height int, title string) {
	fmt.Fprintf(d, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"><title>%s</title></rect>`, class, d.x(s.from), y,
		max(d.x(s.to)-d.x(s.from), 1), height, html.EscapeString(title))
}

func (d *drawing) lane(l *lane, y int) {
	height := laneHead - 4 + l.rows*podHeight
	fmt.Fprintf(d, `<text class="name" x="4" y="%d">%s</text>`, y+11, html.EscapeString(l.name))
	if l.zone != "" {
		fmt.Fprintf(d, `<text class="zone" x="%d" y="%d">%s</text>`, nameWidth-8, y+11, html.EscapeString(l.zone))
	}
	d.bar("up", stretch{0, d.tl.length}, y, height, l.name+" has power")
	for _, s := range l.notReady {
		d.bar("notready", s, y, height, fmt.Sprintf("%s: NotReady from %s to %s", l.name, clock(s.from), clock(s.to)))
	}
	for _, s := range l.down {
		d.bar("down", s, y, height, fmt.Sprintf("%s: no power from %s to %s", l.name, clock(s.from), clock(s.to)))
	}
	for i, lead := range l.leads {
		title := fmt.Sprintf("leads %s from %s to %s", lead.what, clock(lead.from), clock(lead.to))
		d.bar("leads", lead.stretch, y+1, 3, title)
		if x := d.x(lead.from); d.x(lead.to)-x > 8*len(lead.what) || i == 0 {
			fmt.Fprintf(d, `<text class="lead" x="%d" y="%d">%s</text>`, x+3+80*(i%4), y+12, html.EscapeString("★ "+lead.what))
		}
	}
	for _, p := range l.pods {
		d.pod(p, y+laneHead-4+p.row*podHeight)
	}
}

// probe draws when requests were answered, and when all or a part of them failed.
func (d *drawing) probe(t *Traffic, y int) {
	const height = probeLane - 8
	fmt.Fprintf(d, `<text class="name" x="4" y="%d">%s</text>`, y+11, html.EscapeString(t.Name))
	d.bar("answered", stretch{0, d.tl.length}, y, height, t.Name+": "+t.Totals())
	for i := range t.Spells {
		s := &t.Spells[i]
		class := "partly"
		if s.Failed == s.Sent {
			class = "lost"
		}
		d.bar(class, stretch{s.From, s.To}, y, height, fmt.Sprintf("%s: from %s to %s %s failed: %s", t.Name, clock(s.From),
			clock(s.To), s.tally(), s.reasons()))
	}
}

func (d *drawing) pod(p podBar, y int) {
	d.y[p.name] = y + podHeight/2
	title := fmt.Sprintf("%s from %s to %s", p.name, clock(p.from), clock(p.to))
	class := fmt.Sprintf("pod w%d", hue(p.workload))
	switch {
	case p.marked < p.to:
		d.bar(class, stretch{p.from, p.marked}, y, podHeight-2, title)
		d.bar("pod ended", stretch{p.marked, p.to}, y, podHeight-2, title+", marked for deletion at "+clock(p.marked))
	default:
		d.bar(class, stretch{p.from, p.to}, y, podHeight-2, title)
	}
}

// moves draws a line from each pod that was marked to the one that took its place.
func (d *drawing) moves() {
	for _, l := range d.tl.lanes {
		for _, p := range l.pods {
			from, ok := d.y[p.replaces]
			if p.replaces != "" && ok {
				fmt.Fprintf(d, `<path class="move" d="M%d %d L%d %d"/>`, d.x(p.from), from, d.x(p.from), d.y[p.name])
				fmt.Fprintf(d, `<circle class="moved" cx="%d" cy="%d" r="2.5"/>`, d.x(p.from), d.y[p.name])
			}
		}
	}
}

func (d *drawing) acts(height int) {
	for i, a := range d.tl.acts {
		fmt.Fprintf(d, `<line class="act" x1="%d" x2="%d" y1="%d" y2="%d"/>`, d.x(a.t), d.x(a.t), topSpace-6, height)
		fmt.Fprintf(d, `<text class="act" x="%d" y="%d"><title>%s</title>▶ %d</text>`, d.x(a.t), topSpace-24,
			html.EscapeString(clock(a.t)+" "+a.text), i+1)
	}
}

func (d *drawing) key(y int) {
	x := nameWidth
	keys := [][2]string{{"up", "has power"}, {"down", "no power"}, {"notready", "NotReady"}, {"pod w0", "a pod"},
		{"pod ended", "marked for deletion"}, {"leads", "★ leads"}}
	if len(d.tl.traffic) > 0 {
		keys = append(keys, [2]string{"lost", "requests fail"})
	}
	for _, k := range keys {
		fmt.Fprintf(d, `<rect class="%s" x="%d" y="%d" width="18" height="8"/>`, k[0], x, y-8)
		fmt.Fprintf(d, `<text class="key" x="%d" y="%d">%s</text>`, x+23, y, k[1])
		x += 55 + 5*len(k[1])
	}
}

// hues is how many colours workloads are told apart by.
const hues = 8

func hue(workload string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(workload)) // cannot fail: a hash takes everything
	return h.Sum32() % hues
}
