package hardware

import (
	"errors"
	"slices"
	"sort"
	"strings"
	"time"

	"ksim/sim"
)

// ErrNoSpace is what a write to a full disk returns.
var ErrNoSpace = errors.New("no space left on device")

// ErrNotExist is what reading a file that is not there returns.
var ErrNotExist = errors.New("no such file or directory")

// Content is what a file holds; it is immutable. Files that only programs of the simulation read may hold something
// other than Bytes: a snapshot, a database.
type Content interface{ Size() int64 }

// Bytes is the content of an ordinary file.
type Bytes []byte

// Size returns the length in bytes.
func (b Bytes) Size() int64 { return int64(len(b)) }

// Disk is a machine's disk. What is written is visible at once and survives a crash once it is synced; creating,
// removing and renaming count as journalled, so they survive. Syncs are done one after the other.
type Disk struct {
	machine   *Machine
	fsync     time.Duration // without faults
	slow      time.Duration // instead of fsync, if > 0
	full      bool
	files     map[string]*file
	paths     []string // sorted
	logs      map[string]*Log
	busyUntil sim.Time
	watches   []*diskWatch
	free      *fsync
}

type file struct {
	content Content
	synced  Content // nil: never
}

type diskWatch struct {
	dir   string
	scope *sim.Scope
	fn    func(path string)
}

func newDisk(m *Machine, fsync time.Duration) *Disk {
	return &Disk{machine: m, fsync: fsync, files: map[string]*file{}, logs: map[string]*Log{}}
}

// Write sets a file's content, creating it if needed. Errors: ErrNoSpace.
func (d *Disk) Write(path string, content Content) error {
	if d.full {
		return ErrNoSpace
	}
	f := d.files[path]
	if f == nil {
		f = &file{}
		d.files[path] = f
		i := sort.SearchStrings(d.paths, path)
		d.paths = append(d.paths, "")
		copy(d.paths[i+1:], d.paths[i:])
		d.paths[i] = path
	}
	f.content = content
	d.notify(path)
	return nil
}

// WriteFile is Write for bytes.
func (d *Disk) WriteFile(path string, data []byte) error { return d.Write(path, Bytes(data)) }

// WriteFileSync writes bytes that count as synced at once: what was put there before the story begins.
func (d *Disk) WriteFileSync(path string, data []byte) error {
	err := d.Write(path, Bytes(data))
	if err == nil {
		d.files[path].synced = d.files[path].content
	}
	return err
}

// Read returns a file's content. Errors: ErrNotExist.
func (d *Disk) Read(path string) (Content, error) {
	if f := d.files[path]; f != nil {
		return f.content, nil
	}
	return nil, ErrNotExist
}

// ReadFile returns the bytes of an ordinary file. Errors: ErrNotExist.
func (d *Disk) ReadFile(path string) ([]byte, error) {
	content, err := d.Read(path)
	if err != nil {
		return nil, err
	}
	b, _ := content.(Bytes)
	return b, nil
}

// Exists reports whether there is a file of that path, or a directory with files in it.
func (d *Disk) Exists(path string) bool {
	return d.files[path] != nil || d.logs[path] != nil || len(d.List(path)) > 0
}

// List returns the paths of all files below dir, sorted.
func (d *Disk) List(dir string) []string {
	prefix := strings.TrimSuffix(dir, "/") + "/"
	i := sort.SearchStrings(d.paths, prefix)
	j := i
	for j < len(d.paths) && strings.HasPrefix(d.paths[j], prefix) {
		j++
	}
	return append([]string(nil), d.paths[i:j]...)
}

// Remove deletes a file, or everything below a directory, logs included. It reports whether there was anything.
func (d *Disk) Remove(path string) bool {
	found := false
	for _, p := range append(d.List(path), path) {
		if d.files[p] == nil {
			continue
		}
		found = true
		delete(d.files, p)
		i := sort.SearchStrings(d.paths, p)
		d.paths = append(d.paths[:i], d.paths[i+1:]...)
		d.notify(p)
	}
	for _, p := range d.logPaths(path) {
		found = true
		d.logs[p].drop()
		delete(d.logs, p)
	}
	return found
}

// Rename moves a file, or everything below a directory, logs included. Errors: ErrNotExist.
func (d *Disk) Rename(from, to string) error {
	moved := false
	for _, p := range append(d.List(from), from) {
		f := d.files[p]
		if f == nil {
			continue
		}
		moved = true
		d.Remove(p)
		target := to + strings.TrimPrefix(p, from)
		full := d.full
		d.full = false
		if err := d.Write(target, f.content); err == nil {
			d.files[target].synced = f.synced
		}
		d.full = full
	}
	for _, p := range d.logPaths(from) {
		moved = true
		d.logs[to+strings.TrimPrefix(p, from)] = d.logs[p]
		delete(d.logs, p)
	}
	if !moved {
		return ErrNotExist
	}
	return nil
}

func (d *Disk) logPaths(path string) []string {
	var paths []string
	for p := range d.logs { // any order: sorted below
		if p == path || strings.HasPrefix(p, strings.TrimSuffix(path, "/")+"/") {
			paths = append(paths, p)
		}
	}
	sort.Strings(paths)
	return paths
}

// Sync makes what path holds now survive a crash; done is called in scope s when the disk has confirmed it. Errors:
// ErrNotExist.
func (d *Disk) Sync(path string, s *sim.Scope, done func(error)) {
	f := d.files[path]
	if f == nil {
		s.After(0, "sync", func() { done(ErrNotExist) })
		return
	}
	sync := d.begin(s)
	sync.file, sync.content, sync.confirmed = f, f.content, done
}

// fsync is one sync under way, of a file or a log. It is recycled.
type fsync struct {
	disk    *Disk
	file    *file
	content Content // of the file when the sync began
	log     *Log
	records int // of the log when the sync began
	drops   int

	scope     *sim.Scope // that the caller is told in
	done      func()
	confirmed func(error) // instead of done
	next      *fsync      // free
}

// begin has the disk do one more sync.
func (d *Disk) begin(s *sim.Scope) *fsync {
	f := d.free
	if f == nil {
		f = &fsync{disk: d}
	} else {
		d.free, f.next = f.next, nil
	}
	f.scope = s
	d.machine.scope.AtRun(d.nextSync(), "fsync", f)
	return f
}

// Run ends the sync: what it was asked for is safe, and the caller is told if its scope still lives.
func (f *fsync) Run() {
	if f.file != nil {
		f.file.synced = f.content
	}
	if f.log != nil && f.log.dropped == f.drops {
		f.log.synced = max(f.log.synced, f.records)
	}
	d, s, done, confirmed := f.disk, f.scope, f.done, f.confirmed
	f.done = nil
	if f.file != nil {
		f.file, f.content, f.confirmed = nil, nil, nil
		done = func() { confirmed(nil) }
	}
	f.log, f.next, d.free = nil, d.free, f
	switch {
	case !s.Alive():
	case s.Frozen():
		s.After(0, "fsync", done)
	default:
		done()
	}
}

// nextSync returns when a sync asked for now is finished.
func (d *Disk) nextSync() sim.Time {
	d.busyUntil = max(d.busyUntil, d.machine.dc.kernel.Now()).Add(d.Fsync())
	return d.busyUntil
}

// SyncAll makes everything on the disk survive, at once; a clean shutdown does it.
func (d *Disk) SyncAll() {
	for _, f := range d.files { // any order: each file by itself
		f.synced = f.content
	}
	for _, l := range d.logs { // any order: each log by itself
		l.synced = l.length
	}
}

// Fsync returns how long a sync takes now.
func (d *Disk) Fsync() time.Duration {
	if d.slow > 0 {
		return d.slow
	}
	return d.fsync
}

// SetSlow makes each sync take that long; 0 ends it.
func (d *Disk) SetSlow(fsync time.Duration) { d.slow = fsync }

// SetFull makes writes fail with ErrNoSpace, or ends that.
func (d *Disk) SetFull(full bool) { d.full = full }

// Full reports whether the disk is full.
func (d *Disk) Full() bool { return d.full }

// Lose takes all content away.
func (d *Disk) Lose() {
	for _, p := range append([]string(nil), d.paths...) {
		d.Remove(p)
	}
	for _, p := range d.logPaths("") {
		d.logs[p].drop()
		delete(d.logs, p)
	}
}

// Watch has fn called in scope s with the path of each file below dir that is written or removed, as inotify does.
func (d *Disk) Watch(dir string, s *sim.Scope, fn func(path string)) (cancel func()) {
	w := &diskWatch{strings.TrimSuffix(dir, "/") + "/", s, fn}
	d.watches = append(d.watches, w)
	return func() { w.fn = nil }
}

func (d *Disk) notify(path string) {
	alive := d.watches[:0]
	for _, w := range d.watches {
		if w.fn == nil || !w.scope.Alive() {
			continue
		}
		alive = append(alive, w)
		if strings.HasPrefix(path, w.dir) {
			w.scope.After(0, "inotify", func() {
				if w.fn != nil {
					w.fn(path)
				}
			})
		}
	}
	clear(d.watches[len(alive):])
	d.watches = alive
}

// crash leaves on the disk what was synced.
func (d *Disk) crash() {
	d.busyUntil = 0
	d.watches = nil
	for _, p := range append([]string(nil), d.paths...) {
		f := d.files[p]
		if f.content = f.synced; f.synced == nil {
			d.Remove(p)
		}
	}
	for _, l := range d.logs { // any order: each log by itself
		l.set(l.Records()[:l.synced])
	}
}

// Log is a file that records are appended to: a write-ahead log. Records are immutable.
type Log struct {
	disk    *Disk
	parts   [][]any // of logPart records or what Replace gave: a log grows long, and growing moves none of it
	length  int
	synced  int
	dropped int // counts drops, so that a sync that was under way does not resurrect
}

const logPart = 512

// OpenLog returns the log of that path, creating it if needed.
func (d *Disk) OpenLog(path string) *Log {
	l := d.logs[path]
	if l == nil {
		l = &Log{disk: d}
		d.logs[path] = l
	}
	return l
}

// HasLog reports whether there is a log of that path.
func (d *Disk) HasLog(path string) bool { return d.logs[path] != nil }

// Append adds a record; it survives a crash once a Sync that began after it is done. Errors: ErrNoSpace.
func (l *Log) Append(record any) error {
	if l.disk.full {
		return ErrNoSpace
	}
	last := len(l.parts) - 1
	if last < 0 || len(l.parts[last]) == cap(l.parts[last]) {
		l.parts = append(l.parts, make([]any, 0, logPart))
		last++
	}
	l.parts[last] = append(l.parts[last], record)
	l.length++
	return nil
}

// Sync makes all records that are there now survive a crash, then calls done in scope s.
func (l *Log) Sync(s *sim.Scope, done func()) {
	sync := l.disk.begin(s)
	sync.log, sync.records, sync.drops, sync.done = l, l.length, l.dropped, done
}

// Records returns what the log holds now.
func (l *Log) Records() []any { return slices.Concat(l.parts...) }

func (l *Log) set(records []any) {
	l.parts, l.length = [][]any{slices.Clip(records)}, len(records)
}

// Replace sets the whole content, as a program does that writes a new segment and releases the old ones. It counts as
// synced as far as the old content was: give it only what was synced before.
func (l *Log) Replace(records []any) {
	l.dropped++
	l.set(records)
	l.synced = l.length
}

func (l *Log) drop() {
	l.dropped++
	l.parts, l.length, l.synced = nil, 0, 0
}
