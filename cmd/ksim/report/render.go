package report

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// Tone says how a line sounds; colour shows it, the words must do without.
type Tone uint8

// The tones.
const (
	Plain   Tone = iota
	Loss         // something stopped being there
	Repair       // something is there again
	Explain      // why, which setting, what did not happen
	Act          // the outside world did it
	Strong       // titles and verdicts
)

// Style is what the reader's screen can show.
type Style struct {
	Width int // columns; at least 40 is assumed
	Color bool
}

// paint wraps text in the colour of a tone. Text is laid out before it is painted.
func (s Style) paint(tone Tone, text string) string {
	codes := [...]string{Plain: "", Loss: "31", Repair: "32", Explain: "2", Act: "1;33", Strong: "1"}
	if !s.Color || codes[tone] == "" || text == "" {
		return text
	}
	return "\x1b[" + codes[tone] + "m" + text + "\x1b[0m"
}

// columns lays out rows of when, who and what.
type columns struct {
	Style
	w         io.Writer
	when, who int // widths
}

// what returns where the third column begins.
func (c *columns) what() int { return 2 + c.when + 2 + c.who + 2 }

// row prints one line of the story; when and who may be empty. A text too long wraps under the third column.
func (c *columns) row(tone Tone, when, who, text string) {
	left := c.what()
	room := c.Width - left
	if room < 32 { // a narrow screen: the third column goes below the other two
		left, room = 4, max(c.Width-4, 24)
		if when != "" || who != "" {
			fmt.Fprintf(c.w, "  %s  %s\n", pad(when, c.when, true), c.paint(head(tone), who))
			when, who = "", ""
		}
	}
	for i, line := range wrap(text, room) {
		if i == 0 && (when != "" || who != "") {
			prefix := fmt.Sprintf("  %s  ", pad(when, c.when, true))
			fmt.Fprintf(c.w, "%s%s  %s\n", prefix, c.paint(head(tone), pad(who, c.who, false)), c.paint(tone, line))
			continue
		}
		fmt.Fprintf(c.w, "%s%s\n", strings.Repeat(" ", left), c.paint(tone, line))
	}
}

// head is the tone of the name beside a text: explanations are dim, what they explain is not.
func head(tone Tone) Tone {
	if tone == Explain {
		return Plain
	}
	return tone
}

// act prints what the outside world did: a line that begins at the edge.
func (c *columns) act(when, text string) {
	prefix := "▶ " + pad(when, c.when, true) + "  "
	indent := utf8.RuneCountInString(prefix)
	for i, line := range wrap(text, max(c.Width-indent, 24)) {
		if i > 0 {
			prefix = strings.Repeat(" ", indent)
		}
		fmt.Fprintln(c.w, c.paint(Act, prefix+line))
	}
}

// pad brings text to a width, at the left or, aligned right, in front.
func pad(text string, width int, right bool) string {
	missing := width - utf8.RuneCountInString(text)
	if missing <= 0 {
		return text
	}
	if right {
		return strings.Repeat(" ", missing) + text
	}
	return text + strings.Repeat(" ", missing)
}

// nbsp is a space that wrap does not break at: a number stays with its unit.
const nbsp = "\u00a0"

// wrap breaks text at spaces into lines of at most width columns; a longer word stands alone. It never returns nothing.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	unbroken := strings.NewReplacer(nbsp, " ")
	if !strings.ContainsAny(text, "\n\t") && utf8.RuneCountInString(text) <= width {
		return []string{unbroken.Replace(text)} // the columns of a table stay
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r == '\n' || r == '\t' }) {
		word = unbroken.Replace(word)
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// clock writes a time of the story: 6:50, or 1:06:50 past the hour.
func clock(t time.Duration) string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	s := int64(t / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%s%d:%02d:%02d", sign, s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%s%d:%02d", sign, s/60, s%60)
}

// clockTenths is clock to a tenth of a second: 6:50.1.
func clockTenths(t time.Duration) string {
	if t < 0 {
		return "-" + clockTenths(-t)
	}
	return fmt.Sprintf("%s.%d", clock(t), t/(100*time.Millisecond)%10)
}

// span is a length of time for text that wrap lays out: spanText, unbroken.
func span(d time.Duration) string { return strings.ReplaceAll(spanText(d), " ", nbsp) }

// spanText writes a length of time as people say it: 0.3 s, 50 s, 5 min 50 s, 2 h 5 min.
func spanText(d time.Duration) string {
	if d < 0 {
		return "-" + spanText(-d)
	}
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%d ms", d.Round(time.Millisecond)/time.Millisecond)
	}
	if d < 10*time.Second {
		return trimZero(fmt.Sprintf("%.1f", d.Seconds())) + " s"
	}
	tenths := d.Round(100 * time.Millisecond)
	if d < 2*time.Minute || tenths%time.Second == 0 && tenths == 300*time.Second {
		return trimZero(fmt.Sprintf("%.1f", tenths.Seconds())) + " s"
	}
	s := int64(d.Round(time.Second) / time.Second)
	if s < 3600 {
		return join(fmt.Sprintf("%d min", s/60), s%60, "s")
	}
	return join(fmt.Sprintf("%d h", s/3600), s/60%60, "min")
}

func join(large string, n int64, unit string) string {
	if n == 0 {
		return large
	}
	return fmt.Sprintf("%s %d %s", large, n, unit)
}

func trimZero(s string) string { return strings.TrimSuffix(s, ".0") }

// list joins names as a sentence would: a, b and c. More than most are counted: a, b, c and 5 more.
func list(names []string, most int) string {
	switch {
	case len(names) > most:
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", len(names)-most)
	case len(names) < 2:
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// count writes a number with its noun: 1 pod, 3 pods.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// thousands writes a number with commas: 8,000.
func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
