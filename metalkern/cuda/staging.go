package cuda

import "errors"

// staging is memory that the device copies from and to by itself: two halves, one filled while the other is on its way.
// Small writes queue up in a half, so that a few of them wait for nothing.
type staging struct {
	api    api
	halves [2]half
	now    int // the half that is being filled
}

type half struct {
	memory []byte
	used   int
	done   event
	busy   bool // done has been recorded since it was last waited for
}

const halfBytes = 4 << 20

// open gets the memory at first use.
func (s *staging) open() (err error) {
	if s.halves[1].memory != nil {
		return nil
	}
	for i := range s.halves {
		h := &s.halves[i]
		if h.done == 0 {
			if h.done, err = s.api.newEvent(); err != nil {
				return err
			}
		}
		if h.memory == nil {
			if h.memory, err = s.api.allocatePinned(halfBytes); err != nil {
				return err
			}
		}
	}
	return nil
}

// room returns the next free part of a half, at most n bytes long. A full half is left to the device.
func (s *staging) room(n int, on stream) ([]byte, error) {
	h := &s.halves[s.now]
	if h.used == len(h.memory) {
		if err := s.api.record(h.done, on); err != nil {
			return nil, err
		}
		h.busy = true
		s.now = 1 - s.now
		h = &s.halves[s.now]
		if h.busy {
			if err := s.api.waitEvent(h.done); err != nil {
				return nil, err
			}
		}
		h.busy, h.used = false, 0
	}
	n = min(n, len(h.memory)-h.used)
	room := h.memory[h.used : h.used+n : h.used+n]
	h.used += n
	return room, nil
}

// upload returns when src may be used again.
func (s *staging) upload(to address, src []byte, on stream) error {
	if err := s.open(); err != nil {
		return err
	}
	for len(src) > 0 {
		room, err := s.room(len(src), on)
		if err != nil {
			return err
		}
		copy(room, src)
		if err := s.api.upload(to, room, on); err != nil {
			return err
		}
		src, to = src[len(room):], to+address(len(room))
	}
	return nil
}

// download returns when dst is filled.
func (s *staging) download(from address, dst []byte, on stream) error {
	if err := s.open(); err != nil {
		return err
	}
	for len(dst) > 0 {
		room, err := s.room(len(dst), on)
		if err != nil {
			return err
		}
		if err := s.api.download(room, from, on); err != nil {
			return err
		}
		h := &s.halves[s.now]
		if err := s.api.record(h.done, on); err != nil {
			return err
		}
		if err := s.api.waitEvent(h.done); err != nil {
			return err
		}
		// Everything before has passed too: both halves are free again.
		for i := range s.halves {
			s.halves[i].used, s.halves[i].busy = 0, false
		}
		copy(dst, room)
		dst, from = dst[len(room):], from+address(len(room))
	}
	return nil
}

func (s *staging) free() error {
	var errs []error
	for i := range s.halves {
		h := &s.halves[i]
		if h.memory != nil {
			errs = append(errs, s.api.freePinned(h.memory))
		}
		if h.done != 0 {
			errs = append(errs, s.api.destroyEvent(h.done))
		}
		*h = half{}
	}
	return errors.Join(errs...)
}
