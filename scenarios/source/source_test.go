package source

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOffsetsOfScalarsAreFoundInTheFile(t *testing.T) {
	problems := &Problems{File: "f"}
	root := Parse([]byte("block: |\n  foo\n  bar ${x} baz\nquoted: 'some ${x} baz'\nplain: some  baz\nfolded: >\n  some\n  baz\n"), problems)
	require.NoError(t, problems.Err())
	root.Substitute(func(string) (string, bool) { return "a longer text", true }, nil)
	for key, place := range map[string][2]int{ // any order: independent
		"block": {3, 12}, "quoted": {4, 20}, "plain": {5, 14}, "folded": {7, 8},
	} {
		node := root.Get(key)
		line, column := node.Place(strings.Index(node.Text, "baz"))
		require.Equal(t, place, [2]int{line, column}, key)
	}
}

func TestAliasesAreResolvedAndCannotExplode(t *testing.T) {
	problems := &Problems{File: "f"}
	root := Parse([]byte("a: &a [1, 2]\nb: *a\n"), problems)
	require.NoError(t, problems.Err())
	require.Len(t, root.Get("b").Items, 2)
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x]\n")
	for i := range 40 {
		name := string(rune('b'+i%20)) + strings.Repeat("x", i/20)
		before := "a0"
		if i > 0 {
			before = string(rune('b'+(i-1)%20)) + strings.Repeat("x", (i-1)/20)
		}
		bomb.WriteString(name + ": &" + name + " [*" + before + ", *" + before + "]\n")
	}
	Parse([]byte(bomb.String()), problems)
	require.ErrorContains(t, problems.Err(), "once aliases are resolved")
}

func TestSuggestionsAreNearTheWord(t *testing.T) {
	words := []string{"worker-1", "cp-1", "admin"}
	require.Equal(t, ` (did you mean "worker-1"?)`, Suggest("wroker-1", words))
	require.Empty(t, Suggest("database", words))
}

func TestPathsOfFieldErrorsLeadToNodes(t *testing.T) {
	root := Parse([]byte("spec:\n  containers:\n  - name: a\n    image: b\n"), &Problems{})
	require.Equal(t, 4, root.Find("spec.containers[0].image").Line)
	require.Equal(t, 3, root.Find("spec.containers[0].ports[0]").Line)
}
