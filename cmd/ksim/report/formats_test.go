package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPageNeedsNothingElse: one file, no other address than SVG's name space; the drawing is well-formed and shows
// every machine, every pod that moved and every act.
func TestPageNeedsNothingElse(t *testing.T) {
	run := nodeFailure()
	run.Before.Machines = []MachineState{{"cp-1", "a", true}, {"cp-2", "b", true}, {"cp-3", "c", true},
		{"worker-1", "a", true}, {"worker-2", "b", true}, {"worker-3", "c", true}, {"worker-4", "a", true},
		{"admin", "", true}}
	run.Title = "<script>alert(1)</script>"
	var out bytes.Buffer
	require.NoError(t, HTML(&out, []*Run{run}))
	text := out.String()
	for _, address := range regexp.MustCompile(`https?://[^"' ]+`).FindAllString(text, -1) {
		assert.Equal(t, "http://www.w3.org/2000/svg", address)
	}
	assert.False(t, strings.Contains(text, "<script>"))
	assert.True(t, strings.Contains(text, "no heartbeat for 50.7\u00a0s"))

	svg := drawSVG(newTimeline(run))
	decoder := xml.NewDecoder(strings.NewReader(svg))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	for _, want := range []string{"worker-4", "web-7c9d-q8s4n", "no power from 1:00 to 8:00", "NotReady from 1:50 to 8:31",
		"leads etcd from 0:00 to 12:00", `class="move"`, "fault start worker-1"} {
		assert.Contains(t, svg, want)
	}
	assert.NotContains(t, svg, ">admin<")
}

// TestJUnitTellsFailures: a suite a run, a case an expectation; a failure carries its evidence.
func TestJUnitTellsFailures(t *testing.T) {
	run := nodeFailure()
	run.Expectations[1].Passed = false
	run.Steps[1].Failed = "exit status 1, wanted 0"
	var out bytes.Buffer
	require.NoError(t, JUnit(&out, []*Run{run}))
	golden(t, "junit.xml", out.Bytes())
}

// TestFailureEndsWithWhatToDo: verdict, the first expectation that did not hold with its evidence, the next command.
func TestFailureEndsWithWhatToDo(t *testing.T) {
	run := nodeFailure()
	run.Lesson, run.Passed = "", false
	run.Expectations[0].Passed = false
	var out bytes.Buffer
	Text(&out, run, Style{Width: 80})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Greater(t, len(lines), 3)
	assert.True(t, strings.HasPrefix(lines[len(lines)-4], "fail"), lines[len(lines)-4])
	assert.Contains(t, lines[len(lines)-3], "NotReady comes a grace period after")
	assert.Contains(t, lines[len(lines)-1], "ksim why node-failure")
}

// TestLongRunsAreFolded: what is said a hundred times is said once, with a count.
func TestLongRunsAreFolded(t *testing.T) {
	run := nodeFailure()
	last := run.Trace[len(run.Trace)-1]
	for range 99 {
		run.Trace = append(run.Trace, last)
	}
	var out bytes.Buffer
	Text(&out, run, Style{Width: 80})
	assert.Equal(t, 1, strings.Count(out.String(), "a thing happened"))
	assert.Contains(t, out.String(), "a thing happened (100 times)")
}
