package containerd

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommandsAreRecognised(t *testing.T) {
	tests := []struct {
		argv   []string
		takes  time.Duration
		status int
		output string
	}{
		{[]string{"sleep", "30"}, 30 * time.Second, 0, ""},
		{[]string{"/bin/sleep", "1m"}, time.Minute, 0, ""},
		{[]string{"false"}, 0, 1, ""},
		{[]string{"sh", "-c", "sleep 5; exit 3"}, 5 * time.Second, 3, ""},
		{[]string{"/bin/sh", "-c", "echo hello world && sleep 0.5 && false"}, 500 * time.Millisecond, 1, "hello world\n"},
		{[]string{"sh", "-c", "false && echo no || echo yes"}, 0, 0, "yes\n"},
		{[]string{"sh", "-c", "true || exit 4; exit"}, 0, 0, ""},
		{[]string{"bash", "-ec", "echo 'a b' \"c $HOME\"; sleep infinity"}, Never, 0, "a b c $HOME\n"},
		{[]string{"sh", "-c", "exit 300"}, 0, 44, ""},
	}
	for _, test := range tests {
		script, ok := ParseCommand(test.argv)
		require.True(t, ok, "%v", test.argv)
		takes, status, output := script.Outcome()
		assert.Equal(t, test.takes, takes, "%v", test.argv)
		assert.Equal(t, test.status, status, "%v", test.argv)
		assert.Equal(t, test.output, output, "%v", test.argv)
	}
}

func TestEverythingElseIsAServer(t *testing.T) {
	for _, argv := range [][]string{nil, {"nginx", "-g", "daemon off;"}, {"sh", "-c", "nginx"}, {"sh", "-c",
		"sleep 1 | cat"},
		{"sh", "-c", "while true; do sleep 1; done"}, {"sh", "-c", "sleep 5 &"}, {"sh", "script.sh"}, {"sh", "-c",
			"echo ("}} {
		_, ok := ParseCommand(argv)
		assert.False(t, ok, "%v", argv)
	}
}

func TestTrapDecidesWhatSIGTERMDoes(t *testing.T) {
	script, ok := ParseCommand([]string{"sh", "-c", "trap 'exit 7' TERM; sleep 3600"})
	require.True(t, ok)
	assert.True(t, script.HasTrap)
	assert.Equal(t, 7, script.OnTerm)
	script, ok = ParseCommand([]string{"sh", "-c", "sleep 3600"})
	require.True(t, ok)
	assert.False(t, script.HasTrap)
}

func TestBehavioursAreReadOrRefusedWithWhatIsAllowed(t *testing.T) {
	b, err := ParseBehaviour("pulls=3s starts=200ms ready=5s runs=30s exits=1 stops=8s healthy=2m")
	require.NoError(t, err)
	assert.Equal(t, Behaviour{Pulls: 3 * time.Second, Starts: 200 * time.Millisecond, Ready: 5 * time.Second,
		Runs: 30 * time.Second, RunsSet: true, Exits: 1, Stops: 8 * time.Second, StopsSet: true, Healthy: 2 * time.Minute}, b)
	b, err = ParseBehaviour("pulls=fail stops=never")
	require.NoError(t, err)
	assert.True(t, b.PullFails)
	assert.Equal(t, Never, b.Stops)
	for text, want := range map[string]string{ // any order: each on its own
		"pulls":           `"pulls": want key=value, with the keys pulls, starts, ready, healthy, runs, exits, stops`,
		"runs=5":          `"runs=5": want a duration such as 3s or 200ms, found "5"`,
		"stops=soon":      `"stops=soon": want a duration such as 3s or 200ms or never, found "soon"`,
		"exits=256":       `"exits=256": want an exit status from 0 to 255, found "256"`,
		"exits=1":         `exits=1: needs runs, the time after which it exits`,
		"color=red":       `"color=red": unknown key "color", want one of pulls, starts, ready, healthy, runs, exits, stops`,
		"runs=1s runs=2s": `"runs=2s": runs is given twice`,
	} {
		_, err := ParseBehaviour(text)
		assert.EqualError(t, err, want, text)
	}
}
