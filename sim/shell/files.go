package shell

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// The commands on files and text of coreutils 9 and grep, as far as courses use them.

func trueCommand() *command {
	return &command{name: "true", usage: "true", help: "succeed", run: func(*call) int { return 0 }}
}

func falseCommand() *command {
	return &command{name: "false", usage: "false", help: "fail", run: func(*call) int { return 1 }}
}

func exitCommand() *command {
	return &command{name: "exit", usage: "exit [STATUS]", help: "end the script", run: func(c *call) int {
		c.exit = true
		if len(c.args) < 2 {
			return c.session.status
		}
		status, err := strconv.Atoi(c.args[1])
		if err != nil {
			return c.failf(exitUsage, "bash: exit: %s: numeric argument required", c.args[1])
		}
		return status & 255
	}}
}

func echoCommand() *command {
	return &command{name: "echo", usage: "echo [-n] TEXT...", help: "write text", run: func(c *call) int {
		args, end := c.args[1:], "\n"
		if len(args) > 0 && args[0] == "-n" {
			args, end = args[1:], ""
		}
		c.printf("%s%s", word(args), end)
		return 0
	}}
}

func sleepCommand() *command {
	return &command{
		name:  "sleep",
		usage: "sleep TIME",
		help:  "wait, in virtual time: 30, 30s, 5m",
		run: func(c *call) int {
			if len(c.args) < 2 {
				return c.failf(1, "sleep: missing operand")
			}
			for _, text := range c.args[1:] {
				length, ok := parseSleep(text)
				if !ok {
					return c.failf(1, "sleep: invalid time interval %s", "'"+text+"'")
				}
				c.proc.Sleep(length)
			}
			return 0
		},
	}
}

func parseSleep(text string) (time.Duration, bool) {
	if last := text[max(len(text)-1, 0):]; last != "s" && last != "m" && last != "h" {
		text += "s"
	}
	length, err := time.ParseDuration(text)
	return length, err == nil && length >= 0
}

func dateCommand() *command {
	return &command{name: "date", usage: "date [-u] [+FORMAT]", help: "the machine's wall clock", run: func(c *call) int {
		now := c.session.machine.Clock().Now().UTC()
		for _, arg := range c.args[1:] {
			if format, ok := strings.CutPrefix(arg, "+"); ok {
				replace := strings.NewReplacer("%Y", now.Format("2006"), "%m", now.Format("01"), "%d", now.Format("02"),
					"%H", now.Format("15"), "%M", now.Format("04"), "%S", now.Format("05"), "%F", now.Format("2006-01-02"),
					"%T", now.Format("15:04:05"), "%s", strconv.FormatInt(now.Unix(), 10), "%%", "%")
				c.printf("%s\n", replace.Replace(format))
				return 0
			}
		}
		c.printf("%s\n", now.Format("Mon Jan _2 15:04:05 UTC 2006"))
		return 0
	}}
}

func pwdCommand() *command {
	return &command{name: "pwd", usage: "pwd", help: "the current directory", run: func(c *call) int {
		c.printf("%s\n", c.session.dir)
		return 0
	}}
}

func hostnameCommand() *command {
	return &command{name: "hostname", usage: "hostname", help: "the machine's name", run: func(c *call) int {
		c.printf("%s\n", c.session.machine.Name)
		return 0
	}}
}

func cdCommand() *command {
	return &command{name: "cd", usage: "cd [DIR]", help: "change the directory", run: func(c *call) int {
		dir := Home
		if len(c.args) > 1 {
			dir = c.session.path(c.args[1])
		}
		if dir != "/" && dir != Home && !c.isDir(dir) {
			return c.failf(1, "bash: cd: %s: No such file or directory", c.args[1])
		}
		c.session.dir = dir
		c.session.set("PWD", dir)
		return 0
	}}
}

func (c *call) isDir(dir string) bool { return len(c.session.machine.Disk().List(dir)) > 0 }

func (c *call) read(name string) (string, bool) {
	data, err := c.session.machine.Disk().ReadFile(c.session.path(name))
	if err != nil {
		if c.isDir(c.session.path(name)) {
			c.failf(1, "%s: %s: Is a directory", c.args[0], name)
		} else {
			c.failf(1, "%s: %s: No such file or directory", c.args[0], name)
		}
		return "", false
	}
	return string(data), true
}

func catCommand() *command {
	return &command{name: "cat", usage: "cat [FILE...]", help: "write files", run: func(c *call) int {
		if len(c.args) == 1 {
			c.printf("%s", c.stdin)
			return 0
		}
		status := 0
		for _, name := range c.args[1:] {
			if text, ok := c.read(name); ok {
				c.printf("%s", text)
			} else {
				status = 1
			}
		}
		return status
	}}
}

func lsCommand() *command {
	return &command{name: "ls", usage: "ls [DIR|FILE...]", help: "list files", run: func(c *call) int {
		names := c.args[1:]
		names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return strings.HasPrefix(n, "-") })
		if len(names) == 0 {
			names = []string{c.session.dir}
		}
		status := 0
		for _, name := range names {
			full := c.session.path(name)
			disk := c.session.machine.Disk()
			switch {
			case disk.Exists(full) && !c.isDir(full):
				c.printf("%s\n", name)
			case c.isDir(full):
				for _, entry := range entries(full, disk.List(full)) {
					c.printf("%s\n", entry)
				}
			case full != Home && full != "/":
				status = c.failf(exitUsage, "ls: cannot access '%s': No such file or directory", name)
			}
		}
		return status
	}}
}

// entries makes names in a directory of paths at or below it.
func entries(dir string, paths []string) []string {
	var names []string
	for _, p := range paths {
		p = strings.TrimPrefix(strings.TrimPrefix(p, strings.TrimSuffix(dir, "/")), "/")
		name, _, _ := strings.Cut(p, "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func cpCommand() *command {
	return &command{name: "cp", usage: "cp FILE TO", help: "copy a file", run: func(c *call) int {
		args := withoutFlags(c.args[1:])
		if len(args) != 2 {
			return c.failf(1, "cp: want a file and where to copy it to")
		}
		data, err := c.session.machine.Disk().ReadFile(c.session.path(args[0]))
		if err != nil {
			return c.failf(1, "cp: cannot stat '%s': No such file or directory", args[0])
		}
		if err := c.session.machine.Disk().WriteFile(c.destination(args), data); err != nil {
			return c.failf(1, "cp: cannot create regular file '%s': %v", args[1], err)
		}
		return 0
	}}
}

func mvCommand() *command {
	return &command{name: "mv", usage: "mv FILE TO", help: "rename a file or directory", run: func(c *call) int {
		args := withoutFlags(c.args[1:])
		if len(args) != 2 {
			return c.failf(1, "mv: want a file and its new name")
		}
		if err := c.session.machine.Disk().Rename(c.session.path(args[0]), c.destination(args)); err != nil {
			return c.failf(1, "mv: cannot stat '%s': No such file or directory", args[0])
		}
		return 0
	}}
}

// destination is where cp and mv put their file: in a directory, or under a new name.
func (c *call) destination(args []string) string {
	to := c.session.path(args[1])
	if strings.HasSuffix(args[1], "/") || c.isDir(to) {
		return to + "/" + path.Base(c.session.path(args[0]))
	}
	return to
}

func withoutFlags(args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(a string) bool { return strings.HasPrefix(a, "-") && a != "-" })
}

func rmCommand() *command {
	return &command{name: "rm", usage: "rm [-r] [-f] FILE...", help: "remove files", run: func(c *call) int {
		flags := pflag.NewFlagSet("rm", pflag.ContinueOnError)
		recursive := flags.BoolP("recursive", "r", false, "")
		flags.BoolVarP(recursive, "Recursive", "R", false, "")
		force := flags.BoolP("force", "f", false, "")
		if err := flags.Parse(c.args[1:]); err != nil {
			return c.failf(1, "rm: %v", err)
		}
		status := 0
		for _, name := range flags.Args() {
			full := c.session.path(name)
			if c.isDir(full) && !*recursive {
				status = c.failf(1, "rm: cannot remove '%s': Is a directory", name)
			} else if !c.session.machine.Disk().Remove(full) && !*force {
				status = c.failf(1, "rm: cannot remove '%s': No such file or directory", name)
			}
		}
		return status
	}}
}

func mkdirCommand() *command {
	return &command{
		name:  "mkdir",
		usage: "mkdir [-p] DIR",
		help:  "directories appear with their first file",
		run: func(*call) int {
			return 0
		},
	}
}

// input is the text of the files named, or what came through the pipe.
func (c *call) input(files []string) (string, bool) {
	if len(files) == 0 {
		return c.stdin, true
	}
	var all strings.Builder
	for _, name := range files {
		text, ok := c.read(name)
		if !ok {
			return "", false
		}
		all.WriteString(text)
	}
	return all.String(), true
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func grepCommand() *command {
	return &command{
		name:  "grep",
		usage: "grep [-i] [-v] [-c] [-q] [-E] PATTERN [FILE...]",
		help:  "lines that match",
		run: func(c *call) int {
			flags := pflag.NewFlagSet("grep", pflag.ContinueOnError)
			ignore := flags.BoolP("ignore-case", "i", false, "")
			invert := flags.BoolP("invert-match", "v", false, "")
			count := flags.BoolP("count", "c", false, "")
			quiet := flags.BoolP("quiet", "q", false, "")
			fixed := flags.BoolP("fixed-strings", "F", false, "")
			flags.BoolP("extended-regexp", "E", false, "")
			if err := flags.Parse(c.args[1:]); err != nil || flags.NArg() == 0 {
				return c.failf(exitUsage, "Usage: grep [OPTION]... PATTERNS [FILE]...")
			}
			pattern := flags.Arg(0)
			if *fixed {
				pattern = regexp.QuoteMeta(pattern)
			}
			if *ignore {
				pattern = "(?i)" + pattern
			}
			re, err := regexp.Compile(pattern)
			if err != nil {
				return c.failf(exitUsage, "grep: %v", err)
			}
			text, ok := c.input(flags.Args()[1:])
			if !ok {
				return exitUsage
			}
			matches := slices.DeleteFunc(lines(text), func(line string) bool { return re.MatchString(line) == *invert })
			switch {
			case *count:
				c.printf("%d\n", len(matches))
			case !*quiet:
				c.lines(matches)
			}
			if len(matches) == 0 {
				return 1
			}
			return 0
		},
	}
}

func (c *call) lines(list []string) {
	for _, line := range list {
		c.printf("%s\n", line)
	}
}

func headCommand() *command {
	return &command{name: "head", usage: "head [-n N] [FILE...]", help: "the first lines", run: func(c *call) int {
		return c.part(func(all []string, n int) []string { return all[:min(n, len(all))] })
	}}
}

func tailCommand() *command {
	return &command{name: "tail", usage: "tail [-n N] [FILE...]", help: "the last lines", run: func(c *call) int {
		return c.part(func(all []string, n int) []string { return all[max(len(all)-n, 0):] })
	}}
}

// part writes some lines of the input; ten unless -n or -N says otherwise.
func (c *call) part(choose func(all []string, n int) []string) int {
	n := 10
	var files []string
	for i := 1; i < len(c.args); i++ {
		arg := c.args[i]
		if arg == "-n" && i+1 < len(c.args) {
			i++
			arg = "-n" + c.args[i]
		}
		if number, ok := strings.CutPrefix(arg, "-"); ok {
			var err error
			if n, err = strconv.Atoi(strings.TrimPrefix(number, "n")); err != nil {
				return c.failf(1, "%s: invalid number of lines: '%s'", c.args[0], number)
			}
			continue
		}
		files = append(files, arg)
	}
	text, ok := c.input(files)
	if !ok {
		return 1
	}
	c.lines(choose(lines(text), n))
	return 0
}

func wcCommand() *command {
	return &command{
		name:  "wc",
		usage: "wc [-l] [-w] [-c] [FILE...]",
		help:  "count lines, words, bytes",
		run: func(c *call) int {
			files := withoutFlags(c.args[1:])
			text, ok := c.input(files)
			if !ok {
				return 1
			}
			counts := []int{strings.Count(text, "\n"), len(strings.Fields(text)), len(text)}
			var shown []string
			for i, flag := range []string{"-l", "-w", "-c"} {
				if slices.Contains(c.args, flag) || len(files) == len(c.args)-1 {
					shown = append(shown, strconv.Itoa(counts[i]))
				}
			}
			c.printf("%s\n", strings.Join(append(shown, files...), " "))
			return 0
		},
	}
}
