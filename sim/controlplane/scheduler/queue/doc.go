// Package queue models kube-scheduler's scheduling queue: pods that are to be tried (by priority, then age), pods
// that wait out a back-off, and pods that fit nowhere and wait for an event that may change that.
//
// It leaves out pod groups, metrics and profiles besides one.
//
// What always holds: a pod is in one of the three places, in flight (between Pop and its outcome), or unknown; an
// event that arrives while a pod is in flight is not lost for it; nothing polls: timers are set for the tick at which
// upstream's polling would notice.
//
// It is driven by calls of the scheduler's event handlers and of its loop, which waits in Pop.
//
// Start reading at PriorityQueue.Pop, then AddUnschedulableIfNotPresent, then MoveAllToActiveOrBackoffQueue.
package queue
