package kern

// Philox4x32-10 (Salmon et al., “Parallel Random Numbers: As Easy as 1, 2, 3”, 2011): a random number is a pure function
// of a key and a counter, so a draw is the same alone, among variations, on any device and with any thread count.

const (
	philoxM0, philoxM1 = 0xD2511F53, 0xCD9E8D57
	philoxW0, philoxW1 = 0x9E3779B9, 0xBB67AE85
)

// Philox returns the four words of counter under key.
func Philox(counter [4]uint32, key [2]uint32) [4]uint32 {
	for range 10 {
		p0 := uint64(philoxM0) * uint64(counter[0])
		p1 := uint64(philoxM1) * uint64(counter[2])
		counter = [4]uint32{
			uint32(p1>>32) ^ counter[1] ^ key[0], uint32(p1),
			uint32(p0>>32) ^ counter[3] ^ key[1], uint32(p0),
		}
		key[0] += philoxW0
		key[1] += philoxW1
	}
	return counter
}

// Uniform is the number in (0,1) that decides entry e of codebook q in column of the sequence: word e mod 4 of
// counter (e/4, q, column, 0) under the two halves of seed, its upper 23 bits centred in their cells so that neither
// end occurs.
func Uniform(seed uint64, column, q, e int) float32 {
	words := Philox([4]uint32{uint32(e / 4), uint32(q), uint32(column), 0}, [2]uint32{uint32(seed), uint32(seed >> 32)})
	return UniformWord(words[e%4])
}

// UniformWord maps 32 random bits into (0,1).
func UniformWord(w uint32) float32 {
	return (float32(w>>9) + 0.5) * (1.0 / (1 << 23))
}
