//go:build linux && amd64

package mtltest

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"
)

// The driver never misuses Metal in a way that the stand-in reports, so this test sends messages itself. (amd64, because
// sizes travel by value on the stack there.)

// symbol is a function that Apple's libraries would have; a stand-in without it fails the test binary.
func symbol(name string) uintptr {
	f, err := purego.Dlsym(standin.handle, name)
	if err != nil {
		panic(err)
	}
	return f
}

func send(to uintptr, name string, words ...uintptr) uintptr {
	text := append([]byte(name), 0)
	selector := call(symbol("sel_registerName"), uintptr(unsafe.Pointer(&text[0])))
	return call(symbol("objc_msgSend"), append([]uintptr{to, selector}, words...)...)
}

func class(name string) uintptr {
	text := append([]byte(name), 0)
	return call(symbol("objc_getClass"), uintptr(unsafe.Pointer(&text[0])))
}

// sendSizes passes two sizes on the stack: four registers are left over before them.
func sendSizes(encoder uintptr, groups, threads [3]uintptr) {
	send(encoder, "dispatchThreadgroups:threadsPerThreadgroup:", 0, 0, 0, 0, groups[0], groups[1], groups[2], threads[0], threads[1], threads[2])
}

// scene is what messages are sent to.
type scene struct {
	t                                                 *testing.T
	device, queue, command, encoder, buffer, pipeline uintptr
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t}
	s.device = call(symbol("MTLCreateSystemDefaultDevice"))
	s.queue = send(s.device, "newCommandQueue")
	s.command = send(s.queue, "commandBufferWithUnretainedReferences")
	s.encoder = send(s.command, "computeCommandEncoderWithDispatchType:", 1)
	s.buffer = send(s.device, "newBufferWithLength:options:", 64, 0)
	options := send(send(class("MTLCompileOptions"), "alloc"), "init")
	send(options, "setMathMode:", 0)
	send(options, "setMathFloatingPointFunctions:", 1)
	send(options, "setLanguageVersion:", 3<<16)
	var wrong uintptr
	library := send(s.device, "newLibraryWithSource:options:error:", nsString(goodText), options, uintptr(unsafe.Pointer(&wrong)))
	if library == 0 {
		t.Fatal("no library")
	}
	function := send(library, "newFunctionWithName:", nsString("sum_rows"))
	s.pipeline = send(s.device, "newComputePipelineStateWithFunction:error:", function, uintptr(unsafe.Pointer(&wrong)))
	for _, o := range []uintptr{options, library, function} {
		send(o, "release")
	}
	return s
}

func (s *scene) release() {
	for _, o := range []uintptr{s.device, s.queue, s.buffer, s.pipeline} {
		send(o, "release")
	}
}

func nsString(text string) uintptr {
	bytes := append([]byte(text), 0)
	return send(class("NSString"), "stringWithCString:encoding:", uintptr(unsafe.Pointer(&bytes[0])), 4)
}

// bind sets all that sum_rows wants.
func (s *scene) bind() {
	constants := make([]byte, 12)
	send(s.encoder, "setComputePipelineState:", s.pipeline)
	send(s.encoder, "setBytes:length:atIndex:", uintptr(unsafe.Pointer(&constants[0])), 12, 0)
	send(s.encoder, "setBuffer:offset:atIndex:", s.buffer, 0, 1)
	send(s.encoder, "setBuffer:offset:atIndex:", s.buffer, 0, 2)
}

// pages are memory that only reads are allowed of, as of a mapped file.
type pages struct {
	t  *testing.T
	at unsafe.Pointer
}

const pagesBytes = 16 << 10

func (s *scene) newPages() *pages {
	p := &pages{t: s.t}
	var err error
	if p.at, err = unix.MmapPtr(-1, 0, nil, pagesBytes, unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE); err != nil {
		s.t.Fatal(err)
	}
	return p
}

func (p *pages) unmap() {
	if err := unix.MunmapPtr(p.at, pagesBytes); err != nil {
		p.t.Error(err)
	}
}

// again maps other pages at the same place.
func (p *pages) again() {
	if _, err := unix.MmapPtr(-1, 0, p.at, pagesBytes, unix.PROT_READ, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_FIXED); err != nil {
		p.t.Error(err)
	}
}

// wrap makes a buffer of pages.
func (s *scene) wrap(p *pages, options uintptr) uintptr {
	return send(s.device, "newBufferWithBytesNoCopy:length:options:deallocator:", uintptr(p.at), pagesBytes, options, 0)
}

func (s *scene) finish() {
	send(s.encoder, "endEncoding")
	send(s.command, "commit")
	send(s.command, "waitUntilCompleted")
}

var one = [3]uintptr{1, 1, 1}

// A breach is what a driver may do, and what the stand-in says of it; "": nothing.
type breach struct {
	name string
	do   func(s *scene)
	want string
}

// Of objects: their lives, and the order of their messages.
var objectBreaches = []breach{
	{"unknown message", func(s *scene) { send(s.device, "newTexture"); s.finish() }, "-[StandinDevice newTexture]: no such method"},
	{"released twice", func(s *scene) {
		b := send(s.device, "newBufferWithLength:options:", 4, 0)
		send(b, "release")
		send(b, "release")
		s.finish()
	}, "-[freed object release]: no such method"},
	{"encoder left open", func(s *scene) { send(s.command, "commit"); send(s.encoder, "endEncoding") }, "commit while an encoder is open"},
	{"second encoder", func(s *scene) {
		send(send(s.command, "computeCommandEncoderWithDispatchType:", 1), "endEncoding")
		s.finish()
	}, "second encoder while the first is open"},
	{"second commit", func(s *scene) { s.finish(); send(s.command, "commit") }, "second commit"},
	{"encoder after commit", func(s *scene) {
		s.finish()
		send(send(s.command, "computeCommandEncoderWithDispatchType:", 1), "endEncoding")
	}, "encoder for a committed command buffer"},
	{"wait before commit", func(s *scene) { send(s.command, "waitUntilCompleted"); s.finish() }, "not committed"},
	{"message after the end", func(s *scene) { s.finish(); send(s.encoder, "memoryBarrierWithScope:", 1) }, "memoryBarrier after endEncoding"},
	{"ended twice", func(s *scene) { s.finish(); send(s.encoder, "endEncoding") }, "endEncoding after endEncoding"},
	{"another barrier", func(s *scene) { send(s.encoder, "memoryBarrierWithScope:", 2); s.finish() }, "memoryBarrierWithScope: 2"},
	{"no compile options", func(s *scene) {
		send(send(s.device, "newLibraryWithSource:options:error:", nsString(goodText), 0, 0), "release")
		s.finish()
	}, "want options"},
	{"fast functions", func(s *scene) {
		options := send(send(class("MTLCompileOptions"), "alloc"), "init")
		send(options, "setMathMode:", 0)
		send(options, "setLanguageVersion:", 3<<16)
		send(send(s.device, "newLibraryWithSource:options:error:", nsString(goodText), options, 0), "release")
		send(options, "release")
		s.finish()
	}, "want options with precise functions"},
}

// Of dispatches, and what is bound for them.
var dispatchBreaches = []breach{
	{"nothing", func(s *scene) { s.bind(); sendSizes(s.encoder, one, one); s.finish() }, ""},
	{"no pipeline", func(s *scene) { sendSizes(s.encoder, one, one); s.finish() }, "without a pipeline"},
	{"no threadgroups", func(s *scene) { s.bind(); sendSizes(s.encoder, [3]uintptr{1, 0, 1}, one); s.finish() }, "dispatch of 1,0,1 threadgroups"},
	{"too many threads", func(s *scene) { s.bind(); sendSizes(s.encoder, one, [3]uintptr{2048, 1, 1}); s.finish() }, "of 2048,1,1 threads"},
	{"nothing bound", func(s *scene) {
		send(s.encoder, "setComputePipelineState:", s.pipeline)
		sendSizes(s.encoder, one, one)
		s.finish()
	}, "nothing is bound at index 0"},
	{"constants of another size", func(s *scene) {
		s.bind()
		send(s.encoder, "setBytes:length:atIndex:", s.encoder, 8, 0)
		sendSizes(s.encoder, one, one)
		s.finish()
	}, "8 bytes of constants, want 12"},
	{"too many bytes", func(s *scene) { send(s.encoder, "setBytes:length:atIndex:", s.encoder, 5000, 0); s.finish() }, "setBytes: 5000 bytes"},
	{"offset behind the end", func(s *scene) { send(s.encoder, "setBuffer:offset:atIndex:", s.buffer, 64, 1); s.finish() }, "offset 64 in a buffer of 64 bytes"},
	{"odd offset", func(s *scene) { send(s.encoder, "setBuffer:offset:atIndex:", s.buffer, 2, 1); s.finish() }, "not divisible by 4"},
	{"nil buffer", func(s *scene) { send(s.encoder, "setBuffer:offset:atIndex:", 0, 0, 1); s.finish() }, "setBuffer: nil"},
}

// Of memory that a buffer wraps as it lies.
var memoryBreaches = []breach{
	{"memory that is not whole pages", func(s *scene) {
		send(s.device, "newBufferWithBytesNoCopy:length:options:deallocator:", 4096, 100, 0, 0)
		s.finish()
	}, "want whole pages"},
	{"memory with a deallocator", func(s *scene) {
		send(s.device, "newBufferWithBytesNoCopy:length:options:deallocator:", 4096, 4096, 0, 1)
		s.finish()
	}, "no deallocator"},
	{"memory of the GPU alone", func(s *scene) {
		p := s.newPages()
		send(s.wrap(p, 2<<4), "release")
		p.unmap()
		s.finish()
	}, "want shared storage"},
	{"memory that is read", func(s *scene) {
		p := s.newPages()
		b := s.wrap(p, 0)
		s.bind()
		send(s.encoder, "setBuffer:offset:atIndex:", b, 64, 1)
		sendSizes(s.encoder, one, one)
		s.finish()
		send(b, "release")
		p.unmap()
	}, ""},
	{"memory that would be written", func(s *scene) {
		p := s.newPages()
		b := s.wrap(p, 0)
		s.bind()
		send(s.encoder, "setBuffer:offset:atIndex:", b, 0, 2)
		sendSizes(s.encoder, one, one)
		s.finish()
		send(b, "release")
		p.unmap()
	}, "buffer 2 is without a copy, and may be written"},
	{"memory unmapped before it is read", func(s *scene) {
		p := s.newPages()
		b := s.wrap(p, 0)
		s.bind()
		send(s.encoder, "setBuffer:offset:atIndex:", b, 0, 1)
		sendSizes(s.encoder, one, one)
		p.unmap()
		s.finish()
		p.again()
		send(b, "release")
		p.unmap()
	}, "sum_rows: the memory of buffer 1 is not mapped"},
	{"memory unmapped before the buffer is released", func(s *scene) {
		p := s.newPages()
		b := s.wrap(p, 0)
		p.unmap()
		send(b, "release")
		s.finish()
	}, "its memory was unmapped before it was released"},
	{"memory that is not mapped", func(s *scene) {
		p := s.newPages()
		p.unmap()
		b := s.wrap(p, 0)
		p.again()
		send(b, "release")
		p.unmap()
		s.finish()
	}, "are not mapped"},
}

func TestStandinReports(t *testing.T) {
	Load(t)
	for _, c := range slices.Concat(objectBreaches, dispatchBreaches, memoryBreaches) {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread() // a pool is its thread's, and every subtest has a goroutine of its own
			defer runtime.UnlockOSThread()
			before := Live()
			pool := call(symbol("objc_autoreleasePoolPush"))
			s := newScene(t)
			c.do(s)
			s.release()
			call(symbol("objc_autoreleasePoolPop"), pool)
			text := Reports()
			if c.want == "" && text != "" || !strings.Contains(text, c.want) || strings.Count(text, "\n") > 1 {
				t.Errorf("got reports %q, want one with %q", text, c.want)
			}
			if n := Leaked(before); n != 0 {
				t.Errorf("%d objects are left", n)
			}
		})
	}
}

func TestStandinWithoutPool(t *testing.T) {
	Load(t)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := Live()
	s := nsString("x")
	if text := Reports(); !strings.Contains(text, "NSString autoreleased without a pool") {
		t.Errorf("got reports %q", text)
	}
	if Live() != before+1 {
		t.Error("the string that nothing will release is not counted")
	}
	send(s, "release")
}
