package raft

import "ksim/sim/hardware"

// Main is the etcd program: it parses etcd's flags from argv (without the program's name) and runs a member until the
// process ends.
func Main(p *hardware.Process, argv []string) { p.Exit(2, "not built yet") }

// Database is what a database file or a saved snapshot holds.
type Database struct{}

// Size returns the size of the file in bytes.
func (d *Database) Size() int64 { return 0 }
