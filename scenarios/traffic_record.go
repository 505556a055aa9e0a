package scenarios

import (
	"time"

	"ksim/sim"
)

// shot is one request of a probe.
type shot struct {
	number int
	at     time.Duration // when it was sent
	ended  time.Duration // when its outcome was known; undecided: it is not
	what   string        // went wrong; "": nothing
	to     string        // the machine that it was sent to, "" if that is not known
	rule   sim.EventID   // what led it there: the write that made the rule of a Service
	cause  sim.EventID   // of the outcome
}

const undecided time.Duration = -1

// record is what a probe has met.
type record struct {
	shots   []*shot // sent, in order, from the first that is not decided on
	numbers int

	ok, failed int
	up         bool // the last request that is decided, by the time when it was sent
	latest     int  // its number
	lastOK     time.Duration
	longest    time.Duration

	spells []Spell
	open   bool          // the last spell goes on
	row    int           // of requests in a row that went well since the last that failed
	again  time.Duration // from when on they did, see followOK
	rule   sim.EventID   // of the last that failed; 0: requests have gone by another since
	sentOK time.Duration // when the last that went well was sent
}

// send notes that a request is sent.
func (r *record) send(now time.Duration) *shot {
	r.numbers++
	s := &shot{number: r.numbers, at: now, ended: undecided}
	r.shots = append(r.shots, s)
	return s
}

// note counts a request that was just decided. It returns the spells that have begun or ended with it: requests are
// looked at in the order in which they were sent, so one that hangs holds up those behind it.
func (r *record) note(s *shot) (news []*Spell) {
	if s.number > r.latest {
		r.up, r.latest = s.what == "", s.number
	}
	if s.what == "" {
		if r.ok+r.failed > 0 {
			r.longest = max(r.longest, s.ended-r.lastOK)
		}
		r.ok++
		r.lastOK = s.ended
	} else {
		r.failed++
	}
	for len(r.shots) > 0 && r.shots[0].ended != undecided {
		if spell := r.follow(r.shots[0]); spell != nil {
			news = append(news, spell)
		}
		r.shots = r.shots[1:]
	}
	return news
}

// A spell is over after that many requests in a row went well and that long. chosen: so that the tenth part of all
// requests failing is one spell and not many; see also enough.
const (
	calmRow  = 30
	calmTime = 2 * time.Second
)

// enough reports whether requests went well for so long that the spell is over: for times longer, too, than it usually
// was from one failure to the next.
func (r *record) enough(s *Spell, times int) bool { return r.row*s.Failed >= times*s.Sent }

// follow looks at the next request in order; it returns the spell that begins or ends with it.
func (r *record) follow(s *shot) *Spell {
	if s.what == "" {
		return r.followOK(s)
	}
	news := !r.open
	if news {
		r.spells, r.open = append(r.spells, Spell{From: s.at, began: s.cause}), true
	}
	spell := &r.spells[len(r.spells)-1]
	spell.Sent += r.row + 1
	spell.Failed++
	r.row, r.rule = 0, s.rule
	spell.count(s)
	if news {
		return spell
	}
	return nil
}

// slow is how long a request may take that goes well and means that all is well. chosen: TCP's first repetition.
const slow = time.Second

// followOK looks at a request that went well. Where a part of them fails, several go well before the trouble is over;
// it is when requests go by another rule, and when those have ended that were long on their way.
func (r *record) followOK(s *shot) *Spell {
	gap := s.at - r.sentOK
	r.sentOK = s.at
	if !r.open {
		return nil
	}
	spell := &r.spells[len(r.spells)-1]
	spell.Gap = max(spell.Gap, gap)
	if r.row++; r.row == 1 || r.rule != 0 && s.rule != r.rule {
		r.again, spell.ended = s.at, s.cause
		if s.rule != r.rule {
			r.rule = 0
		}
	}
	if s.ended-s.at > slow && s.ended > r.again {
		r.again, spell.ended = s.ended, s.cause
	}
	if r.row < calmRow || s.at-r.again < calmTime || !r.enough(spell, 10) {
		return nil
	}
	spell.To, r.open, r.row = r.again, false, 0
	return spell
}

// count adds a failure to those of the spell.
func (s *Spell) count(failed *shot) {
	for i := range s.Failures {
		if f := &s.Failures[i]; f.What == failed.what && f.Machine == failed.to {
			f.Count++
			return
		}
	}
	s.Failures = append(s.Failures, Failure{failed.what, failed.to, 1})
}

// finish returns the spells as they stand at the end of the run. The last one counts as over if requests went well for
// a few times longer than it usually was from one failure to the next.
func (r *record) finish(end time.Duration) []Spell {
	if !r.open {
		return r.spells
	}
	spell := &r.spells[len(r.spells)-1]
	if spell.To = r.again; r.row == 0 || !r.enough(spell, 3) {
		spell.To, spell.Open = end, true
		spell.Gap = max(spell.Gap, end-r.sentOK)
	}
	return r.spells
}
