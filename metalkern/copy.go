package metalkern

// Copies: between host and device at the edges of a request, and on the device.

import (
	"fmt"

	"segue/engine/kern"
	"segue/metalkern/driver"
)

var copyWords = kernelName{"copy", "copy_words"}

// copyArgs is CopyArgs of copy.metal.
type copyArgs struct {
	count uint32
}

func (s *stream) Upload(dst kern.Slice, src []float32) {
	if s.alive() && s.fits("upload", dst, len(src)) {
		s.write(s.floats("upload", "dst", dst, len(src)), bytesOf(src))
	}
}

func (s *stream) UploadInts(dst kern.Slice, src []int32) {
	if s.alive() && s.fits("upload", dst, len(src)) {
		s.write(s.ints("upload", "dst", dst, len(src)), bytesOf(src))
	}
}

func (s *stream) write(to region, data []byte) {
	if s.err != nil || len(data) == 0 {
		return
	}
	s.record()
	s.hazards.clear() // the queue orders its own writes
	if err := s.queue.Write(driver.Binding{Buffer: to.memory, Offset: to.from}, data); err != nil {
		s.fail(fmt.Errorf("metalkern: upload: %w", err))
	}
}

func (s *stream) Download(dst []float32, src kern.Slice) error {
	if s.alive() && s.fits("download", src, len(dst)) {
		s.read(bytesOf(dst), s.floats("download", "src", src, len(dst)))
	}
	return s.err
}

func (s *stream) DownloadInts(dst []int32, src kern.Slice) error {
	if s.alive() && s.fits("download", src, len(dst)) {
		s.read(bytesOf(dst), s.ints("download", "src", src, len(dst)))
	}
	return s.err
}

func (s *stream) read(data []byte, from region) {
	if s.err != nil || len(data) == 0 {
		return
	}
	s.hazards.clear()
	if err := s.queue.Read(data, driver.Binding{Buffer: from.memory, Offset: from.from}); err != nil {
		s.fail(fmt.Errorf("metalkern: download: %w", err))
		return
	}
	s.dirty = false // a read waits for everything before it
	s.pause()
}

func (s *stream) Copy(dst, src kern.Slice) {
	if !s.alive() || !s.fits("copy", dst, src.N) {
		return
	}
	to, from := s.window("copy", "dst", dst, src.N), s.window("copy", "src", src, src.N)
	if s.err != nil || src.N == 0 {
		return
	}
	if to.ints != from.ints {
		s.shapef("copy", "got floats and integers, want the same")
		return
	}
	target, source := to.first(dst, src.N), from.first(src, src.N)
	s.apart("copy", "src", target, source)
	if p, ok := s.pipeline(copyWords); ok {
		threads := p.threads(256)
		groups := driver.Size{X: min(ceilDiv(src.N, threads), 1024), Y: 1, Z: 1}
		s.dispatch(p, groups, threads, constants(s, copyArgs{uint32(src.N)}), source, target.written())
	}
}

// fits wants a window of exactly n elements.
func (s *stream) fits(op string, w kern.Slice, n int) bool {
	if w.N != n {
		s.shapef(op, "got windows of %d and %d elements, want the same", w.N, n)
	}
	return s.err == nil
}
