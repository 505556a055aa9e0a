package validation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// cronField is one of the five fields of a schedule.
type cronField struct {
	min, max int
	names    []string // of min, min+1 ...
}

// cronFields: github.com/robfig/cron/v3 spec.go.
func cronFields() [5]cronField {
	return [5]cronField{{0, 59, nil}, {0, 23, nil}, {1, 31, nil},
		{1, 12, strings.Fields("jan feb mar apr may jun jul aug sep oct nov dec")},
		{0, 6, strings.Fields("sun mon tue wed thu fri sat")}}
}

// schedule returns what is wrong with the schedule of a CronJob, "" nothing is (robfig/cron ParseStandard).
func schedule(text string) string {
	if strings.HasPrefix(text, "@") {
		if slices.Contains([]string{"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}, text) ||
			strings.HasPrefix(text, "@every ") {
			return ""
		}
		return "unrecognized descriptor: " + text
	}
	words := strings.Fields(text)
	if len(words) != 5 {
		return fmt.Sprintf("expected exactly 5 fields, found %d: [%s]", len(words), strings.Join(words, " "))
	}
	fields := cronFields()
	for i, word := range words {
		for _, part := range strings.Split(word, ",") {
			if wrong := fields[i].wrong(part); wrong != "" {
				return wrong
			}
		}
	}
	return ""
}

// wrong checks one range: *, 5, 1-5, each with a step or without.
func (c cronField) wrong(part string) string {
	span, step, stepped := strings.Cut(part, "/")
	first, last, ranged := strings.Cut(span, "-")
	begin, end := c.min, c.max
	var err error
	if first != "*" && first != "?" {
		if begin, err = c.number(first); err != nil {
			return err.Error()
		}
		switch {
		case ranged:
			if end, err = c.number(last); err != nil {
				return err.Error()
			}
		case !stepped:
			end = begin
		}
	}
	by := 1
	if stepped {
		if by, err = strconv.Atoi(step); err != nil {
			return fmt.Sprintf("failed to parse int from %s: %v", step, err)
		}
	}
	switch {
	case begin < c.min:
		return fmt.Sprintf("beginning of range (%d) below minimum (%d): %s", begin, c.min, part)
	case end > c.max:
		return fmt.Sprintf("end of range (%d) above maximum (%d): %s", end, c.max, part)
	case begin > end:
		return fmt.Sprintf("beginning of range (%d) beyond end of range (%d): %s", begin, end, part)
	case by == 0:
		return "step of range should be a positive number: " + part
	}
	return ""
}

func (c cronField) number(word string) (int, error) {
	if i := slices.Index(c.names, strings.ToLower(word)); i >= 0 {
		return c.min + i, nil
	}
	n, err := strconv.Atoi(word)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %w", word, err)
	}
	return n, nil
}
