// Package raft models etcd.
package raft
