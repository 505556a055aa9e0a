package shell

import (
	"fmt"
	"sort"
	"strings"

	"ksim/sim"
	"ksim/sim/cluster/spec"
	"ksim/sim/hardware"
)

// command is a program that can be typed. One file each, or one for a family.
type command struct {
	name  string
	usage string // one line
	help  string // what it does, one sentence
	run   func(c *call) int
	// check says what is wrong with arguments that are known before the run; nil: nothing can be said.
	check func(args []string, s *spec.Cluster) []argIssue
}

// argIssue is something wrong with an argument, by its index; 0 is the command itself.
type argIssue struct {
	arg     int
	message string
}

// call is one execution of a command.
type call struct {
	session *Session
	proc    *sim.Proc
	args    []string // args[0] is the command
	exit    bool     // the script ends here
	streams
}

// commands lists all commands that can be typed.
func commands() []*command {
	return []*command{
		faultCommand(),
		kubectlCommand(),
		echoCommand(),
		sleepCommand(),
		dateCommand(),
		catCommand(),
		lsCommand(),
		cpCommand(),
		mvCommand(),
		rmCommand(),
		mkdirCommand(),
		cdCommand(),
		pwdCommand(),
		hostnameCommand(),
		grepCommand(),
		headCommand(),
		tailCommand(),
		wcCommand(),
		trueCommand(),
		falseCommand(),
		exitCommand(),
		helpCommand(),
	}
}

// later lists commands of the language that are not there yet.
func later() []string {
	return []string{
		"apt-get",
		"apt-mark",
		"crictl",
		"etcdctl",
		"etcdutl",
		"journalctl",
		"kubeadm",
		"sed",
		"service",
		"ssh",
		"systemctl",
	}
}

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

// Names returns the names of all commands, sorted.
func Names() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	sort.Strings(names)
	return names
}

// Help returns usage and help of every command.
func Help() string {
	var b strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&b, "%-60s %s\n", c.usage, c.help)
	}
	return b.String()
}

func helpCommand() *command {
	return &command{name: "help", usage: "help", help: "list the commands", run: func(c *call) int {
		c.printf("%s", Help())
		return 0
	}}
}

func (c *call) printf(format string, args ...any) { fmt.Fprintf(c.stdout, format, args...) }

// failf writes a message to standard error and returns the exit status.
func (c *call) failf(status int, format string, args ...any) int {
	fmt.Fprintf(c.stderr, format+"\n", args...)
	return status
}

// external runs main as a process of its own on the session's machine and waits for it; its exit status is what main
// returns. A process that is killed from outside has the status of its signal.
func (c *call) external(name string, main func(p *hardware.Process, proc *sim.Proc) int) int {
	done := sim.NewFuture[int]()
	process := c.session.machine.Start(name, func(p *hardware.Process) {
		p.Go(name, func(proc *sim.Proc) {
			proc.Because(c.proc.Kernel().Cause())
			code := main(p, proc)
			done.Resolve(code, nil)
			p.Exit(code, "")
		})
	})
	process.Wait(c.proc.Scope(), func(status hardware.ExitStatus) { done.Resolve(status.Code, nil) })
	code, _ := done.Await(c.proc, sim.Forever) // cannot fail: there is no deadline
	return code
}
