package cuda

import "strings"

// From Hopper on, a kernel may start while the one before it ends: its threadgroups are placed, its parameters and the first
// weights read; then it waits until all of the earlier kernel is done and visible. In a step of a few hundred short kernels one
// after another that hides most of the time between them.
//
// The kernels need two instructions for it, which older GPUs do not have; so they are put into the text for those that do:
// the wait where the text says AFTER_EARLIER, else at the beginning. Every kernel waits, so one that has ended has seen all
// before it end. What it reads before it waits is weights, or what nothing that is handed over with it writes: the first of
// these, or their graph, waits for all before.
const overlapMajor = 9

// overlapping is for measuring: go build -ldflags '-X segue/metalkern/cuda.overlapping=no'.
var overlapping = "yes"

const (
	wait  = "\tgriddepcontrol.wait;\n"
	allow = "\tgriddepcontrol.launch_dependents;\n" // the next kernel may start when all threadgroups have come by
	mark  = "\t// after earlier\n"                  // AFTER_EARLIER of mtl_cuda.h
)

// overlapped is the text of one kernel with the two instructions in it.
func overlapped(ptx string) string {
	ptx = strings.Replace(ptx, ".target sm_80", ".target sm_90", 1)
	begin := allow
	if strings.Contains(ptx, mark) {
		ptx = strings.ReplaceAll(ptx, mark, wait)
	} else {
		begin = wait + allow
	}
	at := strings.Index(ptx, "\n{\n") + len("\n{\n")
	for strings.HasPrefix(ptx[at:], "\t.") { // declarations
		at += strings.Index(ptx[at:], "\n") + 1
	}
	return ptx[:at] + begin + ptx[at:]
}
