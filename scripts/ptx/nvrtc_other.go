//go:build !linux

package main

import "errors"

type nvrtc struct{ version string }

func openNVRTC(string) (*nvrtc, error) {
	return nil, errors.New("ptx: making PTX is prepared for Linux only; --check works everywhere")
}

func (n *nvrtc) compile(name, source, headerText, gpu string) (string, error) {
	return "", errors.ErrUnsupported
}
