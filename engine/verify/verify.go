// Package verify compares a checkpoint, run by segue, with what the reference implementation gave on it.
//
//	golden.safetensors + golden.json ──► every comparison that its tensors allow ──► Rows
//
// Each check is a function of the golden's tensors; one whose tensors are absent is left out. Texts are run one at a time
// without padding, which is the same as the reference's padded and masked batch.
package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"segue/engine/kern"
	"segue/engine/musicgen"
	"segue/weights"
)

// Tolerances of the maximum absolute error. Codes and token ids must be the same, where the reference's choice was clear.
const (
	logitsTolerance     = 2e-4
	audioTolerance      = 1e-4
	textTolerance       = 1e-4
	embeddingsTolerance = 1e-4
	probsTolerance      = 1e-4
	// roundedTolerance is for logits of weights that were rounded to float16 after the golden was made: 2^-11 of each weight
	// moves a logit by about 1e-3 of its size.
	roundedTolerance = 1e-2
	// clearMargin is how far the two best logits must be apart for the choice between them to be clear.
	clearMargin = 1e-3
)

// Row is the outcome of one comparison.
type Row struct {
	Name      string  `json:"name"`
	MaxAbs    float64 `json:"maxAbs"`    // largest absolute error; for codes, how many differ
	NMSE      float64 `json:"nmse"`      // Σ(got-want)² / Σwant²
	Tolerance float64 `json:"tolerance"` // of MaxAbs
	Pass      bool    `json:"pass"`
	Note      string  `json:"note,omitempty"`
}

// Golden is a folder's reference results.
type Golden struct {
	file     *weights.File
	texts    []string
	tokenIDs [][]int32
}

// OpenGolden maps a golden.safetensors and reads the golden.json beside it.
func OpenGolden(path string) (*Golden, error) {
	var description struct {
		Texts    []string  `json:"texts"`
		TokenIDs [][]int32 `json:"token_ids"`
	}
	sidecar := strings.TrimSuffix(path, filepath.Ext(path)) + ".json"
	raw, err := os.ReadFile(sidecar)
	if err != nil {
		return nil, fmt.Errorf("golden: want golden.safetensors and golden.json beside a checkpoint, or the path of the former: %w", err)
	}
	if err := json.Unmarshal(raw, &description); err != nil {
		return nil, fmt.Errorf("golden: %s: %w", sidecar, err)
	}
	if len(description.Texts) != len(description.TokenIDs) {
		return nil, fmt.Errorf("golden: %s: got %d texts and %d token_ids, want as many", sidecar, len(description.Texts), len(description.TokenIDs))
	}
	file, err := weights.OpenSafetensors(path)
	if err != nil {
		return nil, err
	}
	return &Golden{file: file, texts: description.Texts, tokenIDs: description.TokenIDs}, nil
}

// Close unmaps the file.
func (g *Golden) Close() error { return g.file.Close() }

// names lists the tensors that begin with prefix and end with suffix, sorted, without the two.
func (g *Golden) names(prefix, suffix string) []string {
	var list []string
	for name := range g.file.Tensors {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if middle, ok := strings.CutSuffix(rest, suffix); ok {
				list = append(list, middle)
			}
		}
	}
	sort.Strings(list)
	return list
}

// tensor returns a tensor of rank dimensions, or nil when the golden has none of that name.
func (g *Golden) tensor(name string, rank int) (*weights.Tensor, error) {
	t := g.file.Tensors[name]
	if t != nil && len(t.Shape) != rank {
		return nil, fmt.Errorf("golden: %s: got shape %v, want %d dimensions", name, t.Shape, rank)
	}
	return t, nil
}

// checker runs the comparisons of one model.
type checker struct {
	ctx        context.Context
	golden     *Golden
	checkpoint *weights.Checkpoint
	model      *musicgen.Model
	backend    kern.Backend
	stream     kern.Stream
	rounded    bool    // the decoder's weights are the base's, rounded to float16
	logitError float64 // that this rounding causes
	rows       []Row
}

// Run makes every comparison that the golden's tensors allow with the checkpoint in dir; base is the folder that lends it what
// it lacks, or "". An error means that a comparison could not be made; failed comparisons are rows.
func Run(ctx context.Context, backend kern.Backend, dir, base string, golden *Golden) ([]Row, error) {
	checkpoint, err := weights.Open(dir, weights.Options{Base: base})
	if err != nil {
		return nil, err
	}
	model, err := musicgen.Load(ctx, backend, checkpoint, musicgen.Exact)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	stream, err := backend.Stream()
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	c := &checker{ctx: ctx, golden: golden, checkpoint: checkpoint, model: model, backend: backend, stream: stream}
	if c.rounded, err = roundedFrom(checkpoint, base, model.Config.Decoder); err != nil {
		return nil, err
	}
	for _, check := range []func() error{c.tokens, c.text, c.melody, c.codec, c.logits, c.prompts, c.greedy, c.sampling} {
		if err := check(); err != nil {
			return c.rows, err
		}
	}
	if len(c.rows) == 0 {
		return nil, fmt.Errorf("golden: got no tensor that segue knows, want some of text.*, encodec.*, lm.*, generate.*, continue.*, sampling.*")
	}
	return c.rows, nil
}

// floats adds a row that compares numbers.
func (c *checker) floats(name string, got, want []float32, tolerance float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("verify: %s: got %d numbers, want %d", name, len(got), len(want))
	}
	row := Row{Name: name, Tolerance: tolerance}
	var difference, energy float64
	for i := range got {
		d := float64(got[i]) - float64(want[i])
		if d != d {
			d = 1e30 // NaN is as wrong as can be
		}
		row.MaxAbs = max(row.MaxAbs, d, -d)
		difference += d * d
		energy += float64(want[i]) * float64(want[i])
	}
	row.NMSE = difference / max(energy, 1e-30)
	row.Pass = row.MaxAbs <= tolerance
	c.rows = append(c.rows, row)
	return nil
}

// integers adds a row that compares codes or ids; differing positions that excused forgives are only noted.
func (c *checker) integers(name string, got, want []int32, excused func(i int) bool) {
	row := Row{Name: name}
	ties := 0
	if len(got) != len(want) {
		row.MaxAbs, row.Note = float64(max(len(got), len(want))), fmt.Sprintf("got %d, want %d", len(got), len(want))
	} else {
		for i := range got {
			switch {
			case got[i] == want[i]:
			case excused != nil && excused(i):
				ties++
			default:
				row.MaxAbs++
			}
		}
	}
	if ties > 0 {
		row.Note = fmt.Sprintf("%d of %d at or after a near-tie", ties, len(want))
	}
	row.Pass = row.MaxAbs == 0
	c.rows = append(c.rows, row)
}
