package audio

// Files built byte by byte, and signals, for the tests beside this one.

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func le16(v int) []byte { return binary.LittleEndian.AppendUint16(nil, uint16(v)) }
func le32(v int) []byte { return binary.LittleEndian.AppendUint32(nil, uint32(v)) }
func be16(v int) []byte { return binary.BigEndian.AppendUint16(nil, uint16(v)) }
func be32(v int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(v)) }

func join(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			out = append(out, p...)
		case []byte:
			out = append(out, p...)
		}
	}
	return out
}

// chunkLE is a padded RIFF chunk, chunkBE a padded IFF chunk.
func chunkLE(id string, body []byte) []byte {
	return append(join(id, le32(len(body)), body), make([]byte, len(body)&1)...)
}

func chunkBE(id string, body []byte) []byte {
	return append(join(id, be32(len(body)), body), make([]byte, len(body)&1)...)
}

func riff(chunks ...[]byte) []byte {
	body := bytes.Join(chunks, nil)
	return join("RIFF", le32(4+len(body)), "WAVE", body)
}

// fmtChunk is a fmt chunk of 16 bytes; container is in bytes.
func fmtChunk(tag, channels, rate, container, bits int) []byte {
	block := channels * container
	return chunkLE("fmt ", join(le16(tag), le16(channels), le32(rate), le32(rate*block), le16(block), le16(bits)))
}

func extensible(tag, channels, rate, container, valid int) []byte {
	block := channels * container
	return chunkLE("fmt ", join(le16(tagExtensible), le16(channels), le32(rate), le32(rate*block), le16(block),
		le16(8*container), le16(22), le16(valid), le32(0), le16(tag), extensibleTail))
}

// packLE writes integers of width bytes, packBE the same the other way round.
func packLE(width int, samples ...int) []byte {
	var out []byte
	for _, s := range samples {
		for b := range width {
			out = append(out, byte(s>>(8*b)))
		}
	}
	return out
}

func packBE(width int, samples ...int) []byte {
	out := packLE(width, samples...)
	reverseEach(out, width)
	return out
}

func floats32(samples ...float32) []byte {
	var out []byte
	for _, s := range samples {
		out = append(out, le32(int(math.Float32bits(s)))...)
	}
	return out
}

func floats64(samples ...float64) []byte {
	var out []byte
	for _, s := range samples {
		out = binary.LittleEndian.AppendUint64(out, math.Float64bits(s))
	}
	return out
}

func write(t testing.TB, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t testing.TB, path string) *Reader {
	t.Helper()
	r, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func mustRead(t testing.TB, r *Reader, from, n int64) []float32 {
	t.Helper()
	x, err := r.Read(from, n)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// integers are n random samples of a size, extremes first, and the floats that they read as.
func integers(bits, n int) (ints []int, want []float32) {
	random := rand.New(rand.NewPCG(1, uint64(bits)))
	full := 1 << (bits - 1)
	ints = append(ints, -full, full-1, 0, 1, -1)[:min(n, 5)]
	for len(ints) < n {
		ints = append(ints, random.IntN(2*full)-full)
	}
	for _, v := range ints {
		want = append(want, float32(float64(v)/float64(full)))
	}
	return ints, want
}

func sine(hz, amplitude float64, rate, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate)))
	}
	return x
}

func noise(n int, amplitude float32) []float32 {
	random := rand.New(rand.NewPCG(3, 4))
	x := make([]float32, n)
	for i := range x {
		x[i] = amplitude * (2*random.Float32() - 1)
	}
	return x
}
