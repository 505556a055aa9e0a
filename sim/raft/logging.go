package raft

import (
	"fmt"

	"ksim/sim"
)

// LogLine is one line that a member has logged.
type LogLine struct {
	T     sim.Time
	Level string // info, warn, error, panic, fatal
	Text  string
}

// maxLog bounds a member's log; the oldest half goes first. chosen.
const maxLog = 2000

// memberLog is what a member has logged. Lines are rare: nothing is logged for a heartbeat or a write.
type memberLog struct {
	kernel *sim.Kernel
	lines  []LogLine
	sink   func(LogLine)
}

func (l *memberLog) add(level, text string) {
	if len(l.lines) >= maxLog {
		l.lines = append(l.lines[:0:0], l.lines[maxLog/2:]...)
	}
	line := LogLine{l.kernel.Now(), level, text}
	l.lines = append(l.lines, line)
	if l.sink != nil {
		l.sink(line)
	}
}

func (l *memberLog) info(format string, args ...any) { l.add("info", fmt.Sprintf(format, args...)) }
func (l *memberLog) warn(format string, args ...any) { l.add("warn", fmt.Sprintf(format, args...)) }

// raftPanic is what the raft library's panics are raised as, so that they end the member and not the simulation.
type raftPanic struct{ text string }

// raftLogger hands the library's messages to the member's log. Its debug messages are not even formatted.
type raftLogger struct{ log *memberLog }

func (r raftLogger) Debug(...any)                     {}
func (r raftLogger) Debugf(string, ...any)            {}
func (r raftLogger) Info(v ...any)                    { r.log.add("info", fmt.Sprint(v...)) }
func (r raftLogger) Infof(format string, v ...any)    { r.log.info(format, v...) }
func (r raftLogger) Warning(v ...any)                 { r.log.add("warn", fmt.Sprint(v...)) }
func (r raftLogger) Warningf(format string, v ...any) { r.log.warn(format, v...) }
func (r raftLogger) Error(v ...any)                   { r.log.add("error", fmt.Sprint(v...)) }
func (r raftLogger) Errorf(format string, v ...any)   { r.log.add("error", fmt.Sprintf(format, v...)) }
func (r raftLogger) Fatal(v ...any)                   { r.Panic(v...) }
func (r raftLogger) Fatalf(format string, v ...any)   { r.Panicf(format, v...) }
func (r raftLogger) Panic(v ...any)                   { panic(raftPanic{fmt.Sprint(v...)}) }
func (r raftLogger) Panicf(format string, args ...any) {
	panic(raftPanic{fmt.Sprintf(format, args...)})
}
