// Package translate reads the kernels of metalkern, which are written in a small dialect of Apple's Metal Shading
// Language, and makes of them what other compilers take.
//
//	*.metal ─► the compiler's preprocessor ─► Parse ─► File ─► CPU    for g++: runs on the processor, in tests
//	                                                       ├─► Check  for clang: address spaces as the types they are
//	                                                       └─► CUDA   for clang -x cuda: PTX
//
// It understands no more than the heads of kernels and the structs of their constants; bodies pass through. Attributes
// become blanks and words are replaced in their place, so that lines stay where they are. What the dialect forbids and
// a compiler would let through is an error here: see rules.go.
//
// Each target has a header that gives the dialect's words their meaning; what this package emits begins after it and
// asks of it only the macros named in emit.go.
package translate

// A File is what one .metal file declares.
type File struct {
	Structs []Struct
	Kernels []Kernel

	text   string
	tokens []token
}

// A Struct is a struct of plain fields, laid out as every one of the compilers does it.
type Struct struct {
	Name   string
	Fields []Field
	Size   int
	Align  int
	Place  string
}

// A Field is a scalar, a vector or an array of these.
type Field struct {
	Name   string
	Type   string
	Count  int // of an array; 1 otherwise
	Offset int
	Size   int
}

// A Kernel is one entry point. Constants names the struct behind buffer 0, if it has one.
type Kernel struct {
	Name      string
	Constants string
	Params    []Param
	Place     string

	nameToken int
}

// A Param is a buffer or one of the attributes that say which thread this is.
type Param struct {
	Name      string
	Type      string // without address space, const, * and &
	Attribute string // "buffer", "thread_index_in_simdgroup", …
	Index     int    // of a buffer
	Space     string // "constant" or "device"
	Const     bool
	Pointer   bool
	Reference bool

	line string
}

// Struct returns the struct of that name.
func (f *File) Struct(name string) (Struct, bool) {
	for _, s := range f.Structs {
		if s.Name == name {
			return s, true
		}
	}
	return Struct{}, false
}

// Buffers counts the buffers of a kernel, with that of its constants.
func (k Kernel) Buffers() (n int) {
	for _, p := range k.Params {
		if p.Attribute == "buffer" {
			n++
		}
	}
	return n
}

// Writes has a bit set for each buffer that the kernel may write to.
func (k Kernel) Writes() (mask uint32) {
	for _, p := range k.Params {
		if p.Attribute == "buffer" && p.Space == "device" && !p.Const {
			mask |= 1 << p.Index
		}
	}
	return mask
}
