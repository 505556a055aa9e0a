// Package haproxy models the load balancer in front of the API servers: a TCP proxy with health checks.
//
// Models HAProxy 2.6 (configuration manual: mode tcp, balance roundrobin, option httpchk, option redispatch, retries,
// timeout connect/client/server/check, default-server inter fall rise). Leaves out: HTTP mode, ACLs, weights, slow
// start, queues, stick tables, statistics.
//
// What always holds: a connection stays on the server that was chosen for it until one of its ends goes away; a
// server that is DOWN gets no new connections and loses none.
//
// It is driven by callbacks in its process's scope.
//
// Start reading at Main.
package haproxy
