package weights

import (
	"os"
	"testing"
)

const goldens = "../testdata/goldens/"

func openGolden(t *testing.T, name string, options Options) *Checkpoint {
	t.Helper()
	c, err := Open(goldens+name, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestOpenHuggingFace(t *testing.T) {
	for _, name := range []string{"mono", "stereo", "stereo-sharded", "melody"} {
		c := openGolden(t, name, Options{})
		t.Log(name, c.Layout, len(c.tensors), c.Bytes(), c.DType())
	}
	c, err := OpenFS(os.DirFS(goldens+"mono"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(c.Section("decoder") != nil, c.Bytes())
}
