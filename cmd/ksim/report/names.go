package report

import (
	"cmp"
	"strconv"
	"strings"
)

// byNumber orders names as people count: worker-2 before worker-10.
func byNumber(a, b string) int {
	stemA, nA, okA := numbered(a)
	stemB, nB, okB := numbered(b)
	if okA && okB && stemA == stemB {
		return cmp.Compare(nA, nB)
	}
	return strings.Compare(a, b)
}

// numbered splits worker-3 into worker- and 3.
func numbered(name string) (stem string, n int, ok bool) {
	i := len(name)
	for i > 0 && name[i-1] >= '0' && name[i-1] <= '9' {
		i--
	}
	n, err := strconv.Atoi(name[i:])
	return name[:i], n, err == nil
}

// ranges writes names in order with runs folded: worker-1..4, worker-1 and worker-3..5.
func ranges(names []string) string {
	var parts []string
	for i := 0; i < len(names); {
		stem, first, ok := numbered(names[i])
		j := i + 1
		for ok && j < len(names) {
			s, n, more := numbered(names[j])
			if !more || s != stem || n != first+j-i {
				break
			}
			j++
		}
		switch {
		case j-i > 2:
			parts = append(parts, names[i]+".."+strconv.Itoa(first+j-i-1))
		default:
			parts = append(parts, names[i:j]...)
		}
		i = j
	}
	return list(parts, 8)
}
