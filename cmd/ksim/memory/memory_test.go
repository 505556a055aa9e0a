package memory

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestHeapMayGrowToTheBudgetAndBeyondItByAShareOfWhatIsAlive(t *testing.T) {
	assert.EqualValues(t, Budget, limit(0))
	assert.EqualValues(t, Budget, limit(300<<20))
	assert.EqualValues(t, 1400<<20, limit(1000<<20))
}

func TestACollectionIsMadeWhenTheLimitIsReachedAndNotBefore(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	defer debug.SetGCPercent(100)
	var before, after debug.GCStats
	k := Keep()
	debug.ReadGCStats(&before)
	k.Look()
	debug.ReadGCStats(&after)
	assert.Equal(t, before.NumGC, after.NumGC)
	k.limit = 1
	k.Look()
	debug.ReadGCStats(&after)
	assert.Equal(t, before.NumGC+1, after.NumGC)
	assert.EqualValues(t, Budget, k.limit)
}

func TestWhoeverHasSetTheCollectorIsLeftAlone(t *testing.T) {
	t.Setenv("GOGC", "100")
	k := Keep()
	assert.Zero(t, k.limit)
	k.Look()
}
