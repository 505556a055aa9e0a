package sim

import (
	"fmt"
	"time"
)

// Time is virtual time: nanoseconds since the kernel was made.
type Time int64

// Forever stands for "no deadline" wherever a wait takes a duration.
const Forever time.Duration = -1

// Add returns t + d.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// Duration returns the time since the kernel was made.
func (t Time) Duration() time.Duration { return time.Duration(t) }

// String writes the time as minutes, seconds and milliseconds, as in 1:02.500.
func (t Time) String() string {
	sign := ""
	if t < 0 {
		sign, t = "-", -t
	}
	milli := int64(t) / int64(time.Millisecond)
	return fmt.Sprintf("%s%d:%02d.%03d", sign, milli/60000, milli/1000%60, milli%1000)
}
