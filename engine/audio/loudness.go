package audio

// Peak and loudness. Loudness is ITU-R BS.1770-4: K-weighting, mean square in 400 ms blocks every 100 ms, summed over
// channels, gated at -70 LUFS and then 10 LU below the mean of what is left.

import "math"

// PeakDB is the highest absolute sample of all channels in dBFS; not ok for silence.
func PeakDB(x ...[]float32) (db float64, ok bool) { return toDB(peak(x)) }

func toDB(peak float64) (db float64, ok bool) {
	if peak == 0 {
		return 0, false
	}
	return 20 * math.Log10(peak), true
}

func peak(planar [][]float32) float64 {
	peak := float32(0)
	for _, channel := range planar {
		for _, v := range channel {
			peak = max(peak, v, -v)
		}
	}
	return float64(peak)
}

// Loudness is the integrated loudness in LUFS; not ok below 400 ms or where the gates leave nothing.
func Loudness(planar [][]float32, rate int) (lufs float64, ok bool) {
	m := NewMeter(rate, len(planar))
	m.Add(planar)
	return m.Loudness()
}

// Meter measures audio that comes in pieces, of which it keeps nothing: PeakDB and Loudness are those of the whole.
type Meter struct {
	peak     float64
	hop      int       // samples in 100 ms
	filled   int       // of the hop under way
	hops     []float64 // weighted square sum of all channels, per hop
	channels []channelMeter
}

type channelMeter struct {
	weight          float64
	shelf, highpass *biquad
	sum             float64 // of squares, in the hop under way
}

// NewMeter measures audio of so many channels at rate.
func NewMeter(rate, channels int) *Meter {
	m := &Meter{hop: rate / 10, channels: make([]channelMeter, channels)}
	for c := range m.channels {
		shelf, highpass := kWeighting(float64(rate))
		m.channels[c] = channelMeter{weight: channelWeight(c, channels), shelf: shelf, highpass: highpass}
	}
	return m
}

// Add measures the next piece: one slice for each channel, all of one length.
func (m *Meter) Add(planar [][]float32) {
	m.peak = max(m.peak, peak(planar))
	for at := 0; len(planar) > 0 && at < len(planar[0]); {
		n := min(m.hop-m.filled, len(planar[0])-at)
		for c := range m.channels {
			m.channels[c].add(planar[c][at : at+n])
		}
		at, m.filled = at+n, m.filled+n
		if m.filled == m.hop {
			m.endHop()
		}
	}
}

func (m *Meter) endHop() {
	power := 0.0
	for c := range m.channels {
		channel := &m.channels[c]
		power += channel.weight * channel.sum
		channel.sum = 0
		channel.shelf.settle()
		channel.highpass.settle()
	}
	m.hops, m.filled = append(m.hops, power), 0
}

// PeakDB is the highest absolute sample so far in dBFS; not ok for silence.
func (m *Meter) PeakDB() (db float64, ok bool) { return toDB(m.peak) }

// Loudness is that of all whole hops so far; see the function Loudness.
func (m *Meter) Loudness() (lufs float64, ok bool) {
	var blocks []float64
	for i := 0; i+4 <= len(m.hops); i++ {
		blocks = append(blocks, (m.hops[i]+m.hops[i+1]+m.hops[i+2]+m.hops[i+3])/float64(4*m.hop))
	}
	level, ok := gatedMean(blocks, fromLUFS(-70))
	if !ok {
		return 0, false
	}
	level, _ = gatedMean(blocks, max(fromLUFS(-70), level/10))
	return toLUFS(level), true
}

func toLUFS(power float64) float64  { return -0.691 + 10*math.Log10(power) }
func fromLUFS(lufs float64) float64 { return math.Pow(10, (lufs+0.691)/10) }

// channelWeight: surround channels count more and the LFE not at all. Six channels are taken for 5.1 in file order.
func channelWeight(c, channels int) float64 {
	if channels == 6 {
		return [6]float64{1, 1, 1, 0, 1.41, 1.41}[c]
	}
	return 1
}

func gatedMean(blocks []float64, gate float64) (mean float64, ok bool) {
	n := 0
	for _, power := range blocks {
		if power > gate {
			mean += power
			n++
		}
	}
	return mean / float64(max(n, 1)), n > 0
}

// add sums the squares of the K-weighted samples.
func (m *channelMeter) add(samples []float32) {
	if m.weight == 0 {
		return
	}
	for _, v := range samples {
		y := m.highpass.next(m.shelf.next(float64(v)))
		m.sum += y * y
	}
}

// biquad is a second-order section in transposed direct form II.
type biquad struct{ b0, b1, b2, a1, a2, s1, s2 float64 }

func (q *biquad) next(x float64) float64 {
	y := q.b0*x + q.s1
	q.s1 = q.b1*x - q.a1*y + q.s2
	q.s2 = q.b2*x - q.a2*y
	return y
}

// settle ends what has long faded out: left alone it becomes denormal, and with such numbers silence takes 20 times as long.
func (q *biquad) settle() {
	const faded = 1e-30
	if math.Abs(q.s1) < faded {
		q.s1 = 0
	}
	if math.Abs(q.s2) < faded {
		q.s2 = 0
	}
}

// kWeighting returns the two filters for any rate: the analog prototypes behind the standard's 48 kHz table (a +4 dB
// shelf for the head, a 38 Hz high pass), by the bilinear transform. At 48 kHz they equal the table.
func kWeighting(rate float64) (shelf, highpass *biquad) {
	const (
		shelfHz, shelfQ, shelfDB = 1681.974450955533, 0.7071752369554196, 3.999843853973347
		passHz, passQ            = 38.13547087602444, 0.5003270373238773
	)
	k := math.Tan(math.Pi * shelfHz / rate)
	vh := math.Pow(10, shelfDB/20)
	vb := math.Pow(vh, 0.4996667741545416)
	a0 := 1 + k/shelfQ + k*k
	shelf = &biquad{
		b0: (vh + vb*k/shelfQ + k*k) / a0, b1: 2 * (k*k - vh) / a0, b2: (vh - vb*k/shelfQ + k*k) / a0,
		a1: 2 * (k*k - 1) / a0, a2: (1 - k/shelfQ + k*k) / a0,
	}
	k = math.Tan(math.Pi * passHz / rate)
	a0 = 1 + k/passQ + k*k
	highpass = &biquad{b0: 1, b1: -2, b2: 1, a1: 2 * (k*k - 1) / a0, a2: (1 - k/passQ + k*k) / a0}
	return shelf, highpass
}
