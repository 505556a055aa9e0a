package report

import (
	"fmt"
	"io"
	"strings"
)

// writeMarkdown prints the small Markdown of lessons as indented, wrapped text: paragraphs, headings, lists, code.
// Emphasis and backticks go; what stands between them stays.
func writeMarkdown(w io.Writer, s Style, text, indent string) {
	width := max(s.Width-len(indent), 24)
	plain := strings.NewReplacer("**", "", "__", "", "`", "")
	var paragraph []string
	flush := func() {
		if len(paragraph) == 0 {
			return
		}
		first, rest := indent, indent
		body := strings.Join(paragraph, " ")
		if mark, item, ok := listItem(body); ok {
			first, rest, body = indent+mark, indent+strings.Repeat(" ", len(mark)), item
		}
		for i, line := range wrap(plain.Replace(body), width-(len(rest)-len(indent))) {
			if i == 0 {
				fmt.Fprintln(w, first+line)
				continue
			}
			fmt.Fprintln(w, rest+line)
		}
		paragraph = nil
	}
	code := false
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		trimmed := strings.TrimSpace(line)
		_, _, item := listItem(trimmed)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			flush()
			code = !code
		case code || strings.HasPrefix(line, "    "):
			flush()
			fmt.Fprintln(w, indent+"  "+s.paint(Explain, strings.TrimRight(line, " ")))
		case trimmed == "":
			flush()
			fmt.Fprintln(w)
		case strings.HasPrefix(trimmed, "#"):
			flush()
			fmt.Fprintln(w, indent+s.paint(Strong, plain.Replace(strings.TrimSpace(strings.TrimLeft(trimmed, "#")))))
		case item:
			flush()
			paragraph = []string{trimmed}
		default:
			paragraph = append(paragraph, trimmed)
		}
	}
	flush()
}

// listItem splits "- text", "* text" and "1. text" into the mark as printed and the text.
func listItem(line string) (mark, text string, ok bool) {
	for _, bullet := range []string{"- ", "* "} {
		if rest, found := strings.CutPrefix(line, bullet); found {
			return "- ", rest, true
		}
	}
	number, rest, found := strings.Cut(line, ". ")
	if found && number != "" && len(number) < 3 && strings.Trim(number, "0123456789") == "" {
		return number + ". ", rest, true
	}
	return "", "", false
}
