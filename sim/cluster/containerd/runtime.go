package containerd

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"ksim/sim"
	"ksim/sim/hardware"
)

// Models containerd 2.x behind the CRI (runtime.v1): sandboxes, containers, images, their states and delays. Leaves
// out: layers, snapshots, checkpoints, metrics, streaming.

// Program is a simulated component that a container may run, such as kube-apiserver. It is the main function of a
// process of the machine; the end of the process is the end of the container. argv is without the program's name.
type Program func(p *hardware.Process, argv []string)

// Timing says how long the verbs take. Each is drawn uniformly from [Min, Max].
type Timing struct {
	Sandbox, Create, Start, Stop, Pull Span
}

// Span is a range of durations.
type Span struct{ Min, Max time.Duration }

// DefaultTiming follows the runtime of the recorded kubelets (truth/kubelet: a start takes 0.05 s); a real one with a
// network plugin takes some tenths of a second for a sandbox.
func DefaultTiming() Timing {
	return Timing{
		Sandbox: Span{8 * time.Millisecond, 20 * time.Millisecond},
		Create:  Span{2 * time.Millisecond, 6 * time.Millisecond},
		Start:   Span{45 * time.Millisecond, 60 * time.Millisecond},
		// chosen: a server that closes its listeners and leaves.
		Stop: Span{20 * time.Millisecond, 120 * time.Millisecond},
		// chosen: asking the registry for the digest of an image that is there (imagePullPolicy Always).
		Pull: Span{200 * time.Millisecond, 600 * time.Millisecond},
	}
}

// Options says what a runtime is made for.
type Options struct {
	Programs map[string]Program // by the base name of the command or the image's name
	PodCIDR  string             // of the pods of this machine, as 10.244.1.0/24
	Timing   Timing             // zero: DefaultTiming
	OnChange func()             // called when what an observer can see has changed
}

// Errors of the verbs, as the kubelet's client words them.
var (
	// ErrUnavailable is the answer when nobody listens on the socket.
	ErrUnavailable = errors.New(`rpc error: code = Unavailable desc = connection error: ` +
		`desc = "transport: Error while dialing: dial unix /run/containerd/containerd.sock: connect: connection refused"`)
	// ErrEOF is the answer to a call that was under way when containerd ended.
	ErrEOF = errors.New("rpc error: code = Unavailable desc = error reading from server: EOF")
	// ErrDeadline is the answer when containerd did not answer in time.
	ErrDeadline = errors.New("rpc error: code = DeadlineExceeded desc = context deadline exceeded")
	// ErrNotFound is the answer for a sandbox or container that is not there.
	ErrNotFound = errors.New("rpc error: code = NotFound desc = not found")
)

// Runtime is a machine's containers and the daemon that looks after them. Make one per machine, before anything boots
// on it.
type Runtime struct {
	machine  *hardware.Machine
	kernel   *sim.Kernel
	random   *sim.Stream
	options  Options
	prefix   netip.Prefix
	nextAddr int
	serial   uint64

	daemon   *hardware.Process // nil: not running
	since    sim.Time          // when the daemon became ready, or ended
	pending  []*call
	bootID   string     // whose containers are known
	boot     *sim.Scope // whose end is noticed
	pods     map[types.UID]*podRecord
	order    []*podRecord // pods in order of their first sandbox
	images   map[string]bool
	listener []*subscription
	changes  uint64
}

// stateFile stands for containerd's metadata: when the disk has lost it, nothing is known of earlier containers.
const stateFile = "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"

// podRecord is what the runtime has of one pod.
type podRecord struct {
	uid        types.UID
	sandboxes  []*Sandbox
	containers []*Container
}

type subscription struct {
	scope *sim.Scope
	fn    func(uid types.UID)
}

// New makes the runtime of a machine.
func New(m *hardware.Machine, options Options) *Runtime {
	k := m.Datacenter().Kernel()
	if options.Timing == (Timing{}) {
		options.Timing = DefaultTiming()
	}
	r := &Runtime{machine: m, kernel: k, random: k.Rand("containerd/" + m.Name), options: options,
		pods: map[types.UID]*podRecord{}, images: map[string]bool{}}
	if options.PodCIDR == "" {
		options.PodCIDR = "10.244.0.0/24"
	}
	prefix, err := netip.ParsePrefix(options.PodCIDR)
	sim.Assert(err == nil, "pod CIDR %q: %v", options.PodCIDR, err)
	r.prefix = prefix.Masked()
	m.Route(prefix, r.socket)
	return r
}

// Main is the daemon's main function.
func (r *Runtime) Main(p *hardware.Process, _ []string) {
	// chosen: the plugins are loaded and the socket is open after about that time.
	p.Scope().After(r.random.Between(80*time.Millisecond, 150*time.Millisecond), "containerd ready", func() {
		r.recover()
		r.daemon, r.since = p, r.kernel.Now()
	})
	p.Scope().OnKill(func() {
		if r.daemon == p {
			r.daemon, r.since = nil, r.kernel.Now()
			r.failPending()
		}
	})
	p.OnTerm(func() { p.Exit(0, "terminated") })
}

// Up reports whether the daemon answers, and since when it does or does not.
func (r *Runtime) Up() (up bool, since sim.Time) {
	return r.daemon != nil && !r.daemon.Stopped(), r.since
}

// recover finds what a reboot has left: nothing of the earlier boot runs (containerd's internal/cri/server/restart.go).
func (r *Runtime) recover() {
	disk := r.machine.Disk()
	if !disk.Exists(stateFile) {
		r.pods, r.order, r.images = map[types.UID]*podRecord{}, nil, map[string]bool{}
		_ = disk.WriteFileSync(stateFile, []byte("bolt")) // on a full disk the state is simply new again next time
		r.changed()
	}
	if r.bootID == r.machine.BootID() {
		return
	}
	r.bootID = r.machine.BootID()
	for _, pod := range r.order {
		for _, s := range pod.sandboxes {
			s.Ready, s.IP = false, ""
		}
		for _, c := range pod.containers {
			if c.State == Running || c.lost {
				c.State, c.ExitCode, c.Reason = Exited, 255, "Unknown"
				c.FinishedAt, c.lost = r.machine.Clock().Now(), false
			}
		}
	}
	r.changed()
}

func (r *Runtime) changed() {
	r.changes++
	if r.options.OnChange != nil {
		r.options.OnChange()
	}
}

// Subscribe has fn called at once whenever a container or sandbox of a pod starts or ends, until scope s dies: what a
// poll would find is computed from it by whoever polls. fn must only schedule, because it also runs while s is
// frozen.
func (r *Runtime) Subscribe(s *sim.Scope, fn func(uid types.UID)) {
	sub := &subscription{s, fn}
	r.listener = append(r.listener, sub)
	s.OnKill(func() {
		for i, other := range r.listener {
			if other == sub {
				r.listener = append(r.listener[:i:i], r.listener[i+1:]...)
				return
			}
		}
	})
}

func (r *Runtime) notify(uid types.UID) {
	r.changed()
	for _, sub := range r.listener {
		sub.fn(uid)
	}
}

// call is a verb under way in the daemon.
type call struct {
	runtime *Runtime
	work    func() error
	done    sim.Future[struct{}]
}

// requestTimeout: 2 min, the kubelet's runtimeRequestTimeout (pkg/kubelet/apis/config/v1beta1/defaults.go, v1.36).
const requestTimeout = 2 * time.Minute

// invoke runs work in the daemon after d, as one verb, and waits for its outcome.
func (r *Runtime) invoke(p *sim.Proc, d time.Duration, work func() error) error {
	return r.invokeWithin(p, d, requestTimeout, work)
}

func (r *Runtime) invokeWithin(p *sim.Proc, d, within time.Duration, work func() error) error {
	if r.daemon == nil {
		return ErrUnavailable
	}
	c := r.begin(work)
	r.daemon.Scope().AfterRun(d, "cri", c)
	return r.await(p, c, within)
}

// Run does the verb's work in the daemon.
func (c *call) Run() { c.runtime.finish(c, c.work()) }

func (r *Runtime) begin(work func() error) *call {
	c := &call{runtime: r, work: work}
	r.pending = append(r.pending, c)
	return c
}

func (r *Runtime) finish(c *call, err error) {
	if i := slices.Index(r.pending, c); i >= 0 {
		r.pending = slices.Delete(r.pending, i, i+1)
	}
	c.done.Hand(struct{}{}, err)
}

func (r *Runtime) await(p *sim.Proc, c *call, within time.Duration) error {
	_, err := c.done.Await(p, within)
	if errors.Is(err, sim.ErrTimeout) {
		r.finish(c, ErrDeadline)
		return ErrDeadline
	}
	return err
}

func (r *Runtime) failPending() {
	pending := r.pending
	r.pending = nil
	for _, c := range pending {
		c.done.Resolve(struct{}{}, ErrEOF)
	}
}

func (r *Runtime) draw(s Span) time.Duration { return r.random.Between(s.Min, s.Max) }

// newID makes an ID of 64 hexadecimal digits, behind a prefix.
func (r *Runtime) newID(prefix string) string {
	r.serial++
	var sum [32]byte
	for i, part := range [...]uint64{r.random.Uint64(), r.random.Uint64(), r.random.Uint64(), r.serial} {
		binary.BigEndian.PutUint64(sum[8*i:], part)
	}
	var text [len(statusPrefix) + 64]byte
	return string(hex.AppendEncode(append(text[:0], prefix...), sum[:]))
}

// address hands out the next address of the pod network, as host-local does: round the range.
func (r *Runtime) address() string {
	size := 1 << (r.prefix.Addr().BitLen() - r.prefix.Bits())
	for range size {
		r.nextAddr = (r.nextAddr + 1) % size
		if r.nextAddr < 2 || r.nextAddr == size-1 {
			continue
		}
		b := r.prefix.Addr().As4()
		n := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		n += uint32(r.nextAddr)
		ip := netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}).String()
		if !r.used(ip) {
			return ip
		}
	}
	return ""
}

func (r *Runtime) used(ip string) bool {
	for _, pod := range r.order {
		for _, s := range pod.sandboxes {
			if s.IP == ip {
				return true
			}
		}
	}
	return false
}

// Changes counts what an observer can see.
func (r *Runtime) Changes() uint64 { return r.changes }
