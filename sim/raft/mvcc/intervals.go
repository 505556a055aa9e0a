package mvcc

import "sort"

// intervals finds the groups whose span contains a key. It is a search tree laid out in a sorted slice (the middle
// of each part is its root) with the furthest end of each part; etcd has a red-black interval tree for this
// (pkg/adt). New spans are rare, so they are sorted in when next asked.
type intervals struct {
	groups   []*group
	furthest []string // by the index of a part's middle: the latest end in it, "" for one without end
	bySpan   map[span]*group
	stale    bool
}

// group returns the group of a span, making it if needed.
func (t *intervals) group(s span) *group {
	g := t.bySpan[s]
	if g == nil {
		if t.bySpan == nil {
			t.bySpan = map[span]*group{}
		}
		g = &group{span: s}
		t.bySpan[s] = g
		t.groups = append(t.groups, g)
		t.stale = true
	}
	return g
}

// stab calls fn for each group whose span contains key, in the order of their starts.
func (t *intervals) stab(key string, fn func(*group)) {
	if t.stale {
		t.build()
	}
	t.search(0, len(t.groups), key, fn)
}

func (t *intervals) search(low, high int, key string, fn func(*group)) {
	if low >= high {
		return
	}
	middle := (low + high) / 2
	if end := t.furthest[middle]; end != "" && end <= key {
		return
	}
	t.search(low, middle, key, fn)
	g := t.groups[middle]
	if g.span.start > key {
		return
	}
	if g.span.contains(key) {
		fn(g)
	}
	t.search(middle+1, high, key, fn)
}

func (t *intervals) build() {
	t.stale = false
	sort.Slice(t.groups, func(i, j int) bool {
		a, b := t.groups[i].span, t.groups[j].span
		return a.start < b.start || a.start == b.start && a.end < b.end
	})
	t.furthest = make([]string, len(t.groups))
	t.measure(0, len(t.groups))
}

func (t *intervals) measure(low, high int) (end string, any bool) {
	if low >= high {
		return "", false
	}
	middle := (low + high) / 2
	end = t.groups[middle].span.end
	for _, part := range [...][2]int{{low, middle}, {middle + 1, high}} {
		if other, ok := t.measure(part[0], part[1]); ok && end != "" && (other == "" || other > end) {
			end = other
		}
	}
	t.furthest[middle] = end
	return end, true
}
