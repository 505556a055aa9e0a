package sim

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestHistoryGivesBackWhatWasAdded reads events one by one and all in pieces, beside a plain list.
func TestHistoryGivesBackWhatWasAdded(t *testing.T) {
	text := rapid.SampledFrom([]string{"", "worker-1", "kubelet", "lease/kube-node-lease/worker-1", "\x00\xff", "é"})
	number := rapid.OneOf(rapid.Int64Range(0, 300), rapid.Int64())
	rapid.Check(t, func(t *rapid.T) {
		var h history
		var want, got []Event
		for range rapid.IntRange(1, 4).Draw(t, "pieces") {
			event := Event{T: Time(number.Draw(t, "T")), Cause: EventID(number.Draw(t, "Cause")),
				Level: Level(rapid.IntRange(0, 3).Draw(t, "Level")), Machine: text.Draw(t, "Machine"),
				Component: text.Draw(t, "Component"), Reason: text.Draw(t, "Reason"), Object: text.Draw(t, "Object"),
				Message: text.Draw(t, "Message"), Since: EventID(number.Draw(t, "Since")),
				Wait: time.Duration(number.Draw(t, "Wait")), Setting: text.Draw(t, "Setting"),
				Related: text.Draw(t, "Related")}
			for range rapid.IntRange(1, 2*chunkSize).Draw(t, "times") {
				event.Cause++
				h.add(&event)
				event.Seq = EventID(len(want) + 1)
				want = append(want, event)
			}
			got = h.appendFrom(EventID(len(got)+1), got)
		}
		require.Equal(t, want, got)
		id := rapid.IntRange(1, len(want)).Draw(t, "id")
		require.Equal(t, want[id-1], h.at(EventID(id)))
	})
}
