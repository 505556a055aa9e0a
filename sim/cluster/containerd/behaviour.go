package containerd

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AnnotationPrefix begins the annotation of a pod that says what one of its containers does; the container's name
// follows.
const AnnotationPrefix = "container.ksim.dev/"

// Never stands for a duration that does not end.
const Never time.Duration = -1

// Behaviour says what a container does beyond its command. The zero Behaviour is that of a server.
type Behaviour struct {
	Pulls     time.Duration // to pull the image; 0: it is on the machine
	PullFails bool
	Starts    time.Duration // to start; 0: drawn, see Timing
	Ready     time.Duration // from the start until it answers probes
	Healthy   time.Duration // from the start until it stops answering liveness probes; 0: never
	Runs      time.Duration // from the start until it ends by itself; 0: never
	Exits     int           // its status then
	Stops     time.Duration // from SIGTERM to its end; 0: drawn; Never: only SIGKILL ends it
	RunsSet   bool
	StopsSet  bool
}

// ParseBehaviour reads an annotation such as "pulls=3s starts=200ms ready=5s runs=30s exits=1 stops=8s". Its error
// names the word that is wrong and what is allowed.
func ParseBehaviour(text string) (Behaviour, error) {
	var b Behaviour
	seen := map[string]bool{}
	for _, word := range strings.Fields(text) {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return b, fmt.Errorf("%q: want key=value, with the keys %s", word, behaviourKeys)
		}
		if seen[key] {
			return b, fmt.Errorf("%q: %s is given twice", word, key)
		}
		seen[key] = true
		if err := b.set(key, value); err != nil {
			return b, fmt.Errorf("%q: %w", word, err)
		}
	}
	if seen["exits"] && !seen["runs"] {
		return b, fmt.Errorf("exits=%d: needs runs, the time after which it exits", b.Exits)
	}
	if b.Healthy > 0 && b.Healthy <= b.Ready {
		return b, fmt.Errorf("healthy=%s: must be longer than ready=%s", b.Healthy, b.Ready)
	}
	return b, nil
}

const behaviourKeys = "pulls, starts, ready, healthy, runs, exits, stops"

func (b *Behaviour) set(key, value string) (err error) {
	switch key {
	case "pulls":
		if value == "fail" {
			b.PullFails = true
			return nil
		}
		b.Pulls, err = behaviourDuration(value, "or fail")
	case "starts":
		b.Starts, err = behaviourDuration(value, "")
	case "ready":
		b.Ready, err = behaviourDuration(value, "")
	case "healthy":
		b.Healthy, err = behaviourDuration(value, "")
	case "runs":
		b.Runs, err = behaviourDuration(value, "")
		b.RunsSet = true
	case "exits":
		b.Exits, err = strconv.Atoi(value)
		if err != nil || b.Exits < 0 || b.Exits > 255 {
			return fmt.Errorf("want an exit status from 0 to 255, found %q", value)
		}
	case "stops":
		b.StopsSet = true
		if value == "never" {
			b.Stops = Never
			return nil
		}
		b.Stops, err = behaviourDuration(value, "or never")
	default:
		return fmt.Errorf("unknown key %q, want one of %s", key, behaviourKeys)
	}
	return err
}

func behaviourDuration(value, or string) (time.Duration, error) {
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		if or != "" {
			or = " " + or
		}
		return 0, fmt.Errorf("want a duration such as 3s or 200ms%s, found %q", or, value)
	}
	return d, nil
}

// BehaviourOf reads the behaviour of a container from its pod's annotations.
func BehaviourOf(annotations map[string]string, container string) (Behaviour, error) {
	text, ok := annotations[AnnotationPrefix+container]
	if !ok {
		return Behaviour{}, nil
	}
	b, err := ParseBehaviour(text)
	if err != nil {
		return Behaviour{}, fmt.Errorf("annotation %s%s: %w", AnnotationPrefix, container, err)
	}
	return b, nil
}
