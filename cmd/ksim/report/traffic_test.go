package report

import (
	"bytes"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withTraffic is a run whose probes met all sorts of trouble.
func withTraffic() *Run {
	run := nodeFailure()
	s := time.Second
	run.Traffic = []Traffic{
		{Name: "web", Service: true, OK: 7072, Failed: 128, LongestOutage: 800 * time.Millisecond, Spells: []Spell{
			{From: 60 * s, To: 111 * s, Sent: 512, Failed: 128, Gap: 800 * time.Millisecond,
				Failures: []Failure{{"no answer within 10 s", "worker-1", 128}}},
			{From: 412 * s, To: 413200 * time.Millisecond, Sent: 12, Failed: 7, Gap: 500 * time.Millisecond,
				Failures: []Failure{{"no route to host", "worker-3", 1}, {"connection refused", "worker-2", 3},
					{"connection refused", "worker-1", 2}, {"connection broken off", "worker-1", 1}}},
			{From: 500 * s, To: 500100 * time.Millisecond, Sent: 1, Failed: 1,
				Failures: []Failure{{"connection refused (no endpoints)", "", 1}}},
		}},
		{Name: "writes", OK: 700, Failed: 1200, LongestOutage: 120 * s, Spells: []Spell{
			{From: 200 * s, To: 320 * s, Sent: 1200, Failed: 1200, Gap: 120 * s,
				Failures: []Failure{{"connection broken off", "", 1200}}},
			{From: 600 * s, To: 720 * s, Open: true, Sent: 240, Failed: 200, Gap: 3 * s,
				Failures: []Failure{{"answered with status 500", "", 200}}},
		}},
		{Name: "reads", OK: 1440},
	}
	return run
}

// Each time when requests failed is told where it begins and where it ends, with the share that failed and how; a short
// one in one place.
func TestOutagesAreToldAsUsersMeetThem(t *testing.T) {
	var out bytes.Buffer
	Text(&out, withTraffic(), Style{Width: 100})
	golden(t, "traffic.txt", out.Bytes())
}

func TestOutagesAreDrawnAndTotalsAreInEveryReport(t *testing.T) {
	run := withTraffic()
	svg := drawSVG(newTimeline(run))
	require.NoError(t, xml.Unmarshal([]byte(svg), new(any)))
	for _, want := range []string{`class="partly"`, `class="lost"`, "web: from 1:00 to 1:51 128 of 512 requests failed",
		"reads: 1,440 requests answered, none failed"} {
		assert.Contains(t, svg, want)
	}
	var page, junit bytes.Buffer
	require.NoError(t, HTML(&page, []*Run{run}))
	assert.Contains(t, page.String(), "1,200 failed; longest outage")
	require.NoError(t, JUnit(&junit, []*Run{run}))
	assert.Equal(t, 1, strings.Count(junit.String(), `<property name="traffic.writes.longestOutage" value="120.000">`))
}
