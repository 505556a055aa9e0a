package shell

import (
	"fmt"
	"slices"
	"strings"

	"ksim/sim/cluster/spec"
)

// runFault does a fault. What is wrong with one target does not keep the others from theirs; the status is 1 then.
func runFault(c *call) int {
	if len(c.args) == 2 && (c.args[1] == "--help" || c.args[1] == "help") {
		for _, v := range faultVerbs() {
			c.printf("%-58s %s\n", v.usage, v.help)
		}
		return 0
	}
	p, issue := parseFault(c.args)
	if issue != nil {
		return c.failf(exitUsage, "%s", issue.message)
	}
	cluster := c.session.cluster
	for _, t := range p.allTargets() {
		if message := checkTarget(p.verb, t, cluster.Spec()); message != "" {
			return c.failf(exitUsage, "fault %s: %s", p.verb.name, message)
		}
	}
	status := 0
	try := func(err error) {
		if err != nil {
			status = c.failf(1, "fault %s: %v", p.verb.name, err)
		}
	}
	switch p.verb.name {
	case "partition":
		a, errA := resolveAll(cluster, p.groups[0])
		b, errB := resolveAll(cluster, p.groups[1])
		if errA != nil || errB != nil {
			try(errA)
			try(errB)
			return status
		}
		if both := slices.IndexFunc(a, func(m string) bool { return slices.Contains(b, m) }); both >= 0 {
			return c.failf(1, "fault partition: %s is in both groups", a[both])
		}
		try(cluster.Faults().Partition(a, b, p.oneWay, p.reject))
		return status
	case "heal":
		machines, err := resolveAll(cluster, p.targets)
		if err != nil {
			try(err)
			return status
		}
		try(cluster.Faults().Heal(machines))
		return status
	case "slow-link", "drop-link":
		machines, err := resolveAll(cluster, p.targets)
		if err == nil && len(machines) != 2 {
			err = fmt.Errorf("%s are %d machines, want 2", word(p.targets), len(machines))
		}
		if err != nil {
			try(err)
		} else if p.verb.name == "slow-link" {
			try(cluster.Faults().SlowLink(machines[0], machines[1], p.length, p.jitter))
		} else {
			try(cluster.Faults().DropLink(machines[0], machines[1], p.perMillion))
		}
		return status
	}
	for _, t := range p.targets {
		try(eachTarget(cluster, &p, t))
	}
	return status
}

// eachTarget does a fault to every machine that a target names.
func eachTarget(cluster Cluster, p *plan, t string) error {
	faults := cluster.Faults()
	component, place, ok := strings.Cut(t, "@")
	if !ok {
		component, place = "", t
	}
	if name, isPod := strings.CutPrefix(t, "pod/"); isPod && p.verb.name == "kill" {
		return faults.KillPod(p.namespace, name)
	}
	machines, err := resolve(cluster, place)
	if err != nil {
		return err
	}
	var wrong []string
	for _, m := range machines {
		if err := p.befall(faults, component, m); err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	if wrong != nil {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

func (p *plan) befall(faults Faults, component, machine string) error {
	switch p.verb.name {
	case "crash":
		return faults.Crash(machine)
	case "start":
		return faults.Start(machine)
	case "reboot":
		return faults.Reboot(machine, p.length)
	case "kill":
		return faults.Kill(component, machine)
	case "pause":
		return faults.Pause(component, machine, p.length)
	case "isolate":
		return faults.Isolate(machine)
	case "slow-disk":
		return faults.SlowDisk(machine, p.length)
	case "full-disk":
		return faults.FullDisk(machine)
	case "lose-disk":
		return faults.LoseDisk(machine)
	}
	return faults.SkewClock(machine, p.length)
}

// resolveAll resolves several targets, each machine once.
func resolveAll(cluster Cluster, targets []string) ([]string, error) {
	var all []string
	for _, t := range targets {
		machines, err := resolve(cluster, t)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			if !slices.Contains(all, m) {
				all = append(all, m)
			}
		}
	}
	return all, nil
}

// resolve returns the machines that a target names now.
func resolve(cluster Cluster, t string) ([]string, error) {
	kind, name, grouped := strings.Cut(t, "/")
	var machines []string
	switch {
	case !grouped:
		return []string{t}, nil
	case kind == "zone":
		for _, m := range cluster.Spec().Machines() {
			if m.Zone == name {
				machines = append(machines, m.Name)
			}
		}
	case kind == "role":
		machines = withRole(cluster.Spec(), spec.Role(name))
	case kind == "etcd":
		e := cluster.World().Etcd()
		for _, m := range e.Members {
			if name == "leader" && m.Name == e.Leader || name == "followers" && m.Up && m.Name != e.Leader {
				machines = append(machines, m.Machine)
			}
		}
		if machines == nil {
			return nil, fmt.Errorf("etcd has no %s now", strings.TrimSuffix(name, "s"))
		}
	case kind == "holder":
		holder := cluster.World().Holder(name)
		if holder == "" {
			return nil, fmt.Errorf("nobody holds the lock of %s now", name)
		}
		machines = []string{holder}
	}
	return machines, nil
}
