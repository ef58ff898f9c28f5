package metalkern

import (
	"fmt"
	"strings"
	"testing"

	"segue/metalkern/kernels"
)

// TestDefines: numbers that a kernel and its op must agree on, or the op must not exceed.
func TestDefines(t *testing.T) {
	for _, d := range []struct {
		file, name string
		want       int
	}{
		{"sample", "SAMPLE_ENTRIES", sampleEntries},
		{"sample", "SAMPLE_SIMDGROUPS", sampleThreads / simdWidth},
		{"causal", "STEP_BLOCK", stepColumns},
		{"causal", "STEP_WHOLE", stepWhole},
		{"causal", "STEP_ROWS", stepRows},
		{"causal", "STEP_SLOTS", stepSlots},
		{"rvq", "RVQ_ROWS", rvqRows},
		{"rvq", "RVQ_SIMDGROUPS", rvqThreads / simdWidth},
		{"linear", "BLOCK", blockInputs},
		{"linear", "SLICES", mostSlices},
		{"linear", "EVEN_INPUTS", evenInputs},
		{"linear", "EVEN_OUTPUTS", evenOutputs},
		{"linear", "EVEN_ROWS", evenRows},
		{"lstm", "LSTM_UNITS", lstmThreads / simdWidth / 4},
	} {
		text, err := kernels.Source(d.file)
		if err != nil {
			t.Fatal(err)
		}
		if line := fmt.Sprintf("#define %s %d", d.name, d.want); !strings.Contains(text, line+" ") && !strings.Contains(text, line+"\n") {
			t.Errorf("%s.metal: got another %s, want %d", d.file, d.name, d.want)
		}
	}
}
