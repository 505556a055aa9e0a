package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBuiltinScenariosHaveNoMistakes(t *testing.T) {
	for _, name := range Builtins() {
		from, err := Builtin(name)
		require.NoError(t, err)
		s, err := Parse(from)
		require.NoError(t, err)
		require.Equal(t, name, s.Name)
	}
}
