package cuda

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"

	"segue/metalkern/driver"
)

//go:embed ptx/*.ptx
var kernels embed.FS

// library is the loaded kernels of one file.
type library struct {
	device     *Device
	name       string
	module     module
	signatures map[string]signature

	mu        sync.Mutex
	pipelines map[string]*pipeline
}

// pipeline is a kernel of the loaded module.
type pipeline struct {
	signature
	device     *Device
	name       string
	function   function
	maxThreads int
}

// MaxThreads is the largest threadgroup that its registers allow.
func (p *pipeline) MaxThreads() int { return p.maxThreads }

// Library loads the PTX of a file of package kernels.
func (d *Device) Library(name string) (driver.Library, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errClosed
	}
	if l, ok := d.libraries[name]; ok {
		return l, nil
	}
	text, err := fs.ReadFile(kernels, path.Join("ptx", name+".ptx"))
	if err != nil {
		return nil, fmt.Errorf("cuda: library %s: %w (make ptx makes it from its Metal text)", name, err)
	}
	l := &library{device: d, name: name, pipelines: map[string]*pipeline{}}
	if l.signatures, err = signatures(text); err != nil {
		return nil, fmt.Errorf("cuda: library %s: %w", name, err)
	}
	if err := d.enter(); err != nil {
		return nil, err
	}
	defer leave()
	if l.module, err = d.api.loadModule(text); err != nil {
		return nil, fmt.Errorf("cuda: library %s: %w", name, err)
	}
	d.libraries[name] = l
	return l, nil
}

// Pipeline finds a kernel.
func (l *library) Pipeline(kernel string) (driver.Pipeline, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p, ok := l.pipelines[kernel]; ok {
		return p, nil
	}
	s, ok := l.signatures[kernel]
	if !ok {
		return nil, fmt.Errorf("cuda: library %s has no kernel %q", l.name, kernel)
	}
	if err := l.device.enter(); err != nil {
		return nil, err
	}
	defer leave()
	p := &pipeline{signature: s, device: l.device, name: kernel}
	var err error
	if p.function, err = l.device.api.function(l.module, kernel); err != nil {
		return nil, fmt.Errorf("cuda: kernel %s: %w", kernel, err)
	}
	if p.maxThreads, err = l.device.api.functionAttribute(p.function, functionMaxThreads); err != nil {
		return nil, fmt.Errorf("cuda: kernel %s: %w", kernel, err)
	}
	l.pipelines[kernel] = p
	return p, nil
}

// signature is what a kernel takes: its constants, then so many buffers.
type signature struct{ constantBytes, buffers int }

// signatures reads the parameters of every entry in a PTX text, so that a launch with other ones is an error and not a
// kernel gone astray: the driver copies as much as the kernel declares, whatever it is given.
func signatures(ptx []byte) (map[string]signature, error) {
	found := map[string]signature{}
	for rest := ptx; ; {
		_, after, ok := bytes.Cut(rest, []byte(".entry "))
		if !ok {
			return found, nil
		}
		head, body, ok := bytes.Cut(after, []byte("("))
		list, rest1, ok2 := bytes.Cut(body, []byte(")"))
		if rest = rest1; !ok || !ok2 {
			return nil, fmt.Errorf("damaged PTX: an entry without a parameter list")
		}
		name := strings.TrimSpace(string(head))
		s, err := parameters(string(list))
		if err != nil {
			return nil, fmt.Errorf("damaged PTX: kernel %s: %w", name, err)
		}
		found[name] = s
	}
}

// parameters reads ".param .align 4 .b8 name[40], .param .u64 name, …".
func parameters(list string) (s signature, err error) {
	for i, p := range strings.Split(list, ",") {
		words := strings.Fields(p)
		if len(words) < 3 || words[0] != ".param" {
			return s, fmt.Errorf("got the parameter %q", strings.TrimSpace(p))
		}
		switch _, size, array := strings.Cut(strings.TrimSuffix(words[len(words)-1], "]"), "["); {
		case i == 0 && array:
			if s.constantBytes, err = strconv.Atoi(size); err != nil || s.constantBytes < 1 || s.constantBytes > driver.MaxConstants {
				return s, fmt.Errorf("got %q bytes of constants, want 1 to %d", size, driver.MaxConstants)
			}
		case i > 0 && words[1] == ".u64":
			s.buffers++
		default:
			return s, fmt.Errorf("got the parameter %q, want constants first and then pointers", strings.TrimSpace(p))
		}
	}
	if s.buffers > maxBindings {
		return s, fmt.Errorf("got %d buffers, want at most %d", s.buffers, maxBindings)
	}
	return s, nil
}
