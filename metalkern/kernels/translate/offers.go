package translate

import "regexp"

// Units before the text of kernels lets them multiply on the processor as on NVIDIA's matrix units; Warpgroups, as where simdgroups
// multiply there by fours.
const (
	Units      = "#define MK_UNITS\n"
	Warpgroups = Units + "#define MK_WARPGROUPS\n"
)

// offers are the words by which a header says that it brings something of its own.
var offers = regexp.MustCompile(`(?m)^#define (MK_\w+)$`)

// Offers defines them for the C preprocessor, which kernels pass first.
func Offers(header string) (arguments []string) {
	for _, offer := range offers.FindAllStringSubmatch(header, -1) {
		arguments = append(arguments, "-D"+offer[1])
	}
	return arguments
}
