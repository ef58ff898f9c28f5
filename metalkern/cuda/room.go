package cuda

import "slices"

// A kernel that starts early finds the one before it at work, and the device puts its threadgroups wherever a core has room:
// 128 of them on 90 of 132 cores, up to four on one, for which all the others wait in the end. So each threadgroup of a step's
// kernels takes more of a core's threadgroup memory than it needs, as much as leaves a core room for twice its share of them:
// for its share of this kernel and of the next.
//
//	a core's 64 KB, 128 threadgroups on 132 cores:  │ 32 of one │ 32 of another, or of the next kernel │
//	a core's 64 KB, 256 threadgroups on 132 cores:  │ 16 │ 16 │ 16 │ 16 │
//
// All of a step's kernels have a core's memory divided in the same way, so that none need wait until it is divided anew. What
// is not threadgroups' is cache.

// stepFiles have the kernels of a step, which are many and short, and run a thousand times in a request. A prefill's, a codec's
// and a text's run once, and long.
var stepFiles = []string{"attention", "causal", "embed", "linear", "sample"}

const (
	// stepBytes of a core's memory are for threadgroups in a step.
	stepBytes = 64 << 10
	// littleBytes is what a kernel of a step has of its own at most; one with more gets what the driver thinks best.
	littleBytes = 24 << 10
)

// ofStep says whether a kernel is a step's.
func (p *pipeline) ofStep() bool {
	return slices.Contains(stepFiles, p.of.name) && p.ownBytes+p.brought <= littleBytes
}

// allot tells the driver what launches of a kernel bring, and how a core's memory is to be divided for it. It is the pipeline's kernel
// or stands in for it.
func (p *pipeline) allot(f function) error {
	api := p.of.device.api
	if p.brought > 0 {
		if err := api.setFunctionAttribute(f, functionMostBrought, p.brought); err != nil {
			return err
		}
	}
	if !p.ofStep() {
		return nil
	}
	return api.setFunctionAttribute(f, functionCarveOut, 100*stepBytes/max(stepBytes, p.of.device.coreBytes))
}

// room is how many bytes each threadgroup of a launch takes beside its kernel's own. Where none starts early it would be for nothing.
func (p *pipeline) room(groups [3]uint32) uint32 {
	if !p.ofStep() || !p.of.device.overlap {
		return 0
	}
	const unit = 128 // in which the device gives it
	all, cores := int(groups[0])*int(groups[1])*int(groups[2]), max(1, p.of.device.info.Cores)
	share := (all + cores - 1) / cores
	return uint32(max(0, stepBytes/2/share-p.ownBytes-p.brought-p.of.device.reservedBytes) / unit * unit)
}
