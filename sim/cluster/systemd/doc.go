// Package systemd models the init of a machine: the services that start at boot, are restarted when they end, and are
// stopped at shutdown.
//
// Models systemd's service manager (systemd.service(5), systemd.unit(5), v252): ExecStart, Restart, RestartSec, the
// start limit, TimeoutStopSec, enablement, and that a changed unit file counts only after daemon-reload. Leaves out:
// ordering and dependencies between units, sockets, timers, cgroups, unit types other than services.
//
// What always holds: a service has at most one process; what an administrator stopped stays stopped until started or
// the next boot; unit files are ordinary files of the machine.
//
// It is driven by callbacks in the machine's scope.
//
// Start reading at Manager.
package systemd
