package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"ksim/sim/shell"
)

// faultList sets out what the command language knows of faults.
func faultList() string {
	var b strings.Builder
	for _, fault := range shell.FaultHelp() {
		fmt.Fprintf(&b, "  %s\n      %s\n", fault[0], fault[1])
	}
	return b.String()
}

// newTopics makes the help pages that are about no command: `ksim help exit-codes`.
func newTopics() []*cobra.Command {
	topic := func(name, short, long string) *cobra.Command {
		return &cobra.Command{Use: name, Short: short, Long: strings.TrimSpace(long)}
	}
	return []*cobra.Command{
		topic("exit-codes", "What ksim's exit statuses mean", `
ksim ends with

  0    every expectation held
  1    at least one expectation did not hold
  2    the request is wrong: unknown scenario, invalid file, bad flag;
       nothing was run
  3    ksim itself failed: please keep the message
  130  interrupted`),
		topic("trace", "What is in a trace, and how to read it", `
Everything that happens in a run is an event: a time, who did it, Kubernetes' own
reason where it has one, the object (kind/namespace/name), and the event that
caused it. Causes lead back to the outside world: a step of the scenario, or the
start. "ksim run -v" prints all of them; "ksim run -o json" has them with seq and
cause; "ksim why" walks from one to its causes.

The digest is the SHA-256 of the whole trace. The same scenario, seed and version
give the same digest, on any machine.`),
		topic("faults", "What the outside world can do to a cluster", `
A step's run: may hold any of these, alone or in a script:

`+faultList()+`
A TARGET is a machine (worker-1), zone/a, role/worker, role/control-plane,
role/etcd, etcd/leader, etcd/followers, or holder/kube-scheduler: the machine
that holds that lock now.`),
		topic("scenario", "How a scenario file is written", `
A scenario is one YAML file: a cluster, what runs on it, what happens to it, and
what must hold. docs/scenarios.md is the guide; "ksim schema" prints the JSON
Schema for editors, "ksim show node-failure" a file to copy, and "ksim lint FILE"
every mistake with its place.

  ksim: 1
  name: mine
  cluster: {workers: 2}
  manifests: [web.yaml]
  steps:
    - {at: 1m, run: fault crash worker-1}
  expect:
    - name: nobody is moved at once
      never: pods.on("worker-1").terminating().size() > 0
      between: [1m, 5m]`),
	}
}
