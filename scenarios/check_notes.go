package scenarios

import (
	"fmt"
	"strings"

	"ksim/scenarios/source"
)

// notes collects what is accepted and has no effect: each thing once, with the places where it stands.
type notes struct{ list []note }

type note struct {
	key string // what is the same thing
	source.Problem
	also []source.Problem // further places
}

// add notes a thing at a place.
func (n *notes) add(key string, p source.Problem) {
	for i := range n.list {
		if n.list[i].key == key {
			n.list[i].also = append(n.list[i].also, p)
			return
		}
	}
	n.list = append(n.list, note{key: key, Problem: p})
}

// maxAlso is how many further places a warning names. chosen: who mends them looks for the rest.
const maxAlso = 8

// warnings returns what people are told, in the order in which it was found.
func (n *notes) warnings() []source.Problem {
	var list []source.Problem
	for _, one := range n.list {
		var places []string
		for i, p := range one.also {
			if i == maxAlso {
				places = append(places, fmt.Sprintf("and %d more", len(one.also)-maxAlso))
				break
			}
			place := fmt.Sprintf("%d:%d", p.Line, p.Column)
			if p.File != one.File {
				place = p.File + ":" + place
			}
			places = append(places, place)
		}
		if len(places) > 0 {
			one.Message += "; also at " + strings.Join(places, ", ")
		}
		list = append(list, one.Problem)
	}
	return list
}
