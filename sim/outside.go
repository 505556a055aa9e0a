package sim

// Outside runs fn, between two events, as an act of the outside world: what it emits and schedules has no cause
// inside the simulation. It is for whoever drives a run: steps of a scenario, a person at the prompt.
func (k *Kernel) Outside(fn func()) {
	was := k.cause
	k.cause = 0
	fn()
	k.cause = was
}
