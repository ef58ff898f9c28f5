package cuda

import (
	"errors"
	"fmt"
)

// replay keeps the graphs of sequences that come again and again, such as a decoder's step: starting one graph of two
// hundred kernels costs the processor less than ten launches, and the device less between them.
//
// A sequence is known by its kernels and barriers. From its second time on it is a graph; each time after that, nodes whose
// grid, buffers or constants differ from the last time are set anew. Constants are parameters of the kernels and not memory
// that a copy at the head of the graph fills: a kernel reads them without a load that its first instructions would wait for,
// and a step changes few of them.
type replay struct {
	api     api
	tailor  *tailor
	overlap bool // of kernels that wait for one other
	tapes   []*tape
	clock   uint64
}

const (
	// shortest is the length from which a graph is worth its making.
	shortest = 4
	// longest is the length up to which it is: a codec's recurrence is thousands of kernels, which one request runs once.
	longest = 512
	// tapeCount: a step, its prefill, text and codec make less than ten, and each costs little.
	tapeCount = 16
	// widestJoin is how many kernels beside each other are named one by one as what the next ones wait for.
	widestJoin = 4
)

// tape is a sequence that has been seen.
type tape struct {
	shape []beat
	seen  uint64 // how often
	used  uint64 // when last
	// Once there is a graph:
	graph      graph
	executable executable
	nodes      []taped
	steady     int    // how often it has run since another word of constants changed, but while an order is open
	order      *order // that is not done yet
}

// taped is a node of a tape's graph.
type taped struct {
	node     node
	set      dispatch  // what it is set to
	free     words     // of its constants that have changed
	tailored *tailored // for set's constants or others, or nil
	stale    bool      // the graph's own is another: tailored has changed, or setting it has failed
}

// beat is what makes a sequence the same.
type beat struct {
	pipeline *pipeline
	barrier  bool
}

// run starts the graph of a sequence, or says that there is none yet.
func (r *replay) run(sequence []dispatch, l *launch, s stream) (ready bool, err error) {
	if len(sequence) < shortest || len(sequence) > longest {
		return false, nil
	}
	t, err := r.find(sequence, s)
	if err != nil || t.seen < 2 {
		return false, err
	}
	if t.executable == 0 {
		if err := r.build(t, sequence, l); err != nil {
			return false, fmt.Errorf("cuda: making a graph of %d kernels: %w", len(sequence), errors.Join(err, r.drop(t)))
		}
	}
	t.receive()
	for i := range sequence {
		d, n := &sequence[i], &t.nodes[i]
		if !n.stale && d.same(&n.set) {
			continue
		}
		t.change(n, d)
		n.launch(l)
		if err := r.api.setKernel(t.executable, n.node, l); err != nil {
			n.stale = true // it is what it was
			return false, fmt.Errorf("cuda: setting %s in a graph: %w", d.pipeline.name, err)
		}
	}
	t.tailor(r.tailor)
	return true, r.api.launchGraph(t.executable, s)
}

// change sets a node to a dispatch, and remembers what of its constants changes.
func (t *tape) change(n *taped, d *dispatch) {
	if w := differing(&n.set.constants, &d.constants, d.constantBytes) &^ n.free; w != 0 {
		n.free |= w
		t.steady = 0
	}
	n.set, n.stale = *d, false
}

// launch points l at what the node is set to.
func (n *taped) launch(l *launch) {
	l.set(&n.set)
	if k := n.tailored; k != nil && k.function != 0 && k.fits(&n.set) {
		l.function = k.function
	}
}

// tailor orders kernels for a graph of which no other words of constants have changed for a while.
func (t *tape) tailor(by *tailor) {
	if tailoring == "no" || t.order != nil {
		return
	}
	if t.steady++; t.steady == settled || t.steady == 1 && tailoring == atOnce {
		t.order = by.order(t.nodes)
	}
}

// receive gives the nodes the kernels of an order, if it is done.
func (t *tape) receive() {
	if t.order == nil {
		return
	}
	select {
	case <-t.order.done:
	default:
		return
	}
	for i, k := range t.order.kernels {
		n := &t.nodes[i]
		n.tailored, n.stale = k, n.stale || n.tailored != k
	}
	t.order = nil
}

// find returns the tape of a sequence: the one that it had before, or a new one, or that of the longest unused.
func (r *replay) find(sequence []dispatch, s stream) (*tape, error) {
	r.clock++
	var oldest *tape
	for _, t := range r.tapes {
		if t.matches(sequence) {
			t.seen++
			t.used = r.clock
			return t, nil
		}
		if oldest == nil || t.used < oldest.used {
			oldest = t
		}
	}
	if len(r.tapes) < tapeCount {
		oldest = new(tape)
		r.tapes = append(r.tapes, oldest)
	} else if oldest.executable != 0 {
		if err := r.api.synchronize(s); err != nil { // it may be running
			return nil, err
		}
		if err := r.drop(oldest); err != nil {
			return nil, err
		}
	}
	oldest.seen, oldest.used, oldest.shape = 1, r.clock, oldest.shape[:0]
	for i := range sequence {
		oldest.shape = append(oldest.shape, beat{sequence[i].pipeline, sequence[i].barrier})
	}
	return oldest, nil
}

func (t *tape) matches(sequence []dispatch) bool {
	if len(t.shape) != len(sequence) {
		return false
	}
	for i := range sequence {
		if t.shape[i].pipeline != sequence[i].pipeline || t.shape[i].barrier != sequence[i].barrier {
			return false
		}
	}
	return true
}

// build makes a graph: kernels without a barrier between them wait for the same ones before and may run beside each other.
func (r *replay) build(t *tape, sequence []dispatch, l *launch) (err error) {
	if t.graph, err = r.api.newGraph(); err != nil {
		return err
	}
	t.nodes, t.steady = make([]taped, 0, len(sequence)), 0
	var before []node // what the kernels since the last barrier wait for
	joined := false   // that is a node without a kernel
	begin := 0        // the first kernel since
	for i := range sequence {
		if sequence[i].barrier {
			before = nodesOf(t.nodes[begin:])
			begin = i
			if joined = len(before) > widestJoin; joined {
				join, err := r.api.addJoin(t.graph, before)
				if err != nil {
					return err
				}
				before = []node{join}
			}
		}
		l.set(&sequence[i])
		n, err := r.add(t.graph, before, joined, l)
		if err != nil {
			return fmt.Errorf("adding %s: %w", sequence[i].pipeline.name, err)
		}
		t.nodes = append(t.nodes, taped{node: n, set: sequence[i]})
	}
	t.executable, err = r.api.instantiate(t.graph)
	return err
}

// nodesOf are the graph's own nodes.
func nodesOf(list []taped) (nodes []node) {
	for i := range list {
		nodes = append(nodes, list[i].node)
	}
	return nodes
}

// add adds a kernel. Where there is one other to wait for, it may start early.
func (r *replay) add(g graph, before []node, joined bool, l *launch) (node, error) {
	if r.overlap && len(before) == 1 && !joined {
		return r.api.addEarlyKernel(g, before[0], l)
	}
	return r.api.addKernel(g, before, l)
}

// drop frees the graph of a tape, which must not be running.
func (r *replay) drop(t *tape) (err error) {
	if t.executable != 0 {
		err = r.api.destroyExecutable(t.executable)
	}
	if t.graph != 0 {
		err = errors.Join(err, r.api.destroyGraph(t.graph))
	}
	t.executable, t.graph, t.nodes, t.order = 0, 0, nil, nil
	return err
}

func (r *replay) free() error {
	var errs []error
	for _, t := range r.tapes {
		errs = append(errs, r.drop(t))
	}
	r.tapes = nil
	return errors.Join(errs...)
}
