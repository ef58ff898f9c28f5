package t5

import "math"

// T5 knows positions only by how far a key is from its query: distances fall into buckets, and every bucket has one
// learnt number per head, added to the attention scores of all layers.

// relativeBias is the operand Bias of kern.Attention for a text of length tokens: [heads, 2·length-1], entry
// distance+length-1 of a head being that of distance = key - query. Table is [buckets, heads].
func (c Config) relativeBias(table []float32, length int) []float32 {
	width := 2*length - 1
	bias := make([]float32, c.NumHeads*width)
	for i := range width {
		row := table[c.bucket(i-length+1)*c.NumHeads:]
		for h := range c.NumHeads {
			bias[h*width+i] = row[h]
		}
	}
	return bias
}

// bucket numbers distance = key - query. One half of the buckets is for keys before and at the query, the other for
// those behind it. Within a half, the nearer half of the buckets holds one distance each, and the others widen
// logarithmically up to max_distance; the last one holds whatever is farther.
func (c Config) bucket(distance int) int {
	half := c.RelativeAttentionNumBuckets / 2
	exact, first := half/2, 0
	if distance > 0 {
		first = half
	} else {
		distance = -distance
	}
	if distance < exact {
		return first + distance
	}
	scale := math.Log(float64(distance)/float64(exact)) / math.Log(float64(c.RelativeAttentionMaxDistance)/float64(exact))
	return first + min(exact+int(scale*float64(half-exact)), half-1)
}
