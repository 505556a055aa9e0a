package report

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"ksim/sim"
)

// topic is a way to tell events that belong together.
type topic struct {
	name    string
	window  time.Duration // chosen: events of one subject within this of the one before make one scene
	subject func(*memory, *sim.Event) string
	tell    func(*memory, *Scene) []Line
}

// topicOf returns how an event is told, by its reason. One that nobody foresaw is told by its message.
func topicOf(e *sim.Event) *topic {
	switch e.Reason {
	case "NodeNotReady", "PodsMarkedNotReady", "TaintAdded", "TaintNode":
		return &nodeLost
	case "NodeReady", "TaintRemoved":
		return &nodeBack
	case "TaintManagerEviction", "NodeControllerEviction":
		return &eviction
	case "SuccessfulCreate":
		return &replacement
	case "LeaderElection":
		return &leadership
	}
	switch kind(e.Object) {
	case "pod":
		return &podLife
	case "etcdmember":
		return &etcdGroup
	}
	return &plain
}

var (
	nodeLost = topic{"node lost", 3 * time.Second, onNode, tellNodeLost}
	nodeBack = topic{"node back", 6 * time.Second, onNode, tellNodeBack}
	eviction = topic{"eviction", 2 * time.Second, onNode, tellEviction}

	replacement = topic{"replacement", 2 * time.Second, ofWorkload, tellReplacement}
	podLife     = topic{"pod life", 10 * time.Second, ofWorkload, tellPodLife}
	podEnd      = topic{"pod end", 0, nil, tellPodEnd}
	podForced   = topic{"pod end", 0, nil, tellPodForced}
	leadership  = topic{"leadership", 2 * time.Second, ofComponent, tellMessages}
	etcdGroup   = topic{"etcd", 2 * time.Second, func(*memory, *sim.Event) string { return "etcd" }, tellMessages}
	plain       = topic{"plain", 2 * time.Second, ofObject, tellMessages}
)

// onNode is the node that an event is about, or that the event's pod is on.
func onNode(m *memory, e *sim.Event) string {
	if kind(e.Related) == "node" {
		return short(e.Related)
	}
	if p := m.pods[e.Object]; p != nil && p.Node != "" {
		return p.Node
	}
	return short(e.Object)
}

// ofWorkload is what a person calls the pods of the event: web.
func ofWorkload(m *memory, e *sim.Event) string {
	if kind(e.Object) == "pod" {
		if p := m.pods[e.Object]; p != nil {
			return p.Workload
		}
		return short(e.Object)
	}
	return m.workload(e.Object)
}

// nickname is what people call components when they have no room.
func nickname(component string) string {
	switch component {
	case "kube-controller-manager":
		return "controllers"
	case "kube-scheduler":
		return "scheduler"
	case "kube-apiserver":
		return "API server"
	}
	return component
}

func ofComponent(_ *memory, e *sim.Event) string {
	if kind(e.Object) == "lease" {
		return nickname(short(e.Object))
	}
	return nickname(e.Component)
}

func ofObject(m *memory, e *sim.Event) string {
	switch kind(e.Object) {
	case "pod":
		return ofWorkload(m, e)
	case "controller": // one of the many in the controller manager
		return nickname(e.Component)
	case "", "server": // a server of the load balancer is known by the machine that the balancer runs on
		if e.Machine != "" {
			return e.Machine
		}
		return nickname(e.Component)
	}
	return nickname(short(e.Object))
}

// tellMessages tells events by what they say of themselves; what is said again is counted.
func tellMessages(m *memory, s *Scene) []Line {
	var texts []string
	times := map[string]int{}
	first := map[string]*sim.Event{}
	for i := range s.Events {
		e := &s.Events[i]
		text := sentence(e)
		text = strings.TrimPrefix(text, s.Who+" ")
		name := short(e.Object)
		static := strings.HasSuffix(name, "-"+s.Who) // its container has the name, too
		if kind(e.Object) == "pod" && s.Who != name && !static && !strings.Contains(text, name) {
			text = name + ": " + text
		}
		if times[text]++; times[text] == 1 {
			texts = append(texts, text)
			first[text] = e
		}
	}
	const most = 4
	var lines []Line
	for i, text := range texts {
		if i == most && len(texts) > most+1 {
			lines = append(lines, Line{Explain, fmt.Sprintf("and %s like these", count(len(texts)-most, "more event"))})
			break
		}
		said := text + waitOf(first[text])
		if times[text] > 1 {
			said = fmt.Sprintf("%s (%d times)", said, times[text])
		}
		lines = append(lines, Line{toneOf(first[text]), said})
	}
	return lines
}

// sentence is what an event says: its message, or its reason and object where it has none.
func sentence(e *sim.Event) string {
	if e.Message != "" {
		return identity.ReplaceAllString(strings.TrimSuffix(e.Message, "."), "")
	}
	return strings.TrimSpace(spaced(e.Reason) + " " + short(e.Object))
}

// identity is the random part of a lock's holder: cp-1_8c5d....
var identity = regexp.MustCompile(`_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`)

// spaced splits CamelCase into words: "Leader election lost".
func spaced(reason string) string {
	var b strings.Builder
	for i, r := range reason {
		upper := r >= 'A' && r <= 'Z'
		if upper && i > 0 {
			b.WriteByte(' ')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// waitOf explains the wait that an event ends, unless its message names the setting already: " (fall 3)".
func waitOf(e *sim.Event) string {
	switch {
	case e.Setting == "" || strings.Contains(e.Message, e.Setting):
		return ""
	case e.Wait == 0 || strings.Contains(e.Message, spanText(e.Wait)):
		return " (" + e.Setting + ")"
	}
	return fmt.Sprintf(" (%s: %s)", e.Setting, span(e.Wait))
}

// losses and repairs are words of reasons that tell which way things went.
var (
	losses = []string{"NotReady", "Lost", "Fail", "Died", "Down", "BackOff", "Unhealthy", "Killing", "Evict", "Crash",
		"Exit", "Stopped", "Gone"}
	repairs = []string{"Ready", "Became", "Started", "Up", "Healed", "Elected", "Recovered", "Rejoined"}
)

func toneOf(e *sim.Event) Tone {
	has := func(words []string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(e.Reason, w) })
	}
	switch {
	case e.Level == sim.Fault:
		return Act
	case has(losses):
		return Loss
	case has(repairs):
		return Repair
	}
	return Plain
}
