package cuda

import (
	"compress/gzip"
	"embed"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"segue/metalkern/driver"
)

//go:embed ptx/*.ptx.gz
var files embed.FS

// library is the kernels of one file. Each becomes a module of its own when it is first asked for: the driver compiles a
// module whole, and a request runs few of a file's kernels.
type library struct {
	device  *Device
	name    string
	program program

	mu        sync.Mutex
	pipelines map[boundedKernel]*pipeline
}

// A boundedKernel is a kernel for threadgroups of at most so many threads; 0: it has the registers that it wants.
type boundedKernel struct {
	name    string
	threads int
}

// pipeline is a loaded kernel.
type pipeline struct {
	signature
	of         *library
	name       string
	module     module
	function   function
	ownBytes   int // of threadgroup memory
	brought    int // of more, which each launch brings
	maxThreads int
}

// MaxThreads is the largest threadgroup that its registers allow.
func (p *pipeline) MaxThreads() int { return p.maxThreads }

// Library reads the PTX of a file of package kernels.
func (d *Device) Library(name string) (driver.Library, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if l, ok := d.libraries[name]; ok {
		return l, nil
	}
	text, err := readPTX(d.file(name))
	if err != nil {
		return nil, fmt.Errorf("cuda: library %s: %w (make ptx makes it of its Metal text)", name, err)
	}
	l := &library{device: d, name: name, pipelines: map[boundedKernel]*pipeline{}}
	if l.program, err = parsePTX(text); err != nil {
		return nil, fmt.Errorf("cuda: library %s: damaged PTX: %w", name, err)
	}
	d.libraries[name] = l
	return l, nil
}

// warpgroups is for measuring and for tests: go build -ldflags '-X segue/metalkern/cuda.warpgroups=no'.
var warpgroups = "yes"

// hopper is the compute capability whose instructions some files have a text of their own for.
const hopper = 90

// file is the text of a library for this GPU.
func (d *Device) file(library string) string {
	if library == "linear_tile" && d.info.Warpgroups {
		return library + ".sm_90a"
	}
	return library
}

func readPTX(name string) (string, error) {
	file, err := files.Open(path.Join("ptx", name+".ptx.gz"))
	if err != nil {
		return "", err
	}
	defer file.Close()
	packed, err := gzip.NewReader(file)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(packed)
	return string(text), err
}

// Pipeline compiles a kernel, or finds what the driver kept of an earlier time. One with registers for fewer threads than
// wanted is compiled again, with fewer registers.
func (l *library) Pipeline(kernel string, threads int) (driver.Pipeline, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p, err := l.bounded(kernel, 0)
	if err == nil && p.maxThreads < threads {
		p, err = l.bounded(kernel, threads)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (l *library) bounded(kernel string, threads int) (*pipeline, error) {
	key := boundedKernel{kernel, threads}
	if p, ok := l.pipelines[key]; ok {
		return p, nil
	}
	e, ok := l.program.entries[kernel]
	if !ok {
		return nil, fmt.Errorf("cuda: library %s has no kernel %q", l.name, kernel)
	}
	if err := l.device.enter(); err != nil {
		return nil, err
	}
	defer leave()
	p := &pipeline{signature: e.signature, brought: e.brought, of: l, name: kernel}
	limits := ""
	if threads > 0 {
		limits = bound(threads, most(threads))
	}
	if err := p.load(l.text(kernel, limits)); err != nil {
		return nil, fmt.Errorf("cuda: kernel %s: %w", kernel, err)
	}
	l.pipelines[key] = p
	return p, nil
}

// text is a kernel's, within limits of threads and registers, as the driver gets it.
func (l *library) text(kernel, limits string) string {
	text := l.program.head + strings.Replace(l.program.entries[kernel].text, "\n{\n", "\n"+limits+"{\n", 1)
	if l.device.overlap {
		text = overlapped(text)
	}
	return text
}

// bound limits a kernel to so many threads and registers. Told of threads alone, the compiler may take far fewer registers than
// they leave.
func bound(threads, registers int) string {
	return fmt.Sprintf(".maxntid %d, 1, 1\n.maxnreg %d\n", threads, registers)
}

// most is how many registers threads leave each other: of a multiprocessor's, in whole eights, as many as a thread can have.
func most(threads int) int { return min(1<<16/threads/8*8, 248) }

func (p *pipeline) load(ptx string) (err error) {
	a := p.of.device.api
	if p.module, err = a.loadModule(ptx); err != nil {
		return err
	}
	if p.function, err = a.function(p.module, p.name); err == nil {
		p.maxThreads, err = a.functionAttribute(p.function, functionMaxThreads)
	}
	if err == nil {
		p.ownBytes, err = a.functionAttribute(p.function, functionSharedBytes)
	}
	if err == nil {
		err = p.allot(p.function)
	}
	if err != nil {
		_ = a.unloadModule(p.module) // the first error is the one to tell
	}
	return err
}

// unload gives all kernels back. The context is current.
func (l *library) unload() (errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pipelines {
		errs = append(errs, l.device.api.unloadModule(p.module))
	}
	return errs
}
