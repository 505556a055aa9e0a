// Package framework models the scheduling framework of kube-scheduler: what it knows of pods and nodes, the extension
// points that plugins hang on, cluster events with their queueing hints, and the running of all plugins for one pod.
//
// It leaves out extenders, profiles besides default-scheduler, pod groups, and the permit and pre-bind points, which no
// default plugin of the model needs.
//
// What always holds: plugins see one state of the cluster during a cycle; the order of nodes, plugins and reasons is
// the same in every run; scores are whole numbers from 0 to 100 after normalising; nothing here waits.
//
// It is driven by calls of the scheduler.
//
// Start reading at Plugin and its extension points, then Framework.RunFilterPluginsWithNominatedPods, then NodeInfo.
package framework
