// Package condition is the expression language of scenarios: CEL over the true state of a cluster.
//
// It models the table of names that conditions may use, API objects with Kubernetes' own field names and types, and
// tells which inputs an expression looks at, so that it is evaluated only when one of them has changed.
//
// It leaves out CEL's extension libraries.
//
// What always holds: what can be found wrong without running (syntax, names, fields, types) is found by Compile, with
// its place; evaluation has no effect and costs nothing for objects that the expression does not touch: nothing is
// converted.
//
// It is driven by whoever watches a run, between two kernel events. Start reading at Language, then Condition.
package condition
