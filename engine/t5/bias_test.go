package t5

import "testing"

// TestBucket holds the ranges of T5's own sizes, as the reference computes them.
func TestBucket(t *testing.T) {
	c := Config{RelativeAttentionNumBuckets: 32, RelativeAttentionMaxDistance: 128}
	starts := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91, 1 << 30} // first distance of each bucket
	for bucket := range 16 {
		for _, n := range []int{starts[bucket], min(starts[bucket+1]-1, 5000)} {
			if got := c.bucket(-n); got != bucket {
				t.Errorf("distance %d: got bucket %d, want %d", -n, got, bucket)
			}
			if got := c.bucket(n); n > 0 && got != 16+bucket {
				t.Errorf("distance %d: got bucket %d, want %d", n, got, 16+bucket)
			}
		}
	}
}

// TestBucketStaysInside tries sizes that T5 never had: the table is never left.
func TestBucketStaysInside(t *testing.T) {
	for _, buckets := range []int{4, 5, 7, 32, 33, 1024} {
		for _, distance := range []int{buckets/4 + 1, 128 + buckets, 1 << 16} {
			c := Config{RelativeAttentionNumBuckets: buckets, RelativeAttentionMaxDistance: distance}
			for n := -2000; n <= 2000; n++ {
				if got := c.bucket(n); got < 0 || got >= buckets {
					t.Fatalf("%d buckets to distance %d: distance %d: got bucket %d", buckets, distance, n, got)
				}
			}
		}
	}
}

func TestRelativeBias(t *testing.T) {
	c := Config{RelativeAttentionNumBuckets: 4, RelativeAttentionMaxDistance: 8, NumHeads: 2}
	table := []float32{0, 10, 1, 11, 2, 12, 3, 13} // [bucket, head]
	got := c.relativeBias(table, 3)
	want := []float32{1, 1, 0, 3, 3, 11, 11, 10, 13, 13} // distances -2 … 2 of head 0, then of head 1
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v, want %v", got, want)
		}
	}
}
