// One step of an LSTM layer: a dispatch per step, with a barrier between.
//
//	g4 = Gates[t] + W_hh·h;  c = σ(f)·c + σ(i)·tanh(g);  h = σ(o)·tanh(c);  Dst[t] = h + Residual[t]
//
// A step needs the whole of the last one's h, and threadgroups of one dispatch cannot wait for each other; so either one
// threadgroup does all steps, with one core's share of the bandwidth for a weight of 4 to 16 MB (some 100 µs a step), or each
// step is a dispatch over all cores. That costs one launch (1.5 to 2.5 µs) for 3 µs or more of reading: a second launch for
// the gates would be another half, so the four rows of a unit stay in one threadgroup, which ends with its c and h.
// Gates, constants apart, look the same every step: t selects rows inside the kernel and one of two places for h.

struct LSTMArgs {
    uint  hidden;    // H
    uint  step;      // t
    uint  units;     // of one threadgroup
    uint  residual;  // 0: none
    ulong pitch;     // of W_hh, in bytes
    uint  state;     // floats between c, h of even steps and h of odd steps
    uint  groups;    // scales of a row
};

#define LSTM_UNITS 8 // of one threadgroup at most

// Exponents are bounded where the results are 0 or 1 to float's last bit, so that no compiler's infinity matters.
static inline float lstm_sigmoid(float x) { return 1.0f / (1.0f + exp(-clamp(x, -30.0f, 30.0f))); }
static inline float lstm_tanh(float x) { return 1.0f - 2.0f / (exp(clamp(2.0f * x, -30.0f, 30.0f)) + 1.0f); }
