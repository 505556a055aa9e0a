// Package plugins models the default plugins of kube-scheduler, one file each, with upstream's names, texts and
// numbers.
//
// It leaves out what needs volumes beyond unbound claims (VolumeRestrictions, NodeVolumeLimits, VolumeZone, the
// choice of volumes in VolumeBinding), devices (DynamicResources has only its text) and arguments of plugins other
// than the default ones.
//
// What always holds: a plugin decides from the cycle's state and the pod alone, waits for nothing and keeps nothing
// from one cycle to the next; its sums are whole numbers, where upstream's are floating point, rounded as upstream
// does.
//
// It is driven by calls of the framework.
//
// Start reading at Default, then TaintToleration as the shortest with all parts, then PodTopologySpread.
package plugins
