package cuda

import "strings"

// From Hopper on, a kernel of a graph may start while the one before it ends: its threadgroups are placed and its parameters
// read, then it waits until all of the earlier kernel is done and visible, and only then touches memory. In a step of a
// few hundred short kernels one after another that hides most of the time between them.
//
// The kernels need two instructions for it at their beginning, which older GPUs do not have; so they are put into the text
// for those that do. Every kernel waits there, so one that has ended has seen all before it end.
const overlapMajor = 9

// overlapping is for measuring: go build -ldflags '-X segue/metalkern/cuda.overlapping=no'.
var overlapping = "yes"

const beginning = "\tgriddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;\n"

// overlapped is the text of one kernel with the two instructions behind its declarations.
func overlapped(ptx string) string {
	ptx = strings.Replace(ptx, ".target sm_80", ".target sm_90", 1)
	at := strings.Index(ptx, "\n{\n") + len("\n{\n")
	for strings.HasPrefix(ptx[at:], "\t.") {
		at += strings.Index(ptx[at:], "\n") + 1
	}
	return ptx[:at] + beginning + ptx[at:]
}
