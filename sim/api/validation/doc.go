// Package validation says what is wrong with an object, in kube-apiserver's words (pkg/apis/*/validation, v1.36).
//
// It leaves out the fields of volume types, security contexts and Windows, which nothing in the cluster looks at, and
// checks kinds that are only stored by their metadata alone.
//
// What always holds: nothing is changed; errors come in the order of upstream's functions; an object that has no errors
// has none after a round trip through the store.
//
// It is driven by plain calls on defaulted objects. Start reading at Create and Update, then pod.go.
package validation
