package raft

import (
	"testing"
	"time"
)

// BenchmarkIdleMinute is what three members cost that have nothing to do: the floor that a run's cost is measured
// against.
func BenchmarkIdleMinute(b *testing.B) {
	g := newGroup(b, 1, 3)
	g.run(10 * time.Second)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		g.run(time.Minute)
	}
}

// BenchmarkCommit is one write of 500 bytes through three members, from the client's call to the answer.
func BenchmarkCommit(b *testing.B) {
	g := newGroup(b, 1, 3)
	g.run(10 * time.Second)
	c := g.client(g.machines[g.leader()].Name)
	g.run(time.Second)
	value := make([]byte, 500)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := g.ask(c, &PutRequest{Key: []byte("/registry/leases/kube-node-lease/worker-1"), Value: value},
			time.Second); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead is one linearizable read of a key.
func BenchmarkRead(b *testing.B) {
	g := newGroup(b, 1, 3)
	g.run(10 * time.Second)
	c := g.client(g.machines[g.leader()].Name)
	g.run(time.Second)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if _, err := g.ask(c, &RangeRequest{Key: []byte("k")}, time.Second); err != nil {
			b.Fatal(err)
		}
	}
}
