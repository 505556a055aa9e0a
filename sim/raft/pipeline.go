package raft

import (
	"time"

	etcdraft "go.etcd.io/raft/v3"
	pb "go.etcd.io/raft/v3/raftpb"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Models rafthttp's pipeline and snapshot sender (server/etcdserver/api/rafthttp: pipeline.go, snapshot_sender.go,
// v3.6): what is posted to a peer, on a connection of its own. Leaves out: the pipeline's buffer of 64 messages (what
// does not fit into its four connections is dropped, and raft is told).

// connPerPipeline is how many messages the pipeline posts to a peer at once (rafthttp/pipeline.go, v3.6).
const connPerPipeline = 4

// postMessage sends a message without a stream.
func (p *peers) postMessage(x *peer, m *pb.Message) {
	s := p.server
	if x.posting >= connPerPipeline || len(x.urls) == 0 {
		s.node.ReportUnreachable(x.id)
		return
	}
	x.posting++
	p.post(x.urls[x.next%len(x.urls)], &messagePost{m, s.cluster.id}, func(answer any, err error) {
		defer s.catch()
		x.posting--
		if _, ok := answer.(*posted); !ok || err != nil {
			s.node.ReportUnreachable(x.id)
			s.advance()
		}
	})
}

func (p *peers) takeMessage(c *hardware.Conn, post *messagePost) {
	s := p.server
	if post.cluster != s.cluster.id || post.message.To != s.id {
		c.Send(&refusal{412, s.cluster.id})
		return
	}
	c.Send(&posted{})
	p.process(post.message)
}

// post sends one request on a connection of its own and calls done with the answer, or with an error.
func (p *peers) post(url string, msg any, done func(any, error)) {
	s := p.server
	postTo(s.process, url, s.config.Election+dialBase, msg, done)
}

// postTo dials, sends one message and waits for one answer, all within a time.
func postTo(process *hardware.Process, url string, within time.Duration, msg any, done func(any, error)) {
	var conn *hardware.Conn
	answered := false
	finish := func(answer any, err error) {
		if answered {
			return
		}
		answered = true
		if conn != nil {
			conn.Close()
		}
		done(answer, err)
	}
	deadline := process.Scope().After(within, "post", func() { finish(nil, sim.ErrTimeout) })
	process.Dial(url, within, func(c *hardware.Conn, err error) {
		if err != nil {
			deadline.Stop()
			finish(nil, err)
			return
		}
		if answered {
			c.Close()
			return
		}
		conn = c
		c.OnClose(func(err error) {
			deadline.Stop()
			finish(nil, err)
		})
		c.OnMessage(func(answer any) {
			deadline.Stop()
			finish(answer, nil)
		})
		c.Send(msg)
	})
}

// postSnapshot sends a laggard the newest database: the one of this moment, whatever raft's message says.
func (p *peers) postSnapshot(x *peer, m *pb.Message) {
	s := p.server
	db := s.database()
	m.Snapshot = &pb.Snapshot{Metadata: db.metadata()}
	s.log.info("sending database snapshot snapshot-index:%d remote-peer-id:%x bytes:%d", db.index, x.id, db.Size())
	if len(x.urls) == 0 {
		s.node.ReportSnapshot(x.id, etcdraft.SnapshotFailure)
		return
	}
	transfer := time.Duration(db.Size()) * time.Second / snapshotBandwidth
	s.scope.After(transfer, "snapshot transfer", func() {
		p.post(x.urls[0], &snapshotPost{m, db, s.cluster.id}, func(answer any, err error) {
			defer s.catch()
			status := etcdraft.SnapshotFinish
			if _, ok := answer.(*posted); !ok || err != nil {
				status = etcdraft.SnapshotFailure
				s.node.ReportUnreachable(x.id)
			}
			s.node.ReportSnapshot(x.id, status)
			s.advance()
		})
	})
}

func (p *peers) takeSnapshot(c *hardware.Conn, post *snapshotPost) {
	s := p.server
	if post.cluster != s.cluster.id {
		c.Send(&refusal{412, s.cluster.id})
		return
	}
	s.log.info("received and saved database snapshot snapshot-index:%d remote-peer-id:%x", post.db.index,
		post.message.From)
	s.incoming = post.db
	p.process(post.message)
	c.Send(&posted{})
}
