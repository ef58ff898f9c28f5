// Package kern is the contract between the models and the machines that run them: a closed list of
// operations, written down once, implemented by each backend (engine/cpukern, metalkern).
//
//	model code (lm, t5, encodec) ── records ops ──► Stream ── submits ──► device
//	                             ◄── Download ─────
//
// Activations are float32 and stay on the device; codes are int32. Ops are recorded in order on a
// Stream and see the results of those recorded before them. A backend may run them at once (the CPU
// does) or when they are submitted (a GPU does); model code cannot tell, because only Download and
// Wait hand results back.
//
// Every backend keeps these promises, and kerntest holds it to them:
//
//   - A row's result does not depend on how many rows are computed beside it, nor on the number of
//     threads: the same request and seed give the same codes alone or among variations. A GPU keeps
//     this for up to 48 rows, and for more than that among themselves: there it multiplies in tiles,
//     whose sums may differ in the last bits. Steps have no more than 32 rows; a prefill has as many
//     as its prompt, whatever the variations.
//   - Nothing is allocated by recording an op, once an op of that shape has run.
//   - A wrong argument or a failed device never panics: the stream remembers the first error and
//     returns it from Submit, Wait and Download; later ops are skipped.
package kern

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"segue/weights"
)

// ErrUnavailable is wrapped by a backend's Open where the machine lacks what the backend needs.
var ErrUnavailable = errors.New("device unavailable")

// A backend's errors wrap ErrMemory where the device has no room for what was asked, and ErrDevice where the device failed,
// whatever was asked.
var (
	ErrMemory = errors.New("not enough device memory")
	ErrDevice = errors.New("device failed")
)

// An Object is what a backend makes: it holds device memory until it is freed, and only that backend can look inside.
type Object interface {
	Bytes() int64
	// Free returns the memory. Freeing twice is harmless; using a freed object is a stream error.
	Free()
}

// HeldBytes is the device memory of objects; Free frees them.
func HeldBytes(objects []Object) (total int64) {
	for _, o := range objects {
		total += o.Bytes()
	}
	return total
}

// Free frees objects.
func Free(objects []Object) {
	for _, o := range objects {
		o.Free()
	}
}

// A Buffer is a one-dimensional region of device memory. Its elements are float32 (Floats) or int32 (Ints).
type Buffer interface {
	Object
	Len() int // in elements
}

// A Slice is a window of a Buffer. Off and N count elements.
type Slice struct {
	Buffer Buffer
	Off, N int
}

// All is the whole of a buffer.
func All(b Buffer) Slice { return Slice{Buffer: b, N: b.Len()} }

// At is the window of n elements that begins off elements into s.
func (s Slice) At(off, n int) Slice { return Slice{Buffer: s.Buffer, Off: s.Off + off, N: n} }

// Nil says that an optional operand is absent.
func (s Slice) Nil() bool { return s.Buffer == nil }

// A Matrix is a weight [N, K] prepared by a backend for Linear, LSTM or convolution: perhaps repacked,
// perhaps quantised, perhaps a view of the mapped file.
type Matrix interface {
	Object     // Bytes is what one pass over the weight reads
	Rows() int // N
	Cols() int // K
}

// A Cache holds keys and values of past columns for every layer of a decoder.
type Cache interface {
	Object
	Shape() CacheShape
}

// Precision is how a backend holds weights or a cache.
type Precision uint8

const (
	Stored Precision = iota // weights: as the file has them
	F32
	F16
	Q8 // 8 bits in groups of 32 with a float16 scale each; of a cache: with one scale for each key and value
	Q4 // 4 bits likewise; weights only
)

var precisionNames = [...]string{Stored: "none", F32: "f32", F16: "f16", Q8: "q8", Q4: "q4"}

func (p Precision) String() string { return precisionNames[p] }

// Bits of a number; its group's scale comes on top. 0 for Stored.
func (p Precision) Bits() int { return [...]int{Stored: 0, F32: 32, F16: 16, Q8: 8, Q4: 4}[p] }

// Grouped says that numbers share a scale by groups.
func (p Precision) Grouped() bool { return p == Q8 || p == Q4 }

// ParsePrecision reads what String writes.
func ParsePrecision(name string) (Precision, error) {
	for p, n := range precisionNames {
		if n == name {
			return Precision(p), nil
		}
	}
	return Stored, fmt.Errorf("kern: precision: got %q, want one of %s", name, strings.Join(precisionNames[:], ", "))
}

// CacheShape: each of Rows sequences has room for Columns columns in each of Layers layers; a column is
// Heads keys and Heads values of HeadDim numbers.
type CacheShape struct {
	Layers, Rows, Columns, Heads, HeadDim int
}

// Device says what a backend runs on, for status, doctor and the bench.
type Device struct {
	Backend string // "cpu", "metal", "cuda"
	Name    string // the processor or GPU by name
	Detail  string // instruction set, threads, driver: what a bug report needs
	Threads int    // CPU only
	Memory  int64  // bytes that models may use, 0 if unknown
	// Settling is how long steps of a new shape have to run until they are as fast as they will be; for the bench.
	Settling time.Duration
}

// Backend makes the objects that ops work on. Methods may be called from any goroutine; a Stream
// belongs to one goroutine at a time.
type Backend interface {
	Device() Device
	// Floats and Ints return zeroed buffers of n elements.
	Floats(n int) (Buffer, error)
	Ints(n int) (Buffer, error)
	// Vector uploads a tensor of any shape as float32: biases, norms, codebooks, position tables.
	Vector(t *weights.Tensor) (Buffer, error)
	// Table uploads [rows, D] for Embed.
	Table(p Precision, t *weights.Tensor) (Matrix, error)
	// Matrix uploads a weight for Linear and LSTM: parts [Ni, K] stacked into [ΣNi, K]. A bias-free
	// q, k and v become one weight this way and one op reads them.
	Matrix(p Precision, parts ...*weights.Tensor) (Matrix, error)
	// Filter uploads a folded convolution weight [out, in, kernel], or [in, out, kernel] when transposed.
	Filter(t *weights.Tensor, transposed bool) (Filter, error)
	// Cache returns an empty key/value cache in F32, F16 or Q8.
	Cache(p Precision, shape CacheShape) (Cache, error)
	Stream() (Stream, error)
	// Allocated counts the bytes of device memory now held by objects that this backend made, and by freed ones of which the
	// device has not let go; a GPU's streams, which keep what their ops needed beside these until they are closed, count too.
	Allocated() int64
	// Freed counts those of the freed objects: a stream may have begun what uses them, and lets go as its work goes on. some
	// is closed when it has let go of some of them, if there are any.
	Freed() (bytes int64, some <-chan struct{})
	Close() error
}

// A Prober is a backend that can tell how fast the device's memory is read: what the speed of ops is compared with.
type Prober interface {
	Backend
	// ReadProbe sets memory aside, many times any cache. read goes through all of it and returns bytes per second, 0 where
	// the device failed. release gives the memory back.
	ReadProbe() (read func() float64, release func(), err error)
}

// A Filter is a convolution weight prepared by a backend.
type Filter interface {
	Object
	In() int
	Out() int
	Kernel() int
	Transposed() bool
}

// Fence marks a place in a stream: everything recorded before the Submit that returned it.
type Fence uint64

// Stream records ops. See the argument structs for each op's formula.
type Stream interface {
	Linear(Linear)
	Norm(Norm)
	Embed(Embed)
	CausalAttention(CausalAttention)
	Attention(Attention)
	Conv(Conv)
	ConvTranspose(ConvTranspose)
	LSTM(LSTM)
	RVQEncode(RVQEncode)
	RVQDecode(RVQDecode)
	Sample(Sample)

	// Upload and UploadInts copy src to the device, in order with the ops around them. src may be reused
	// when they return.
	Upload(dst Slice, src []float32)
	UploadInts(dst Slice, src []int32)
	// Copy copies src to dst on the device; both float32 or both int32, same N, not overlapping.
	Copy(dst, src Slice)
	// Download and DownloadInts wait for everything recorded so far and copy src to dst.
	Download(dst []float32, src Slice) error
	DownloadInts(dst []int32, src Slice) error

	// Submit sends what was recorded to the device and returns at once.
	Submit() (Fence, error)
	// Wait blocks until the device has passed f.
	Wait(f Fence) error
	// Err is the first error so far; Reset forgets it, after waiting for the device, so that the stream
	// can be used again.
	Err() error
	Reset() error
	Close() error
}

// Finish submits what was recorded and waits until the device has done it.
func Finish(s Stream) error {
	fence, err := s.Submit()
	if err != nil {
		return err
	}
	return s.Wait(fence)
}

// Shapef is the error for operands that do not fit together: the op, what, got and wanted.
func Shapef(op, format string, args ...any) error {
	return fmt.Errorf("kern: %s: %s", op, fmt.Sprintf(format, args...))
}
