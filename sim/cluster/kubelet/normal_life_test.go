package kubelet

import (
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	b := newBench(t, 1)
	b.run(5 * time.Second)
	for _, w := range b.server.writes {
		if w.object != nil {
			t.Log(w.at, w.object.GetName(), w.request.Verb, w.request.Resource)
		}
	}
	t.Log(b.node().Status.Conditions)
	at := b.kernel.Now()
	b.put(testPod("a", "", ""))
	b.put(testPod("crash", "exit 1", ""))
	b.run(60 * time.Second)
	for _, l := range b.life("a", at) {
		t.Log(l)
	}
	for _, l := range b.life("crash", at) {
		t.Log(l)
	}
	at = b.kernel.Now()
	b.server.delete(b.pod("a"), nil, nil)
	b.run(5 * time.Second)
	for _, l := range b.life("a", at) {
		t.Log(l)
	}
	t.Log(b.leases(0))
}
