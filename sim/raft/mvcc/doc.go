// Package mvcc models etcd's multi-version store (server/storage/mvcc, v3.6): keys with revisions, transactions,
// ranges at any revision that is not compacted, watches with history, leases, sizes and hashes.
//
// It leaves out bbolt's pages (sizes are counted, not laid out), the batching of commits, and slow watchers: who
// watches takes every event at once.
//
// What always holds: a transaction that changes something makes exactly one revision; a KeyValue never changes once
// it is stored; a Snapshot stays as it was, whatever happens to the store; a watcher sees every event of its range
// once, in the order of revisions, from its start revision on, or is told that they are compacted.
//
// It is driven by calls alone, from etcd's apply loop; it knows neither time nor the network.
//
// Start reading at Store, then Txn, then history and Watcher.
package mvcc
