// Package report tells finished runs: as a story for people, as JSON, JSONL, YAML, JUnit and HTML for everything else.
//
// The story is a pipeline: trace events are gathered into scenes (who, when, one topic), scenes are told as lines by
// the topic that knows their reasons (a reason nobody foresaw is told by its own message), lines are laid out in
// columns.
//
// It leaves out running anything: it gets a Run and writes. It knows of no flags and no terminals beyond a width and
// whether there is colour.
//
// What always holds: the same run gives the same text, save for the wall time that the text and HTML reports state;
// nothing is told that the trace or the two snapshots of the cluster do not show.
//
// Start reading at Tell, then topics; render.go lays out what Tell returns, why.go walks chains of causes.
package report
