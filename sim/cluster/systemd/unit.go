package systemd

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/unit"
)

// defaultStop is DefaultTimeoutStopSec (systemd-system.conf(5)).
const defaultStop = 90 * time.Second

// file is what a unit file says.
type file struct {
	description  string
	execStart    []string
	restart      string // no | always | on-failure
	restartAfter time.Duration
	timeoutStop  time.Duration
	limitBurst   int
	limitWithin  time.Duration
	environments []string
}

// parse reads a unit file. Keys that do not decide what a service does here are left alone, as systemd leaves unknown
// ones.
func parse(text []byte) (*file, error) {
	options, err := unit.Deserialize(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	f := &file{
		restart:      "no",
		restartAfter: 100 * time.Millisecond, // systemd-system.conf(5): DefaultRestartSec
		timeoutStop:  defaultStop,
		limitBurst:   5,                // DefaultStartLimitBurst
		limitWithin:  10 * time.Second, // DefaultStartLimitIntervalSec
	}
	for _, o := range options {
		var bad error
		switch o.Name {
		case "Description":
			f.description = o.Value
		case "ExecStart":
			f.execStart = splitCommand(o.Value)
		case "Environment":
			f.environments = append(f.environments, strings.Trim(o.Value, `"`))
		case "Restart":
			f.restart = o.Value
		case "RestartSec":
			f.restartAfter, bad = span(o.Value)
		case "TimeoutStopSec":
			f.timeoutStop, bad = span(o.Value)
		case "StartLimitInterval", "StartLimitIntervalSec":
			f.limitWithin, bad = span(o.Value)
		case "StartLimitBurst":
			f.limitBurst, bad = strconv.Atoi(o.Value)
		}
		if bad != nil {
			return nil, fmt.Errorf("failed to parse %s= value %q", o.Name, o.Value)
		}
	}
	if len(f.execStart) == 0 {
		return nil, fmt.Errorf("service has no ExecStart= setting")
	}
	return f, nil
}

// span parses a time span (systemd.time(7)): a number of seconds, or a number with a unit.
func span(text string) (time.Duration, error) {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second, nil
	}
	return time.ParseDuration(strings.Replace(text, "min", "m", 1))
}

// splitCommand splits a command line; a backslash before a line end has been folded by the parser, or stands as a word.
func splitCommand(line string) []string {
	var words []string
	for _, w := range strings.Fields(line) {
		if w != `\` {
			words = append(words, strings.Trim(w, `"'`))
		}
	}
	return words
}
