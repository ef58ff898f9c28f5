package kern

// The closed op list. Shapes are row-major; a letter is one dimension throughout: R rows, K inputs,
// N outputs, D model width, T time, C channels. Buffers of one op must not overlap unless its comment
// allows it. Sums accumulate in float32 or better, in an order fixed per output element.

// Activation is applied to an op's result before its residual is added.
type Activation uint8

const (
	Identity Activation = iota
	GELU                // x/2·(1+erf(x/√2)), the exact form
	ReLU                // max(x, 0)
)

// NormKind is the row normalisation of a Norm or of a Linear's prologue.
type NormKind uint8

const (
	NoNorm    NormKind = iota
	LayerNorm          // (x-mean)/√(var+ε)·weight + bias, biased variance
	RMSNorm            // x/√(mean(x²)+ε)·weight
)

// NormWeights are the parameters of a normalisation over rows of D numbers.
type NormWeights struct {
	Kind    NormKind
	Weight  Slice // [D]
	Bias    Slice // [D], LayerNorm only
	Epsilon float32
}

// Linear: Dst[r] = act(norm(X[r])·Wᵀ + Bias) + Residual[r].
//
// X [Rows, K], W [N, K], Dst and Residual [Rows, N]. Dst may be Residual; Dst may not be X.
// The weight is read once however many rows there are.
type Linear struct {
	Dst, X   Slice
	W        Matrix
	Rows     int
	Norm     NormWeights // before; Kind NoNorm for none
	Bias     Slice       // [N], optional
	Act      Activation
	Residual Slice // optional
}

// Norm: Dst[r] = norm(X[r]). X and Dst [Rows, D] may be the same.
type Norm struct {
	Dst, X Slice
	Rows   int
	Norm   NormWeights
}

// Embed: Dst[r·Columns+i] = Σ_q Tables[q][Codes[r mod Variations][q][First+i]] + Positions[First+i],
// added in order q = 0, 1, …
//
// Codes is int32 [Variations, len(Tables), Stride]; Dst [Rows·Columns, D]; Positions [≥First+Columns, D].
// A code outside its table is a stream error on the CPU and reads row 0 on a GPU.
type Embed struct {
	Dst              Slice
	Tables           []Matrix
	Codes            Slice
	Stride           int
	Rows, Variations int
	First, Columns   int
	Positions        Slice // optional
}

// CausalAttention appends Columns new columns to a cache and attends from each to all columns up to
// itself: first those of Prefix, which rows share, then the row's own.
//
// QKV [Rows·Columns, 3·D] holds query, key and value of each new column, D = Heads·HeadDim. Row r of the
// own Cache receives them at columns Column…Column+Columns-1 of Layer. Row r reads the first PrefixColumns
// columns of Prefix row r/Variations. Dst [Rows·Columns, D]:
//
//	Dst[r,i] = Σ_j softmax_j(Scale·q[r,i]·k[j])·v[j],  j over prefix columns, then own columns ≤ Column+i
//
// The softmax is taken in float32 with the row maximum subtracted.
type CausalAttention struct {
	Dst, QKV      Slice
	Cache         Cache
	Prefix        Cache // optional
	PrefixColumns int
	Layer         int
	Rows, Columns int
	Variations    int // rows per prefix row
	Column        int // first new column, counted within Cache
	Scale         float32
}

// Attention attends from every row to the same Keys, without a mask.
//
// Query r is Q[r·QStride : +Heads·HeadDim]; key and value j begin at K and V + j·KVStride. Dst [Rows, Heads·HeadDim].
// With Bias [Heads, Rows+Keys-1], score[h,r,j] gains Bias[h, j-r+Rows-1] (T5's relative positions; Rows = Keys).
type Attention struct {
	Dst, Q, K, V      Slice
	QStride, KVStride int
	Rows, Keys        int
	Heads, HeadDim    int
	Scale             float32
	Bias              Slice // optional
}

// PadMode is what a convolution sees outside its input.
type PadMode uint8

const (
	PadZero    PadMode = iota
	PadReflect         // mirrored without repeating the edge sample
)

// Conv is a padded cross-correlation over time, channels innermost:
//
//	Dst[t,o] = Bias[o] + Σ_{i,j} W[o,i,j]·pad(f(X))[t·Stride + j·Dilation, i] + Residual[t,o],  f = ELU or identity
//
// X [T, In], Dst and Residual [OutT, Out], OutT = (Left+T+Right-(Kernel-1)·Dilation-1)/Stride + 1. Dst may be Residual.
// ELU(x) = x>0 ? x : eˣ-1. With PadReflect and T ≤ max(Left, Right), X is first extended by zeros on the right to
// max(Left, Right)+1 samples, reflected, and the result shortened again by as much (EnCodec's rule for short inputs).
type Conv struct {
	Dst, X           Slice
	W                Filter
	Bias             Slice
	T                int
	Stride, Dilation int
	Left, Right      int
	Pad              PadMode
	ELU              bool
	Residual         Slice // optional
}

// OutT is the number of output frames.
func (c Conv) OutT() int {
	return (c.Left+c.T+c.Right-(c.W.Kernel()-1)*c.Dilation-1)/c.Stride + 1
}

// ConvTranspose is the transposed convolution, trimmed:
//
//	full[t·Stride+j, o] += W[i,o,j]·f(X)[t,i];  Dst = (full + Bias)[TrimLeft : len-TrimRight]
//
// X [T, In], Dst [(T-1)·Stride+Kernel-TrimLeft-TrimRight, Out].
type ConvTranspose struct {
	Dst, X              Slice
	W                   Filter
	Bias                Slice
	T, Stride           int
	TrimLeft, TrimRight int
	ELU                 bool
}

// OutT is the number of output frames.
func (c ConvTranspose) OutT() int {
	return (c.T-1)*c.Stride + c.W.Kernel() - c.TrimLeft - c.TrimRight
}

// LSTM runs one layer over T steps from a zero state. Gates [T, 4H] already hold W_ih·x + b_ih + b_hh in the
// order i, f, g, o; Hidden is W_hh [4H, H].
//
//	g4 = Gates[t] + W_hh·h;  c = σ(f)·c + σ(i)·tanh(g);  h = σ(o)·tanh(c);  Dst[t] = h + Residual[t]
type LSTM struct {
	Dst, Gates Slice
	Hidden     Matrix
	T          int
	Residual   Slice // optional; Dst may be Residual
}

// RVQEncode quantises each row of Z [T, D] by Q codebooks in turn: the nearest entry by
// -(‖r‖² - 2·r·e + ‖e‖²), the first maximum, is subtracted before the next codebook.
// Books [Q, Entries, D]; Codes int32, code q of row t at q·Stride+t. Z is overwritten by the remainder.
type RVQEncode struct {
	Codes, Z, Books  Slice
	Q, Entries, T, D int
	Stride           int
}

// RVQDecode: Dst[t] = Σ_q Books[q][Codes[q·Stride+t]], from zero in order of q. Shapes as RVQEncode.
type RVQDecode struct {
	Dst, Codes, Books Slice
	Q, Entries, T, D  int
	Stride            int
}

// Sample draws column Column of the delayed sequence for every variation and codebook.
//
// Logits [Branches·Group, Q·Entries]: with Guidance ≠ 1 two branches, conditional rows first; Group is 1 when all
// variations share a row (after a shared prefill) and Variations otherwise. Per variation v and codebook q:
//
//	l = u + Guidance·(c-u)                     raw logits
//	l = l/Temperature, the TopK largest kept (exactly: the lower index wins a tie; 0 = all),
//	then the smallest set of the largest whose probabilities reach TopP (1 = all; never empty)
//	code = argmax over kept e of l[e] - ln(-ln(u01))      (Gumbel; Greedy: argmax of l, lowest index)
//
// u01 comes from Uniform(seed, Column, q, e). Seeds int32 [Variations, 2]: low and high half of each seed.
// Codes int32 [Variations, Q, Stride] receives the code at Column, unless the cell is forced: t = Column-1-Delays[q]
// outside [0, Frames) is the special code (= Entries), t < PromptFrames keeps what is there already.
// With Probs [Variations, Q·Entries] the distribution after all filters is written too (verification and bench).
// A GPU refuses more than 64 codebooks or 4096 entries.
type Sample struct {
	Codes, Logits, Seeds Slice
	Delays               []int
	Q, Entries, Stride   int
	Variations, Group    int
	Column               int
	PromptFrames, Frames int
	Guidance             float32 // finite
	Temperature          float32 // > 0, finite
	TopK                 int     // ≥ 0
	TopP                 float32 // in (0, 1]
	Greedy               bool
	Probs                Slice // optional
}

// Branches is how many rows of logits make up one that is drawn from: with guidance two, else one.
func (a *Sample) Branches() int {
	if a.Guidance != 1 {
		return 2
	}
	return 1
}
