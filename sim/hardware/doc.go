// Package hardware models what a cluster stands on: machines with power, the operating-system processes on them, disks,
// wall clocks, and the network between machines with its connections and faults.
//
// It leaves out processors, memory pressure, bandwidth, packets smaller than a message, TLS handshakes and name
// resolution.
//
// What always holds: a machine that loses power loses its memory and its unsynced files, and nothing else; a
// connection is reliable and ordered while both ends live; nobody learns of a silent end before a time-out; the death
// of a process reaches its peers one latency later; a refused dial costs a round trip, a dial into silence costs its
// time-out.
//
// A frame through a proxy costs one event, and pings on a connection on which nothing is wrong cost none; whatever may
// stop one of them first says so (settle and disturb).
//
// It is driven by callbacks. Components are handed a Process and live in its scope; Transport.Do waits for processes.
//
// Start reading at Machine and Process, then Conn, then Transport.
package hardware
