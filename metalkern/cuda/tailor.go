package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"segue/metalkern/driver"
)

// A graph that has run for a while has its kernels tailored: compiled once more, with those of their constants that have not
// changed all the while as numbers in the text, and the threads of a threadgroup. The driver's compiler then leaves out what
// they decide, which is most of a kernel: loops that run once, ends that nothing reaches, norms that are not asked for.
//
//	tape ── what changes has settled ──► order ──► tailor, a goroutine ──► tape: nodes are set anew
//
// A kernel takes a core of the processor some 150 ms, if the driver has not kept it from another time; so a graph goes on with
// what it has until its order is done. A tailored kernel stands in for the other only where constants are those that it was
// made for.

// tailoring is for measuring and for tests: go build -ldflags '-X segue/metalkern/cuda.tailoring=no'. At once: for every launch,
// and for graphs from their second run on, which wait for it.
var tailoring = "yes"

const (
	atOnce = "at-once"
	// settled is how often a graph runs without a change in what of it changes: longer than a block of a cache.
	settled = 64
	// settling is how long that and the making of a step's kernels take.
	settling = 3 * time.Second
	// mostTailored: a step has some ten different kernels. Who asks for more has numbers that never settle.
	mostTailored = 256
)

// cut is what a tailored kernel is made for.
type cut struct {
	pipeline  *pipeline
	threads   uint32
	free      words
	constants [driver.MaxConstants]byte // of the others
}

// words is a set of 32-bit words of a kernel's constants.
type words uint64

func (w words) has(i int) bool { return w>>i&1 != 0 }

func cutOf(d *dispatch, free words) cut {
	c := cut{pipeline: d.pipeline, threads: d.threads, free: free}
	for i := range d.constantBytes / 4 {
		if !free.has(i) {
			copy(c.constants[4*i:][:4], d.constants[4*i:])
		}
	}
	return c
}

// fits says whether a kernel of this cut does what d wants. The dispatch is of its pipeline.
func (c *cut) fits(d *dispatch) bool {
	return c.threads == d.threads && differing(&c.constants, &d.constants, d.constantBytes)&^c.free == 0
}

// differing are the words, among those of so many bytes, in which two kernels' constants differ.
func differing(a, b *[driver.MaxConstants]byte, bytes int) (w words) {
	for i := range bytes / 4 {
		if [4]byte(a[4*i:]) != [4]byte(b[4*i:]) {
			w |= 1 << i
		}
	}
	return w
}

// tailored is a kernel made for a cut; until then, or if it could not be made, its function is 0.
type tailored struct {
	cut
	module   module
	function function
}

// An order is the kernels of a tape's nodes, some of them nil. They may be looked at when done is closed.
type order struct {
	kernels []*tailored
	done    chan struct{}
}

// tailor makes the tailored kernels of a device, one at a time, and keeps them until the end.
type tailor struct {
	device *Device
	orders sync.WaitGroup
	making sync.Mutex // guards kernels' module and function

	mu     sync.Mutex // guards what follows, and is held for moments only
	all    map[cut]*tailored
	closed bool
	err    error // why no more are made
}

// order has kernels made for nodes.
func (t *tailor) order(nodes []taped) *order {
	o := &order{kernels: make([]*tailored, len(nodes)), done: make(chan struct{})}
	for i := range nodes {
		o.kernels[i] = t.known(cutOf(&nodes[i].set, nodes[i].free))
	}
	t.orders.Go(func() {
		defer close(o.done)
		for _, k := range o.kernels {
			t.make(k)
		}
	})
	if tailoring == atOnce {
		<-o.done
	}
	return o
}

// known is the kernel of a cut, made or not; nil if it is no step's, and would be compiled for a request that is over by then, or
// there are too many.
func (t *tailor) known(c cut) *tailored {
	if !c.pipeline.ofStep() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.all[c]
	if !ok && (len(t.all) < mostTailored || tailoring == atOnce) {
		k = &tailored{cut: c}
		t.all[c] = k
	}
	return k
}

// make makes a kernel, unless it is there, or an earlier one failed.
func (t *tailor) make(k *tailored) {
	t.making.Lock()
	defer t.making.Unlock()
	if k == nil || k.function != 0 || t.over() {
		return
	}
	if err := t.device.make(k); err != nil {
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
	}
}

// over says whether no more are made.
func (t *tailor) over() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed || t.err != nil
}

// failure is why kernels are not tailored any more.
func (t *tailor) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// detail is what a device has to say of it: nothing, or why kernels go on as they are.
func (t *tailor) detail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.err != nil:
		return fmt.Sprintf("; kernels are not tailored: %v", t.err)
	case len(t.all) >= mostTailored:
		return fmt.Sprintf("; %d kernels are tailored, no more will be until the next start", len(t.all))
	}
	return ""
}

// now has a launch run the tailored kernel, which is made first.
func (t *tailor) now(d *dispatch, l *launch) error {
	k := t.known(cutOf(d, 0))
	t.make(k)
	if err := t.failure(); err != nil {
		return err
	}
	if k != nil {
		l.function = k.function
	}
	return nil
}

// close waits for all orders and gives the kernels back. The context is current.
func (t *tailor) close() (errs []error) {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.orders.Wait()
	for _, k := range t.all {
		if k.function != 0 {
			errs = append(errs, t.device.api.unloadModule(k.module))
		}
	}
	return errs
}

// make compiles and loads a kernel. It has no more registers than the one that it stands in for, so that as many threadgroups
// find room.
func (d *Device) make(k *tailored) error {
	if err := d.enter(); err != nil {
		return err
	}
	defer leave()
	p := k.pipeline
	registers, err := d.api.functionAttribute(p.function, functionRegisters)
	if err != nil {
		return err
	}
	text := p.of.text(p.name, bound(int(k.threads), registers))
	compiled, err := d.api.compile(cutText(text, &k.cut))
	if err == nil {
		k.module, err = d.api.loadModule(compiled)
	}
	if err != nil {
		return fmt.Errorf("cuda: kernel %s, tailored: %w", p.name, err)
	}
	f, err := d.api.function(k.module, p.name)
	if err == nil {
		err = p.allot(f)
	}
	if err != nil {
		return errors.Join(err, d.api.unloadModule(k.module))
	}
	k.function = f
	return nil
}

// constant is a load of a word of a kernel's constants, with its type, where to, and from which byte on.
var constant = regexp.MustCompile(`ld\.param\.(u32|f32) \t?(%\w+), \[\w+_param_0(?:\+(\d+))?\];`)

// cutText puts numbers into a kernel's text, instead of loads.
func cutText(ptx string, c *cut) string {
	ptx = constant.ReplaceAllStringFunc(ptx, func(load string) string {
		part := constant.FindStringSubmatch(load)
		at, _ := strconv.Atoi(part[3]) // none is 0
		if at%4 != 0 || c.free.has(at/4) {
			return load
		}
		number := fmt.Sprint(binary.LittleEndian.Uint32(c.constants[at:]))
		if part[1] == "f32" {
			number = fmt.Sprintf("0f%08X", binary.LittleEndian.Uint32(c.constants[at:]))
		}
		return fmt.Sprintf("mov.%s %s, %s;", part[1], part[2], number)
	})
	return strings.ReplaceAll(ptx, "%ntid.x;", fmt.Sprintf("%d;", c.threads))
}
