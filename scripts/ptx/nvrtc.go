//go:build linux

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ebitengine/purego"
)

// nvrtc is the compiler's library.
type nvrtc struct {
	version string

	create           func(program *uintptr, source, name string, headerCount int32, headers, names **byte) int32
	compiled         func(program uintptr, optionCount int32, options **byte) int32
	destroy          func(program *uintptr) int32
	logSize, ptxSize func(program uintptr, size *uintptr) int32
	log, ptx         func(program uintptr, text *byte) int32
	text             func(code int32) string
}

func openNVRTC(file string) (*nvrtc, error) {
	library, err := purego.Dlopen(file, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("ptx: NVRTC: %w (make ptx gets it)", err)
	}
	n := &nvrtc{}
	for name, fn := range map[string]any{
		"nvrtcCreateProgram": &n.create, "nvrtcCompileProgram": &n.compiled, "nvrtcDestroyProgram": &n.destroy,
		"nvrtcGetProgramLogSize": &n.logSize, "nvrtcGetPTXSize": &n.ptxSize,
		"nvrtcGetProgramLog": &n.log, "nvrtcGetPTX": &n.ptx, "nvrtcGetErrorString": &n.text,
	} {
		purego.RegisterLibFunc(fn, library, name)
	}
	var version func(major, minor *int32) int32
	purego.RegisterLibFunc(&version, library, "nvrtcVersion")
	var major, minor int32
	if code := version(&major, &minor); code != 0 {
		return nil, fmt.Errorf("ptx: nvrtcVersion: %s", n.text(code))
	}
	n.version = fmt.Sprintf("%d.%d", major, minor)
	return n, nil
}

// compile returns the PTX for a virtual GPU.
func (n *nvrtc) compile(name, source, headerText, gpu string) (ptx string, err error) {
	var program uintptr
	headers, names := cText(headerText), cText(header)
	if code := n.create(&program, source, name+".cu", 1, &headers, &names); code != 0 {
		return "", fmt.Errorf("nvrtcCreateProgram: %s", n.text(code))
	}
	defer n.destroy(&program)
	var options []*byte
	for _, o := range []string{"--gpu-architecture=" + gpu, "--std=c++17", "--device-as-default-execution-space"} {
		options = append(options, cText(o))
	}
	code := n.compiled(program, int32(len(options)), &options[0])
	log, err := n.get(program, n.logSize, n.log)
	if err != nil {
		return "", err
	}
	if log = strings.TrimSpace(log); code != 0 || log != "" { // a warning is an error
		return "", fmt.Errorf("nvrtcCompileProgram: %s\n%s", n.text(code), log)
	}
	return n.get(program, n.ptxSize, n.ptx)
}

// get fetches a text whose size is asked for first.
func (n *nvrtc) get(program uintptr, size func(uintptr, *uintptr) int32, fetch func(uintptr, *byte) int32) (string, error) {
	var bytes uintptr
	if code := size(program, &bytes); code != 0 {
		return "", errors.New("nvrtc: " + n.text(code))
	}
	b := make([]byte, bytes+1)
	if code := fetch(program, &b[0]); code != 0 {
		return "", errors.New("nvrtc: " + n.text(code))
	}
	text, _, _ := strings.Cut(string(b), "\x00")
	return text, nil
}

func cText(s string) *byte {
	b := append([]byte(s), 0)
	return &b[0]
}
