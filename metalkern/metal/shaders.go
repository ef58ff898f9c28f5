//go:build (darwin || linux) && (amd64 || arm64)

package metal

import (
	"fmt"
	"sync"

	"segue/metalkern/driver"
)

// shaders are the compiled kernels of one file. A file is compiled when it is first asked for, so that one which a
// compiler refuses does not take the others with it.
type shaders struct {
	device *device
	name   string
	id     id

	lock      sync.Mutex
	pipelines map[string]*pipeline
}

type pipeline struct {
	device  *device
	kernel  string
	id      id
	threads int
}

func (d *device) Library(name string) (driver.Library, error) {
	d.lock.Lock()
	defer d.lock.Unlock()
	if s := d.libraries[name]; s != nil {
		return s, nil
	}
	if d.closed {
		return nil, errClosed
	}
	text, err := d.source(name)
	if err != nil {
		return nil, fmt.Errorf("metal: kernels of %s: %w", name, err)
	}
	s := &shaders{device: d, name: name, pipelines: map[string]*pipeline{}}
	err = d.thread.do(func(c *caller) (err error) {
		s.id, err = d.compile(c, name, text)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.libraries[name] = s
	return s, nil
}

func (d *device) compile(c *caller, name, text string) (id, error) {
	options, err := d.options(c)
	if err != nil {
		return 0, err
	}
	defer c.send(options, objectRelease)
	source, err := c.nsString(text)
	if err != nil {
		return 0, err
	}
	library := id(c.send(d.id, deviceNewLibrary, uintptr(source), uintptr(options), c.errorPlace()))
	if library == 0 {
		return 0, fmt.Errorf("metal: kernels of %s: the compiler says: %s", name, c.failure(id(c.err)))
	}
	return c.verifyNew(library, "MTLLibrary")
}

// options ask for arithmetic that keeps NaN and infinity, which sampling needs, and for precise functions such as exp: Metal's
// own choice is fast in both. Since macOS 15 these are two choices, before they are one.
func (d *device) options(c *caller) (id, error) {
	class, err := c.class("MTLCompileOptions")
	if err != nil {
		return 0, err
	}
	options := id(c.send(id(c.send(class, objectAlloc)), objectInit))
	if options == 0 {
		return 0, fmt.Errorf("metal: no MTLCompileOptions")
	}
	options, err = c.verifyNew(options, "MTLCompileOptions")
	if err != nil {
		return 0, err
	}
	c.send(options, optionsLanguage, languageMetal3)
	switch {
	case c.selectors[optionsMathMode] != 0:
		c.send(options, optionsMathMode, mathSafe)
		if c.selectors[optionsFunctions] != 0 {
			c.send(options, optionsFunctions, functionsPrecise)
		}
	case c.selectors[optionsFastMath] != 0:
		c.send(options, optionsFastMath, 0)
	default:
		c.send(options, objectRelease)
		return 0, fmt.Errorf("metal: MTLCompileOptions has neither setMathMode: nor setFastMathEnabled:")
	}
	return options, nil
}

// Pipeline leaves registers to Metal's compiler.
func (s *shaders) Pipeline(kernel string, _ int) (driver.Pipeline, error) {
	s.lock.Lock()
	defer s.lock.Unlock()
	if p := s.pipelines[kernel]; p != nil {
		return p, nil
	}
	p := &pipeline{device: s.device, kernel: kernel}
	err := s.device.thread.do(func(c *caller) error { return s.make(c, p) })
	if err != nil {
		return nil, fmt.Errorf("metal: kernel %s of %s: %w", kernel, s.name, err)
	}
	s.pipelines[kernel] = p
	return p, nil
}

func (s *shaders) make(c *caller, p *pipeline) error {
	name, err := c.nsString(p.kernel)
	if err != nil {
		return err
	}
	function := id(c.send(s.id, libraryNewFunction, uintptr(name)))
	if function == 0 {
		return fmt.Errorf("the library has no such function")
	}
	defer c.send(function, objectRelease)
	p.id = id(c.send(s.device.id, deviceNewPipeline, uintptr(function), c.errorPlace()))
	if p.id == 0 {
		return fmt.Errorf("no pipeline: %s", c.failure(id(c.err)))
	}
	if p.id, err = c.verifyNew(p.id, "MTLComputePipelineState"); err != nil {
		return err
	}
	if width := c.send(p.id, pipelineWidth); width != simdgroupThreads {
		c.send(p.id, objectRelease)
		return fmt.Errorf("got simdgroups of %d threads, want %d", width, simdgroupThreads)
	}
	p.threads = int(c.send(p.id, pipelineMaxThreads))
	return nil
}

func (s *shaders) release(c *caller) {
	for _, p := range s.pipelines {
		c.send(p.id, objectRelease)
	}
	c.send(s.id, objectRelease)
}

func (p *pipeline) MaxThreads() int { return p.threads }
