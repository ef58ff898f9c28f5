//go:build linux && (amd64 || arm64)

package metalkern

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"segue/engine/kern"
	"segue/metalkern/mtltest"
	"segue/weights"
)

// TestVariants: which of its kernels an op takes, and how many threads they are allowed, decides speed alone: the same
// bits come from all. Few cores make simdgroups take many outputs, many cores few.
func TestVariants(t *testing.T) {
	k := open(t).(*backend)
	want := compareCores(t, k)
	for _, threads := range []int{32, 96} {
		mtltest.Threads(threads)
		few := open(t).(*backend)
		few.info.Cores = 1
		got := variantBits(t, few)
		mtltest.Threads(1024)
		compareVariants(t, fmt.Sprintf("%d threads", threads), got, want)
	}
}

// compareCores wants the same bits whatever the number of cores, and returns them.
func compareCores(t *testing.T, k *backend) (want map[string][]float32) {
	want = variantBits(t, k)
	for _, cores := range []int{1, 7, 1000} {
		k.info.Cores = cores
		compareVariants(t, fmt.Sprintf("%d cores", cores), variantBits(t, k), want)
	}
	return want
}

func compareVariants(t *testing.T, what string, got, want map[string][]float32) {
	t.Helper()
	for name, values := range want {
		if !slices.EqualFunc(got[name], values, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }) {
			t.Errorf("%s: %s has other bits", what, name)
		}
	}
}

// variantBits runs ops that have several kernels. Their inputs are the same each time.
func variantBits(t *testing.T, k *backend) map[string][]float32 {
	v := &variants{t: t, k: k, random: rand.New(rand.NewPCG(1, 2)), results: map[string][]float32{}}
	var err error
	if v.s, err = k.Stream(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8, kern.Q4} {
		for _, rows := range []int{1, 2, 3, 8, 12, 67} {
			v.linear(p, rows, 157, 612)
		}
		v.linear(p, 163, 203, 97)
	}
	for _, p := range []kern.Precision{kern.F32, kern.F16, kern.Q8} {
		for _, dim := range []int{24, 64} { // 64 has kernels of its own
			v.causal(p, dim, 70, 1)
			v.causal(p, dim, 70, 3)
			v.causal(p, dim, 70, 19)
		}
		v.causal(p, 64, 600, 1)
	}
	if err := v.s.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range v.made {
		o.Free()
	}
	return v.results
}

type variants struct {
	t       *testing.T
	k       *backend
	s       kern.Stream
	random  *rand.Rand
	made    []kern.Object
	results map[string][]float32
}

func keep[T kern.Object](v *variants) func(made T, err error) T {
	return func(made T, err error) T {
		v.t.Helper()
		if err != nil {
			v.t.Fatal(err)
		}
		v.made = append(v.made, made)
		return made
	}
}

func (v *variants) tensor(shape ...int) *weights.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(v.random.NormFloat64())
	}
	return weights.FromFloats("random", values, shape...)
}

func (v *variants) vector(n int) kern.Slice {
	return kern.All(keep[kern.Buffer](v)(v.k.Vector(v.tensor(n))))
}

func (v *variants) result(name string, dst kern.Slice) {
	v.t.Helper()
	out := make([]float32, dst.N)
	if err := v.s.Download(out, dst); err != nil {
		v.t.Fatal(err)
	}
	v.results[name] = out
}

func (v *variants) linear(p kern.Precision, rows, n, k int) {
	dst := kern.All(keep[kern.Buffer](v)(v.k.Floats(rows * n)))
	v.s.Linear(kern.Linear{
		Dst: dst, X: v.vector(rows * k), W: keep[kern.Matrix](v)(v.k.Matrix(p, v.tensor(n, k))), Rows: rows,
		Norm: kern.NormWeights{Kind: kern.LayerNorm, Weight: v.vector(k), Bias: v.vector(k), Epsilon: 1e-5},
		Bias: v.vector(n), Act: kern.GELU, Residual: v.vector(rows * n),
	})
	v.result(fmt.Sprintf("linear %v of %d rows, %d outputs, %d inputs", p, rows, n, k), dst)
}

func (v *variants) causal(p kern.Precision, dim, prefixed, columns int) {
	const rows, heads = 4, 3
	shape := kern.CacheShape{Layers: 1, Rows: 2, Columns: prefixed, Heads: heads, HeadDim: dim}
	prefix := keep[kern.Cache](v)(v.k.Cache(p, shape))
	filled := kern.All(keep[kern.Buffer](v)(v.k.Floats(2 * prefixed * heads * dim)))
	v.s.CausalAttention(kern.CausalAttention{
		Dst: filled, QKV: v.vector(2 * prefixed * 3 * heads * dim), Cache: prefix, Rows: 2, Columns: prefixed, Scale: 0.2,
	})
	shape.Rows, shape.Columns = rows, columns
	dst := kern.All(keep[kern.Buffer](v)(v.k.Floats(rows * columns * heads * dim)))
	v.s.CausalAttention(kern.CausalAttention{
		Dst: dst, QKV: v.vector(rows * columns * 3 * heads * dim), Cache: keep[kern.Cache](v)(v.k.Cache(p, shape)),
		Prefix: prefix, PrefixColumns: prefixed, Variations: 2, Rows: rows, Columns: columns, Scale: 0.2,
	})
	v.result(fmt.Sprintf("causal %v of %d columns, heads of %d, prefix of %d", p, columns, dim, prefixed), dst)
}
