// Package crd says what a CustomResourceDefinition means: whether it is sound, which kind it makes, and what its schema
// asks of, adds to and takes off an object of that kind.
//
// It leaves out conversion between versions beyond the apiVersion, rules in CEL, formats, the scale subresource, and
// allOf, anyOf, oneOf and not.
//
// What always holds: objects are plain maps as JSON is read into; nothing that is given to a check is changed by it.
//
// It is driven by plain calls. Start reading at Definition, then schema.go.
package crd
