package weights

import (
	"fmt"
	"maps"
	"math"
	"path"
	"slices"
	"strings"
)

// A Binder hands a checkpoint's tensors to the models and collects every problem on the way, so that a wrong file is
// reported once and whole: ask for everything, then look at Err.
type Binder struct {
	path     string
	tensors  map[string]*Tensor
	used     map[string]bool
	ignored  []string
	problem  BindError
	invented *inventor // supplies what Tensor asks for; nil but in Synthetic checkpoints
}

// Bind begins a new binding.
func (c *Checkpoint) Bind() *Binder {
	return &Binder{path: c.Dir, tensors: c.tensors, used: map[string]bool{}, invented: c.invented}
}

// Tensor returns the tensor of that name and shape; a dimension of -1 stands for any. If it is missing or has another
// shape the problem is recorded and an empty tensor of the same rank is returned.
func (b *Binder) Tensor(name string, shape ...int) *Tensor {
	if t := b.Optional(name, shape...); t != nil {
		return t
	}
	if b.invented != nil {
		b.tensors[name], b.used[name] = b.invented.tensor(name, shape), true
		return b.tensors[name]
	}
	if b.tensors[name] == nil {
		b.problem.Missing = append(b.problem.Missing, name)
	}
	return placeholder(name, shape)
}

// Optional is Tensor for one that may be absent, nil then.
func (b *Binder) Optional(name string, shape ...int) *Tensor {
	t := b.tensors[name]
	if t == nil {
		return nil
	}
	b.used[name] = true
	switch {
	case !sameShape(t.Shape, shape):
		b.refuse(name, "shape %v, want %v", t.Shape, shape)
		return placeholder(name, shape)
	case t.DType == I8 && t.Scales == nil:
		b.refuse(name, "dtype I8 without %s%s, want both, or floats", name, scaleSuffix)
		return placeholder(name, shape)
	case !t.float():
		b.refuse(name, "dtype %s, want floats", t.DType)
		return placeholder(name, shape)
	}
	return t
}

// Conv returns the weight of a convolution: prefix.weight, or weight_g and weight_v, derived by folding them into one. weight_v has the
// weight's shape, weight_g one factor for each index of the first dimension (the input channel of a transposed
// convolution).
func (b *Binder) Conv(prefix string, shape ...int) *Tensor {
	name := prefix + ".weight"
	if b.tensors[name] != nil || b.tensors[name+"_v"] == nil {
		return b.Tensor(name, shape...)
	}
	gain := []int{shape[0]}
	for range shape[1:] {
		gain = append(gain, 1)
	}
	g, v := b.Tensor(name+"_g", gain...), b.Tensor(name+"_v", shape...)
	if g.Len() == 0 || v.Len() == 0 || g.Len() != v.Shape[0] {
		return placeholder(name, shape)
	}
	return Derive(name, func() []float32 { return foldWeightNorm(g.Floats(), v.Floats()) }, v.Shape...)
}

// foldWeightNorm: w[i] = g[i] · v[i] / ‖v[i]‖, one i per element of g; the norm in float64. A zero v stays zero.
func foldWeightNorm(g, v []float32) []float32 {
	w := make([]float32, len(v))
	n := len(v) / len(g)
	for i, gain := range g {
		sum := 0.0
		for _, x := range v[i*n : (i+1)*n] {
			sum += float64(x) * float64(x)
		}
		if sum == 0 {
			continue
		}
		scale := float64(gain) / math.Sqrt(sum)
		for j := i * n; j < (i+1)*n; j++ {
			w[j] = float32(scale * float64(v[j]))
		}
	}
	return w
}

// Ignore says that tensors whose name begins with pattern, or matches it as in path.Match, may be present unused.
func (b *Binder) Ignore(pattern string) { b.ignored = append(b.ignored, pattern) }

// Err returns a *BindError, or nil if every tensor was found, fits and is known.
func (b *Binder) Err() error {
	problem := b.problem
	problem.Path = b.path
	for _, name := range slices.Sorted(maps.Keys(b.tensors)) {
		if !b.used[name] && !b.isIgnored(name) {
			problem.Extra = append(problem.Extra, name)
		}
	}
	if len(problem.Missing)+len(problem.Wrong)+len(problem.Extra) == 0 {
		return nil
	}
	return &problem
}

func (b *Binder) isIgnored(name string) bool {
	return slices.ContainsFunc(b.ignored, func(pattern string) bool {
		matched, _ := path.Match(pattern, name)
		return matched || strings.HasPrefix(name, pattern)
	})
}

func (b *Binder) refuse(name, format string, args ...any) {
	b.problem.Wrong = append(b.problem.Wrong, name+": got "+fmt.Sprintf(format, args...))
}

// placeholder has the rank that was asked for and no elements: code that only passes tensors on needs no checks.
func placeholder(name string, shape []int) *Tensor {
	return &Tensor{Name: name, DType: F32, Shape: make([]int, len(shape))}
}

func sameShape(got, want []int) bool {
	return slices.EqualFunc(got, want, func(g, w int) bool { return g == w || w == -1 })
}

func (t *Tensor) float() bool {
	return t.DType == F32 || t.DType == F16 || t.DType == BF16 || t.DType == F64 || t.Scales != nil
}

// BindError lists everything in which a checkpoint's tensors differ from what its configuration promises.
type BindError struct {
	Path    string
	Missing []string
	Wrong   []string // name, what was got, what was wanted
	Extra   []string // never asked for
}

func (e *BindError) Error() string {
	parts := []string{}
	for _, list := range []struct {
		what  string
		names []string
	}{{"missing", e.Missing}, {"wrong", e.Wrong}, {"unknown", e.Extra}} {
		if n := len(list.names); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", n, list.what, abridge(list.names)))
		}
	}
	return fmt.Sprintf("weights: %s: tensors do not fit the configuration: %s", e.Path, strings.Join(parts, "; "))
}

// abridge shows the first ten.
func abridge(names []string) string {
	const most = 10
	var shown []string
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, plain(name))
	}
	text := strings.Join(shown, ", ")
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}
