// Package fields says of every field of the objects that something in a cluster acts on what becomes of it: whether it
// acts, whether it could make no difference in a simulation, or whether a real cluster would behave differently for it
// and people must be told; and from which release on the field exists.
//
// It leaves out statuses, which the API server takes from controllers alone, and kinds that are only stored: of those
// people are told as a whole.
//
// What always holds: every field of every such type has a row, which the package's test sees to by walking the types;
// a row that no field has must go.
//
// It is driven by plain calls. Start reading at Check, then the table, pods first.
package fields
