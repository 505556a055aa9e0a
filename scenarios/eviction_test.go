package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What becomes of a dead worker's pods in each release, from the power loss on: NotReady a grace period (40 s, from
// v1.32 on 50 s) after the last heartbeat was seen; up to v1.12 deletion five minutes after that heartbeat, without a
// taint; then deletion five minutes after the taint, which came with the next tick up to v1.33.
func TestDeadWorkersPodsGoWhenTheirReleaseSays(t *testing.T) {
	for _, c := range []struct {
		minors  []int
		grace   float64
		late    float64 // the NoExecute taint, after NotReady; negative: none
		tainted bool    // NoSchedule, at once
		event   string
	}{
		{[]int{11}, 40, -1, false, "NodeControllerEviction"},
		{[]int{12}, 40, -1, true, "NodeControllerEviction"},
		{[]int{13, 20, 28, 31}, 40, 5, true, "TaintManagerEviction"},
		{[]int{32, 33}, 50, 5, true, "TaintManagerEviction"},
		{[]int{34, 36, 37}, 50, 0, true, "TaintManagerEviction"},
	} {
		for _, minor := range c.minors {
			name := fmt.Sprintf("v1.%d", minor)
			_, result, err := Play(parsePlayed(t, "table.yaml", fmt.Sprintf(`ksim: 1
name: table
duration: 7m30s
cluster: {kubernetes: %s, topology: single, workers: 3}
manifests:
  - |
    apiVersion: v1
    kind: Pod
    metadata: {name: bare}
    spec: {nodeName: worker-1, containers: [{name: c, image: x}]}
steps:
  - {name: crash, at: 1m, run: fault crash worker-1}
`, name)), Options{})
			require.NoError(t, err, name)
			first := func(reason, object, message string) float64 {
				for _, e := range result.Events {
					if e.T > 60 && e.Reason == reason && e.Object == object && strings.Contains(e.Message, message) {
						return float64(e.T)
					}
				}
				return -1
			}
			notReady := first("NodeNotReady", "node/worker-1", "")
			assert.True(t, notReady >= 60+c.grace-10 && notReady <= 60+c.grace+10.2, "%s: %.1f", name, notReady)
			noSchedule := first("TaintAdded", "node/worker-1", "NoSchedule")
			assert.Equal(t, c.tainted, noSchedule > 0 && noSchedule < notReady+0.3, name)
			deleted, noExecute := first(c.event, "pod/default/bare", "Marking for deletion"),
				first("TaintAdded", "node/worker-1", "NoExecute")
			if c.late < 0 {
				assert.Negative(t, noExecute, name)
				assert.True(t, deleted >= 60+300-10 && deleted <= 60+300+10.2, "%s: %.1f", name, deleted)
				continue
			}
			assert.InDelta(t, notReady+c.late, noExecute, 0.3, name)
			assert.InDelta(t, noExecute+300, deleted, 0.3, name)
		}
	}
}
