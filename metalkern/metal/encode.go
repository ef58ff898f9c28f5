//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"time"
	"unsafe"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

// batch is what a queue recorded between two commits. Its slices keep their room when it is used again.
type batch struct {
	operations []operation
	bytes      []byte  // the constants of all operations, one after the other
	bindings   []bound // likewise
	fence      driver.Fence
}

// operation is a dispatch, or a barrier where it has no pipeline.
type operation struct {
	pipeline            id
	constants, bindings int // how many of the batch's belong to it
	sizes               [6]uint64
}

type bound struct {
	buffer id
	offset uintptr
}

func (b *batch) clear() {
	b.operations, b.bytes, b.bindings = b.operations[:0], b.bytes[:0], b.bindings[:0]
}

// encode makes a command buffer of a batch and commits it. It runs on the thread, in a pool.
func (q *queue) encode(c *caller, b *batch) {
	if q.failed == nil {
		q.failed = q.commit(c, b)
	}
	b.clear()
	q.free <- b
}

func (q *queue) commit(c *caller, b *batch) error {
	command := id(c.send(q.id, queueCommandBuffer))
	if command == 0 {
		return fmt.Errorf("metal: no command buffer")
	}
	if err := q.verifyOnce(c, command, "MTLCommandBuffer", "NSObject"); err != nil {
		return err
	}
	encoder := id(c.send(command, commandEncoder, concurrent))
	if encoder == 0 {
		return fmt.Errorf("metal: no compute encoder")
	}
	if err := q.verifyOnce(c, encoder, "MTLCommandEncoder"); err != nil {
		return err
	}
	if err := q.verifyOnce(c, encoder, "MTLComputeCommandEncoder"); err != nil {
		c.send(encoder, encoderEnd) // without it Metal ends the process as the pool frees the encoder
		return err
	}
	q.operations(c, encoder, b)
	c.send(encoder, encoderEnd)
	c.send(command, commandCommit)
	c.send(command, objectRetain) // beyond the pool, until settle
	q.inFlight = append(q.inFlight, inFlight{command, b.fence})
	q.verified = true
	return nil
}

// verifyOnce compares the types of a kind of object that every commit makes anew, until one has been through.
func (q *queue) verifyOnce(c *caller, object id, owners ...string) error {
	if q.verified {
		return nil
	}
	return c.verify(object, owners...)
}

// operations sends what changed since the operation before: pipelines and buffers stay set until others are.
func (q *queue) operations(c *caller, encoder id, b *batch) {
	q.bound = [31]bound{}
	bytes, bindings := b.bytes, b.bindings
	var current id
	for i := range b.operations {
		o := &b.operations[i]
		if o.pipeline == 0 {
			c.send(encoder, encoderBarrier, scopeBuffers)
			continue
		}
		if o.pipeline != current {
			c.send(encoder, encoderPipeline, uintptr(o.pipeline))
			current = o.pipeline
		}
		c.send(encoder, encoderBytes, uintptr(unsafe.Pointer(&bytes[0])), uintptr(o.constants), 0)
		for k, at := range bindings[:o.bindings] {
			if q.bound[k+1] != at {
				c.send(encoder, encoderBuffer, uintptr(at.buffer), at.offset, uintptr(k+1))
				q.bound[k+1] = at
			}
		}
		c.dispatch(encoder, &o.sizes)
		bytes, bindings = bytes[o.constants:], bindings[o.bindings:]
	}
}

// settle waits for all command buffers up to fence, frees them, and returns the first failure since the last Reset.
func (q *queue) settle(c *caller, fence driver.Fence) error {
	n := 0
	for n < len(q.inFlight) && q.inFlight[n].fence <= fence {
		command := q.inFlight[n].command
		c.send(command, commandWait)
		if status := c.send(command, commandStatus); status != statusCompleted && q.failed == nil {
			reason, kind := id(c.send(command, commandError)), kern.ErrDevice
			if c.code(reason) == codeOutOfMemory {
				kind = kern.ErrMemory
			}
			q.failed = fmt.Errorf("metal: %w (status %d): %s", kind, status, c.failure(reason))
		}
		q.busy += time.Duration((c.seconds(command, commandEnd) - c.seconds(command, commandStart)) * float64(time.Second))
		c.send(command, objectRelease)
		n++
	}
	q.inFlight = append(q.inFlight[:0], q.inFlight[n:]...)
	return q.failed
}
