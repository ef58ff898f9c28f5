package weights

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

const groupedConfig = `{"model_type":"musicgen","decoder":{},"text_encoder":{},"audio_encoder":{}}`

// openTensorsIn opens a checkpoint that holds just these tensors.
func openTensorsIn(t testing.TB, tensors ...*Tensor) (*Checkpoint, error) {
	t.Helper()
	var file bytes.Buffer
	if err := WriteSafetensors(&file, tensors, nil); err != nil {
		t.Fatal(err)
	}
	return OpenFS(fstest.MapFS{"config.json": {Data: []byte(groupedConfig)}, "model.safetensors": {Data: file.Bytes()}}, Options{})
}

// group is Group of a random matrix; every tenth row is next to nothing, where a scale has few bits.
func group(t testing.TB, name string, rows, cols int) (matrix, values, scales *Tensor) {
	t.Helper()
	numbers := heavyTailed(rand.New(rand.NewPCG(uint64(rows), uint64(cols))), rows*cols)
	for i := range numbers {
		if i/cols%10 == 3 {
			numbers[i] *= 0.01
		}
	}
	matrix = FromFloats(name, numbers, rows, cols)
	values, scales, err := Group(matrix)
	if err != nil {
		t.Fatal(err)
	}
	return matrix, values, scales
}

// What is stored is what Quantize finds when it is given the stored values, whichever way they are asked for.
func TestGroupedIsExact(t *testing.T) {
	for _, cols := range []int{1, 31, 32, 33, 100, 320} {
		const rows = 41
		matrix, values, scales := group(t, "decoder.a", rows, cols)
		c, err := openTensorsIn(t, values, scales, FromFloats("decoder.b.scale", []float32{1}, 1))
		if err != nil {
			t.Fatal(err)
		}
		b := c.Bind()
		got := b.Tensor("decoder.a", rows, cols)
		b.Tensor("decoder.b.scale", 1) // a name alone makes no scale
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		if want := int64(rows*(cols+2*groups(cols)) + 4); c.Bytes() != want || c.DType() != I8 { // and the lone scale
			t.Errorf("%d columns: got %d bytes of %s, want %d of I8", cols, c.Bytes(), c.DType(), want)
		}
		again, err := Quantize(got.Floats(), cols, 8)
		if err != nil {
			t.Fatal(err)
		}
		if e := relativeError(got.Floats(), matrix.Floats()); e > 1e-4 {
			t.Errorf("%d columns: squared error %g of the signal, want at most 1e-4", cols, e)
		}
		row := make([]float32, cols)
		for r := range rows {
			again.Dequantize(row, r)
			for i, v := range row {
				if integer := int8(values.Data[r*cols+i]); again.Values[r*cols+i] != integer || v != got.Floats()[r*cols+i] {
					t.Fatalf("[%d, %d] of %d columns: got %d, %g, want %d, %g", r, i, cols, again.Values[r*cols+i], v, integer, got.Floats()[r*cols+i])
				}
			}
		}
		for i, s := range again.Scales {
			if stored := scales.Data[2*i:]; byte(s) != stored[0] || byte(s>>8) != stored[1] {
				t.Fatalf("scale %d of %d columns differs", i, cols)
			}
		}
	}
}

func relativeError(got, want []float32) float64 {
	wrong, signal := 0.0, 0.0
	for i, w := range want {
		wrong += float64(got[i]-w) * float64(got[i]-w)
		signal += float64(w) * float64(w)
	}
	return wrong / signal
}

// Two numbers of equal magnitude would turn the scale's sign at every rounding by chance of their order.
func TestGroupSettles(t *testing.T) {
	for _, numbers := range [][]float32{{0.999, -1}, {-0.999, 1}, {0, 0}, {1e-45, -1e-45}, {3e-7, -5e-6, 7e-6, 1e-4}, {1e30, -2}} {
		values, scales, err := Group(FromFloats("a", numbers, 1, len(numbers)))
		if err != nil {
			t.Errorf("%v: %v", numbers, err)
			continue
		}
		stored := &Tensor{Name: "a", DType: I8, Shape: values.Shape, Data: values.Data, Scales: scales.Data}
		if next, nextScales, err := Group(stored); err != nil || !bytes.Equal(next.Data, values.Data) || !bytes.Equal(nextScales.Data, scales.Data) {
			t.Errorf("%v: got %v %v, then %v %v (%v)", numbers, values.Data, scales.Data, next.Data, nextScales.Data, err)
		}
	}
	if _, _, err := Group(FromFloats("a", []float32{1, 2}, 2)); err == nil {
		t.Error("a vector: got no error")
	}
}

// Shards may part a matrix from its scales.
func TestGroupedInShards(t *testing.T) {
	_, values, scales := group(t, "decoder.a", 5, 40)
	dir := t.TempDir()
	files := map[string]string{
		"config.json":                  groupedConfig,
		"model.safetensors.index.json": `{"weight_map":{"decoder.a":"1.safetensors","decoder.a.scale":"2.safetensors"}}`,
	}
	for name, tensor := range map[string]*Tensor{"1.safetensors": values, "2.safetensors": scales} {
		var file bytes.Buffer
		if err := WriteSafetensors(&file, []*Tensor{tensor}, nil); err != nil {
			t.Fatal(err)
		}
		files[name] = file.String()
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := c.Bind()
	if b.Tensor("decoder.a", 5, 40); b.Err() != nil {
		t.Error(b.Err())
	}
}

func TestGroupedRefuses(t *testing.T) {
	_, values, scales := group(t, "a", 3, 40)
	half := func(shape ...int) *Tensor {
		n := 1
		for _, d := range shape {
			n *= d
		}
		return &Tensor{Name: "a.scale", DType: F16, Shape: shape, Data: make([]byte, 2*n)}
	}
	for name, tensors := range map[string][]*Tensor{
		"too few scales":  {values, half(3, 1)},
		"too many rows":   {values, half(4, 2)},
		"flat scales":     {values, half(6)},
		"other scales":    {values, FromFloats("a.scale", make([]float32, 6), 3, 2)},
		"scales of a row": {{Name: "a", DType: I8, Shape: []int{120}, Data: values.Data}, half(4)},
	} {
		if _, err := openTensorsIn(t, tensors...); err == nil || !strings.Contains(err.Error(), "a.scale") {
			t.Errorf("%s: got %v, want an error about a.scale", name, err)
		}
	}
	for name, tensor := range map[string]*Tensor{"missing": values, "unknown": scales} {
		c, err := openTensorsIn(t, tensor)
		if err != nil {
			t.Fatal(err)
		}
		b := c.Bind()
		b.Tensor("a", 3, 40)
		if err := b.Err(); err == nil || !strings.Contains(err.Error(), name) && !strings.Contains(err.Error(), "without a.scale") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzGrouped: whatever integers and scales a file has, a window of rows and a run from anywhere decode to integer · scale.
func FuzzGrouped(f *testing.F) {
	f.Add(uint8(3), uint8(40), []byte{1, 255, 127, 128, 0, 60, 255, 123}, uint16(7))
	f.Add(uint8(1), uint8(1), []byte{}, uint16(0))
	f.Fuzz(func(t *testing.T, rows, cols uint8, data []byte, from uint16) {
		r, k := int(rows%9)+1, int(cols)+1
		fill := func(n int) []byte {
			out := make([]byte, n)
			for i := range out {
				if len(data) > 0 {
					out[i] = data[i%len(data)] + byte(i/len(data))
				}
			}
			return out
		}
		values := &Tensor{Name: "a", DType: I8, Shape: []int{r, k}, Data: fill(r * k)}
		scales := &Tensor{Name: "a.scale", DType: F16, Shape: []int{r, groups(k)}, Data: fill(2 * r * groups(k))}
		c, err := openTensorsIn(t, values, scales)
		if err != nil {
			t.Fatal(err)
		}
		b := c.Bind()
		got := b.Tensor("a", r, k)
		if err := b.Err(); err != nil {
			t.Fatal(err)
		}
		at := int(from) % (r * k)
		run := make([]float32, r*k-at)
		got.Decode(run, at)
		last := got.Rows("last", r-1, r).Floats()
		for i, v := range got.Floats() {
			s := scales.Data[2*(i/k*groups(k)+i%k/GroupSize):]
			want := float32(int8(values.Data[i])) * F16ToF32(uint16(s[0])|uint16(s[1])<<8)
			same := func(x float32) bool { return x == want || x != x && want != want }
			if !same(v) || i >= at && !same(run[i-at]) || i/k == r-1 && !same(last[i%k]) {
				t.Fatalf("[%d, %d]: got %g, want %g", i/k, i%k, v, want)
			}
		}
	})
}
