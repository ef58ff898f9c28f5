package engine

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// What the catalog says of a download's size is near what the published repositories hold. What the fine-tunes hold it leaves open.
func TestCatalogSizes(t *testing.T) {
	published := map[string]float64{
		"small": 2.4, "medium": 8, "large": 13.7, "melody": 6.1, "melody-large": 10.5,
		"stereo-small": 1.22, "stereo-medium": 4.07, "stereo-large": 6.9, "stereo-melody": 6.3, "stereo-melody-large": 10.6,
	}
	for _, p := range catalog {
		want, told := published[p.short()]
		delete(published, p.short())
		_, size, found := strings.Cut(p.info().Description, "(about ")
		if found != told || told == p.fineTune {
			t.Errorf("%s: got %q", p.repo, p.info().Description)
			continue
		}
		if !told {
			continue
		}
		var got float64
		if _, err := fmt.Sscanf(size, "%f GB)", &got); err != nil || math.Abs(got-want) > 0.03*want {
			t.Errorf("%s: got %g GB, %v, want %g", p.repo, got, err, want)
		}
	}
	if len(published) != 0 {
		t.Errorf("not in the catalog: %v", published)
	}
}
