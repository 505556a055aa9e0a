package report

import (
	"encoding/xml"
	"fmt"
	"io"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string `xml:"name,attr"`
	Tests    int    `xml:"tests,attr"`
	Failures int    `xml:"failures,attr"`
	Time     string `xml:"time,attr"` // virtual seconds
	// What probes have met.
	Properties *junitProperties `xml:"properties,omitempty"`
	Cases      []junitCase      `xml:"testcase"`
}

type junitProperties struct {
	List []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Output  string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
}

// JUnit writes runs as test reports are written: a suite for each run, a case for each expectation and each failed
// step. Times are virtual.
func JUnit(w io.Writer, runs []*Run) error {
	all := junitSuites{Name: "ksim"}
	for _, run := range runs {
		suite := junitSuite{Name: fmt.Sprintf("%s (seed %d)", run.Name, run.Seed), Time: seconds(run.Duration.Seconds())}
		suite.Properties = trafficProperties(run)
		add := func(c junitCase) {
			c.Class = run.Name
			suite.Tests++
			if c.Failure != nil {
				suite.Failures++
			}
			suite.Cases = append(suite.Cases, c)
		}
		for _, e := range run.Expectations {
			c := junitCase{Name: e.Name, Time: seconds(e.T.Seconds()), Output: e.Detail}
			if !e.Passed {
				c.Failure = &junitFailure{e.Detail}
			}
			add(c)
		}
		for _, s := range run.Steps {
			if s.Failed != "" {
				add(junitCase{Name: "step: " + s.Name, Time: seconds(s.T.Seconds()), Failure: &junitFailure{s.Failed},
					Output: s.Stdout + s.Stderr})
			}
		}
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Suites = append(all.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func trafficProperties(run *Run) *junitProperties {
	if len(run.Traffic) == 0 {
		return nil
	}
	p := &junitProperties{}
	for i := range run.Traffic {
		t := &run.Traffic[i]
		p.List = append(p.List, junitProperty{"traffic." + t.Name + ".ok", fmt.Sprint(t.OK)},
			junitProperty{"traffic." + t.Name + ".failed", fmt.Sprint(t.Failed)},
			junitProperty{"traffic." + t.Name + ".longestOutage", seconds(t.LongestOutage.Seconds())})
	}
	return p
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
