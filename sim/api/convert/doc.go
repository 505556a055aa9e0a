// Package convert turns an object as a person wrote it in an older version of its group into the version that ksim
// stores, as kube-apiserver does when it decodes a body.
//
// It works on the maps that YAML is read into, so what it does not know it leaves for the strict decoder to refuse. It
// leaves out the way back (an object is shown in the version that it is stored in where the shapes differ) and fields
// that went with their version, as spec.rollbackTo of a Deployment.
//
// What always holds: a version that has the shape and the defaults of the stored one is not changed; nothing is
// defaulted that the stored version would default in the same way.
//
// It is driven by two plain calls, Shape and Defaults. Start reading there.
package convert
