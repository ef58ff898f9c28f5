package cpukern

import (
	"testing"

	"segue/engine/kern"
	"segue/engine/kern/kerntest"
)

func open(t testing.TB, threads int) kern.Backend {
	k, err := Open(Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func TestContract(t *testing.T) {
	kerntest.Run(t, open(t, 2))
}

func TestContractOneThread(t *testing.T) {
	kerntest.Run(t, open(t, 1))
}

func TestThreads(t *testing.T) {
	kerntest.RunThreads(t, func(threads int) kern.Backend { return open(t, threads) })
}

func BenchmarkOps(b *testing.B) {
	kerntest.Bench(b, open(b, 0))
}
