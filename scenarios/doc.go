// Package scenarios holds the scenario format, its checks, the runner, expectations and verdicts, and the built-in
// scenarios.
//
// It models nothing of Kubernetes: it reads what a scenario wants (Parse), has it built and driven (Run) and judges it
// (Result).
//
// It leaves out reading files and terminals: whoever calls hands over bytes and gets a Result.
//
// What always holds: a scenario with any mistake does not run, and all its mistakes are told at once, each with its
// place; a run of the same scenario, seed and parameters gives the same Result.
//
// It is driven from outside the simulation: Run steps the kernel and looks at conditions between two events. Start
// reading at Scenario, then Parse, then Run.
package scenarios
