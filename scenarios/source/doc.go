// Package source reads YAML so that everything that is wrong with it can be told with its place in the file.
//
// It models a document as a tree of Nodes with positions, aliases resolved, and a list of Problems that is reported as
// a whole.
//
// It leaves out tags, merge keys and several documents in one file; each is a problem of the file.
//
// What always holds: no input makes it panic, use memory out of proportion, or report a problem without a line and a
// column.
//
// It is plain functions. Start reading at Parse, then Node.
package source
