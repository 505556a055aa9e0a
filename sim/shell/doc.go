// Package shell is the command language: what one types into a simulated cluster, in scenarios, drills and at the
// prompt.
//
// It models a shell session on a machine (quoting, variables, command substitution, && || ; pipes, redirection to the
// machine's own files) and the programs that people run in it: kubectl and others, one file each, and `fault`, which
// is the outside world.
//
// It leaves out loops, functions, globbing, job control; each is an error that says so.
//
// What always holds: a command sees only what it would see on its machine (its files, its network), takes virtual
// time, and ends with the exit status and the messages of the real program; `fault` alone reaches past that.
//
// It is driven by processes: a script runs as one, in the lifetime of its machine. Start reading at Session.Run, then
// commands.
package shell
