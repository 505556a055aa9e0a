package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"strings"
)

//go:embed page.html
var page string

// section is one run on the page.
type section struct {
	*Run
	Verdict  string
	Timeline template.HTML
	Opening  []string
	Scenes   []Scene
	Lesson   []paragraph
	Hints    []Hint
}

// paragraph is a piece of a lesson: a heading, an item of a list, code, or text.
type paragraph struct{ Kind, Text string }

// HTML writes one page that needs nothing else: the timeline of each run drawn, its story beside it.
func HTML(w io.Writer, runs []*Run) error {
	t, err := template.New("page").Funcs(template.FuncMap{
		"clock": clock, "span": span, "tone": toneName,
		"add": func(a, b int) int { return a + b },
	}).Parse(page)
	if err != nil {
		return err
	}
	var sections []section
	for _, run := range runs {
		s := section{Run: run, Verdict: "pass", Opening: opening(run), Scenes: Tell(run), Hints: Hints(run)}
		if !run.Passed {
			s.Verdict = "fail"
		}
		s.Timeline = template.HTML(drawSVG(newTimeline(run))) // its texts are escaped where they are written
		s.Lesson = lessonParagraphs(run.Lesson)
		sections = append(sections, s)
	}
	return t.Execute(w, sections)
}

func toneName(t Tone) string {
	return [...]string{Plain: "plain", Loss: "loss", Repair: "repair", Explain: "explain", Act: "act", Strong: "strong"}[t]
}

// lessonParagraphs breaks Markdown into what the page sets: the text report's own reading of it.
func lessonParagraphs(lesson string) []paragraph {
	var out []paragraph
	for _, block := range strings.Split(strings.TrimSpace(lesson), "\n\n") {
		var text bytes.Buffer
		writeMarkdown(&text, Style{Width: 1 << 20}, block, "")
		for _, line := range strings.Split(strings.TrimRight(text.String(), "\n"), "\n") {
			if line == "" {
				continue
			}
			p := paragraph{"text", line}
			if strings.HasPrefix(line, "  ") {
				p.Kind = "code"
			} else if _, _, item := listItem(line); item {
				p.Kind = "item"
			}
			out = append(out, p)
		}
	}
	return out
}
