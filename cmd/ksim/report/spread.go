package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Figure is something measured in several runs of a scenario. Times and lengths of time are in seconds.
type Figure struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Runs   int     `json:"runs"` // that have it
	Held   int     `json:"held"` // of an expectation: in how many runs it held
	Min    float64 `json:"min"`
	Median float64 `json:"median"`
	Max    float64 `json:"max"`
	Mean   float64 `json:"mean"`
}

// Spread measures runs of one scenario with different seeds: when each expectation was decided, when each step ran,
// and what each probe met.
func Spread(runs []*Run) []Figure {
	if len(runs) == 0 {
		return nil
	}
	var figures []Figure
	add := func(name, unit string, value func(*Run) (v float64, held, ok bool)) {
		f := Figure{Name: name, Unit: unit}
		var values []float64
		for _, run := range runs {
			v, held, ok := value(run)
			if held {
				f.Held++
			}
			if ok {
				values = append(values, v)
			}
		}
		figures = append(figures, f.of(values))
	}
	for i, e := range runs[0].Expectations {
		add(e.Name, "s", func(run *Run) (float64, bool, bool) {
			got := run.Expectations[i]
			return got.T.Seconds(), got.Passed && !got.Open, got.Measured && got.Passed
		})
	}
	for i, s := range runs[0].Steps {
		add("step: "+s.Name, "s", func(run *Run) (float64, bool, bool) {
			got := run.Steps[i]
			return got.T.Seconds(), got.Failed == "" && !got.Skipped, !got.Skipped
		})
	}
	for i, probe := range runs[0].Traffic {
		add("traffic "+probe.Name+": ok", "", func(run *Run) (float64, bool, bool) {
			return float64(run.Traffic[i].OK), true, true
		})
		add("traffic "+probe.Name+": failed", "", func(run *Run) (float64, bool, bool) {
			return float64(run.Traffic[i].Failed), true, true
		})
		add("traffic "+probe.Name+": longest outage", "s", func(run *Run) (float64, bool, bool) {
			return run.Traffic[i].LongestOutage.Seconds(), true, true
		})
	}
	return figures
}

// of fills in a figure from its values.
func (f Figure) of(values []float64) Figure {
	f.Runs = len(values)
	if f.Runs == 0 {
		return f
	}
	slices.Sort(values)
	f.Min, f.Max = values[0], values[f.Runs-1]
	f.Median = (values[(f.Runs-1)/2] + values[f.Runs/2]) / 2
	for _, v := range values {
		f.Mean += v / float64(f.Runs)
	}
	return f
}

// SpreadText writes what several runs of a scenario have in common and how far they differ.
func SpreadText(w io.Writer, runs []*Run, wall time.Duration, style Style) {
	first, last := runs[0], runs[len(runs)-1]
	fmt.Fprintf(w, "%s  %s\n", style.paint(Strong, pad(first.Name, 14, false)), first.Title)
	fmt.Fprintf(w, "%s\n\n", style.paint(Explain, fmt.Sprintf("%s, seeds %d to %d", first.Cluster, first.Seed, last.Seed)))
	column := max(style.Width-4-4*10, 24)
	fmt.Fprintf(w, "    %s%10s%10s%10s%10s\n", pad("", column, false), "held", "first", "median", "last")
	heading := ""
	for _, f := range Spread(runs) {
		if strings.HasPrefix(f.Name, "traffic ") && heading == "" {
			heading = "traffic"
			fmt.Fprintf(w, "    %s%10s%10s%10s%10s\n", pad("", column, false), "", "least", "median", "most")
		}
		f.row(w, style, column, len(runs))
	}
	fmt.Fprintln(w)
	passed := 0
	var failed []string
	for _, run := range runs {
		if run.Passed {
			passed++
			continue
		}
		for _, e := range run.Expectations {
			if !e.Passed {
				failed = append(failed, fmt.Sprintf("seed %d: %s: %s", run.Seed, e.Name, e.Detail))
				break
			}
		}
	}
	word, tone := "pass", Repair
	if passed < len(runs) {
		word, tone = "fail", Loss
	}
	fmt.Fprintf(w, "%s    %d of %d runs, %s of cluster each, in %.2f s\n", style.paint(tone, word), passed, len(runs),
		spanText(first.Duration), wall.Seconds())
	const most = 5
	for i, text := range failed {
		if i == most {
			fmt.Fprintf(w, "        and %s\n", count(len(failed)-most, "more run"))
			break
		}
		for _, line := range wrap(text, max(style.Width-8, 24)) {
			fmt.Fprintf(w, "        %s\n", style.paint(Loss, line))
		}
	}
	for _, run := range runs {
		if !run.Passed {
			fmt.Fprintf(w, "        %-18s ksim run %s --seed %d\n", "look closer", cmp.Or(run.Source, run.Name), run.Seed)
			break
		}
	}
}

func (f Figure) row(w io.Writer, style Style, column, runs int) {
	value := func(v float64) string {
		if f.Runs == 0 {
			return "-"
		}
		if f.Unit == "s" {
			return clockTenths(time.Duration(v * float64(time.Second)))
		}
		return trimZero(fmt.Sprintf("%.1f", v))
	}
	mark, tone := "✓", Repair
	if f.Held < runs {
		mark, tone = "✗", Loss
	}
	held := fmt.Sprintf("%d/%d", f.Held, runs)
	if strings.HasPrefix(f.Name, "traffic ") {
		mark, held = " ", ""
	}
	lines := wrap(f.Name, column)
	for i, line := range lines {
		if i < len(lines)-1 {
			fmt.Fprintf(w, "  %s %s\n", style.paint(tone, mark), line)
			mark = " "
			continue
		}
		name := line + strings.Repeat(" ", max(column-utf8.RuneCountInString(line), 0))
		fmt.Fprintf(w, "  %s %s%10s%10s%10s%10s\n", style.paint(tone, mark), name, held, value(f.Min), value(f.Median),
			value(f.Max))
	}
}
