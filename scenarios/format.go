package scenarios

import (
	"time"

	"ksim/scenarios/source"
	"ksim/sim/cluster/spec"
)

// Scenario is a scenario file, checked and with all parameters put in.
type Scenario struct {
	Format    int            `yaml:"ksim" must:"be there" doc:"version of the format: 1"`
	Name      string         `yaml:"name" must:"be there" doc:"what ksim run takes: letters, digits, dashes"`
	Title     string         `yaml:"title" doc:"one line for lists"`
	Level     string         `yaml:"level" oneof:"beginner|intermediate|advanced" doc:"for whom it is"`
	Claims    []string       `yaml:"claims" doc:"numbers of the claims that it demonstrates, as C01"`
	Lesson    string         `yaml:"lesson" doc:"Markdown, shown at the end"`
	Seed      *uint64        `yaml:"seed" doc:"seed of all randomness; default 1"`
	Duration  *time.Duration `yaml:"duration" doc:"virtual length; default: last step + 2m"`
	Params    Params         `yaml:"params" doc:"values that ksim run --set changes, used as ${name} anywhere below"`
	Cluster   Cluster        `yaml:"cluster" doc:"the cluster to build"`
	Manifests []string       `yaml:"manifests" doc:"ordinary Kubernetes YAML: text, or paths beside the scenario"`
	Files     Files          `yaml:"files" doc:"files that lie on machines before the start, by machine and name"`
	Traffic   []Traffic      `yaml:"traffic" doc:"black-box probes"`
	Steps     []Step         `yaml:"steps" doc:"what is typed, and when"`
	Expect    []Expectation  `yaml:"expect" doc:"what must hold"`
	Questions []Question     `yaml:"questions" doc:"for ksim learn"`
	Task      string         `yaml:"task" doc:"for ksim drill: what the learner is told"`
	Hints     []string       `yaml:"hints" doc:"for ksim drill"`
	TimeLimit *time.Duration `yaml:"timeLimit" doc:"for ksim drill: virtual time to solve it in"`
	Grade     []Grade        `yaml:"grade" doc:"for ksim drill: like expect, with points"`

	// Spec is the cluster with all defaults filled in; Bundle the texts of Manifests, those of files read.
	Spec   *spec.Cluster
	Bundle []Manifest
	// Warnings are about what is accepted and has no effect: flags that are not modelled.
	Warnings []source.Problem
	// Text is the file as it was read.
	Text string
}

// Manifest is one text of Kubernetes YAML.
type Manifest struct {
	Name string // manifest-1.yaml, or the path that the scenario names
	Text string
}

// Params are the parameters in the order of the file.
type Params []Param

// Param is a parameter and its value.
type Param struct{ Name, Value string }

// Cluster is the section cluster as it is written; Scenario.Spec has the defaults.
type Cluster struct {
	Kubernetes    Scalar        `yaml:"kubernetes" doc:"release, v1.11 ... v1.37; default v1.36"`
	Install       string        `yaml:"install" oneof:"kubeadm|systemd" doc:"what runs the control plane"`
	Topology      string        `yaml:"topology" oneof:"single|stacked|external" doc:"where etcd runs"`
	ControlPlanes *int          `yaml:"controlPlanes" doc:"number of control planes"`
	Etcd          *int          `yaml:"etcd" doc:"number of etcd machines; external only"`
	Workers       Workers       `yaml:"workers" doc:"a number, or a list"`
	Zones         []string      `yaml:"zones" doc:"machines are dealt to zones in turn"`
	LoadBalancer  *LoadBalancer `yaml:"loadBalancer" doc:"haproxy on lb-1; default: true where controlPlanes > 1"`
	Network       Network       `yaml:"network" doc:"the network between all machines"`
	Disk          Disk          `yaml:"disk" doc:"the disks of all machines"`
	Flags         Flags         `yaml:"flags" doc:"flags by component, real names"`
}

// Workers is a number of workers, or the workers.
type Workers struct {
	Given bool
	Count int
	List  []Worker
}

// Worker is one worker machine.
type Worker struct {
	Name   string            `yaml:"name" must:"be there" doc:"name of the machine"`
	Zone   string            `yaml:"zone" doc:"its zone; default: in turn"`
	CPU    Quantity          `yaml:"cpu" doc:"capacity, as 4 or 3500m"`
	Memory Quantity          `yaml:"memory" doc:"capacity, as 8Gi"`
	Pods   *int              `yaml:"pods" doc:"how many pods fit"`
	Labels map[string]Scalar `yaml:"labels" doc:"labels of the Node"`
	Taints []Taint           `yaml:"taints" doc:"taints of the Node: key=value:Effect, or {key, value, effect}"`
}

// Quantity is a Kubernetes quantity: text or a number.
type Quantity string

// Scalar is text, a number or a boolean, read as text.
type Scalar string

// Taint is a taint of a Node.
type Taint struct{ Key, Value, Effect string }

// LoadBalancer is true, false or settings.
type LoadBalancer struct {
	Off     bool
	Check   string         `yaml:"check" oneof:"/healthz|/readyz|/livez|tcp" doc:"health check; default /healthz"`
	Inter   *time.Duration `yaml:"inter" doc:"time between checks; default 2s"`
	Fall    *int           `yaml:"fall" doc:"failed checks until a server is DOWN; default 3"`
	Rise    *int           `yaml:"rise" doc:"good checks until it is UP; default 2"`
	Timeout *time.Duration `yaml:"timeout" doc:"idle time of a connection, client and server; default 1h"`
}

// Network is the network between all machines.
type Network struct {
	Latency      *time.Duration `yaml:"latency" doc:"one way; default 500us"`
	Jitter       *time.Duration `yaml:"jitter" doc:"added at random; default 200us"`
	BetweenZones *time.Duration `yaml:"betweenZones" doc:"added between zones; default 1ms"`
	Loss         Share          `yaml:"loss" doc:"share of packets lost, as 0.01 or 1%"`
}

// Share is a part of a whole, as 0.01 or 1%, in millionths.
type Share int64

// Disk is the disk of every machine.
type Disk struct {
	Fsync *time.Duration `yaml:"fsync" doc:"time of an fsync; default 1ms"`
}

// Flags are the flags of each component, in the order of the file.
type Flags map[string][]spec.Flag

// Files are the files of each machine by name.
type Files map[string]map[string]FileText

// FileText is a file's text, or where it comes from.
type FileText struct {
	From string // path beside the scenario
	Text string
}

// Traffic is a black-box probe.
type Traffic struct {
	Name    string         `yaml:"name" must:"be there" doc:"its name, for traffic[...]"`
	Service string         `yaml:"service" doc:"the Service to probe: name, namespace/name, with :port (number or name)"`
	API     string         `yaml:"api" oneof:"write|read" doc:"probe the API: write, or linearizable read"`
	Every   *time.Duration `yaml:"every" doc:"time between probes; default 1s"`
	Timeout *time.Duration `yaml:"timeout" doc:"a probe fails after this; default 10s"`
	From    string         `yaml:"from" doc:"the machine it runs on; default admin; for service a node, the first worker"`
}

// Step is something that is typed into the cluster.
type Step struct {
	Name       string         `yaml:"name" doc:"what it is for; default: its command"`
	At         *time.Duration `yaml:"at" doc:"when, since the start"`
	After      *time.Duration `yaml:"after" doc:"when, since the previous step ended"`
	When       Condition      `yaml:"when" doc:"as soon as this condition holds"`
	Timeout    *time.Duration `yaml:"timeout" doc:"how long when waits at most; default 10m"`
	Run        string         `yaml:"run" must:"be there" doc:"commands, one or several lines"`
	On         string         `yaml:"on" doc:"the machine where it is typed; default admin"`
	Exit       Exit           `yaml:"exit" doc:"wanted exit status, or any; default 0"`
	Output     string         `yaml:"output" doc:"a regular expression that must match in stdout+stderr; ^ $: line ends"`
	Background bool           `yaml:"background" doc:"true: do not wait for it"`
}

// Exit is a wanted exit status.
type Exit struct {
	Any    bool
	Status int
}

// Condition is a CEL expression over the cluster's true state.
type Condition string

// Window is a span of time since the start.
type Window struct{ From, To time.Duration }

// Expectation is something that must hold: exactly one of the five verbs.
type Expectation struct {
	Name       string         `yaml:"name" must:"be there" doc:"what is expected, as a sentence"`
	Eventually Condition      `yaml:"eventually" doc:"must become true: inside between for the first time"`
	Always     Condition      `yaml:"always" doc:"must hold all the time, or all through between"`
	Never      Condition      `yaml:"never" doc:"must not hold for an instant, or not inside between"`
	Finally    Condition      `yaml:"finally" doc:"must hold at the end"`
	That       Condition      `yaml:"that" doc:"must hold at the time at"`
	At         *time.Duration `yaml:"at" doc:"for that: when"`
	Between    *Window        `yaml:"between" doc:"for eventually, always, never: [from, to]"`
}

// Grade is an expectation of a drill that is worth points.
type Grade struct {
	Points int `yaml:"points" must:"be there" doc:"what it is worth"`
	Expectation
}

// Question is asked by ksim learn before something is shown.
type Question struct {
	Before  string   `yaml:"before" must:"be there" doc:"name of the step"`
	Ask     string   `yaml:"ask" must:"be there" doc:"the question"`
	Choices []Scalar `yaml:"choices" must:"be there" doc:"the answers to choose from"`
	Answer  int      `yaml:"answer" must:"be there" doc:"the right one, from 1"`
	Because string   `yaml:"because" doc:"why"`
}
