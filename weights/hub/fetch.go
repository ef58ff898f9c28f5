package hub

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	parallelFiles = 4                      // transfers, or questions, at once
	reportPeriod  = 100 * time.Millisecond // between reports
	speedWindow   = 50                     // reports that the speed is measured over
)

// Plan is what is to be done to have one model in the cache.
type Plan struct {
	Repo, Revision, Commit string
	Files                  []string // that the model needs, there or not

	cache   string
	missing []file
}

// Audiocraft says whether the model comes in audiocraft's layout, which lacks the text encoder and often the codec.
func (p *Plan) Audiocraft() bool { return slices.Contains(p.Files, audiocraftFile) }

// Bytes is the size of the files that are missing.
func (p *Plan) Bytes() (total int64) {
	for _, f := range p.missing {
		total += f.size
	}
	return total
}

// Plan asks the hub for a repository at a branch, tag or commit, "" for its main branch, and compares with the cache.
func (c *Client) Plan(ctx context.Context, repo, revision string) (*Plan, error) {
	if revision == "" {
		revision = defaultRevision
	}
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	if err := checkRevision(revision); err != nil {
		return nil, err
	}
	if c.offline {
		return nil, fmt.Errorf("hub: %s: %w: HF_HUB_OFFLINE is set", repo, ErrOffline)
	}
	commit, modelType, names, err := c.describe(ctx, repo, revision)
	if err != nil {
		return nil, err
	}
	p := &Plan{Repo: repo, Revision: revision, Commit: commit, cache: c.cache}
	if p.Files, err = choose(names, modelType, p.has); err != nil {
		return nil, fmt.Errorf("hub: %s: %w", repo, err)
	}
	var mu sync.Mutex
	err = each(ctx, slices.DeleteFunc(slices.Clone(p.Files), p.has), func(ctx context.Context, name string) error {
		f, err := c.inspect(ctx, p, name)
		mu.Lock()
		defer mu.Unlock()
		p.missing = append(p.missing, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Progress tells how far a Fetch is: of TotalBytes that were missing Bytes are there, some perhaps from an earlier
// attempt; speed and time left are 0 when unknown.
type Progress struct {
	Bytes, TotalBytes int64
	BytesPerSecond    float64
	ETASeconds        float64
}

// Fetch does what the plans say. It may be called again with new plans after any error or cancel: it goes on where it
// was. report is called from one goroutine at a time, and not after Fetch has returned.
func (c *Client) Fetch(ctx context.Context, plans []*Plan, report func(Progress)) error {
	var transfers []*transfer
	m := &meter{}
	for _, p := range plans {
		for _, f := range p.missing {
			transfers = append(transfers, &transfer{client: c, plan: p, file: f, meter: m})
			m.total += f.size
		}
	}
	slices.SortFunc(transfers, func(a, b *transfer) int { return int(min(max(b.file.size-a.file.size, -1), 1)) }) // the longest first
	if err := c.checkRoom(transfers); err != nil {
		return err
	}
	stop := m.start(report)
	err := each(ctx, transfers, func(ctx context.Context, t *transfer) error { return t.run(ctx) })
	stop()
	for _, p := range plans {
		if err == nil {
			err = p.writeReference()
		}
	}
	return err
}

// checkRoom fails early where the disk cannot hold what is to come.
func (c *Client) checkRoom(transfers []*transfer) error {
	if err := os.MkdirAll(c.cache, 0o777); err != nil {
		return fmt.Errorf("hub: %w", err)
	}
	needed := int64(0)
	for _, t := range transfers {
		if t.whole() {
			continue // another snapshot has it: it is only linked
		}
		needed += t.file.size
		if info, err := os.Stat(t.plan.blob(t.file.hash) + ".incomplete"); err == nil {
			needed -= min(info.Size(), t.file.size)
		}
	}
	if free, known := freeBytes(c.cache); known && free < needed {
		return fmt.Errorf("hub: %s: got room for %d MB, want %d MB; make room, or set HF_HUB_CACHE to a folder on another disk",
			c.cache, free>>20, needed>>20)
	}
	return nil
}

// meter counts bytes and tells of them in regular intervals.
type meter struct {
	total   int64
	there   atomic.Int64 // from wherever
	fetched atomic.Int64 // from the network: what the speed is about
}

func (m *meter) add(n int64) { m.there.Add(n); m.fetched.Add(n) }

// skip counts what need not be fetched, or takes back what has to be fetched again.
func (m *meter) skip(n int64) { m.there.Add(n) }

// start reports until stop is called, and then once more.
func (m *meter) start(report func(Progress)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(reportPeriod)
		defer ticker.Stop()
		window := []sample{{time.Now(), 0}}
		for {
			select {
			case <-ticker.C:
				window = append(window, sample{time.Now(), m.fetched.Load()})
				window = window[max(0, len(window)-speedWindow):]
				report(m.progress(window))
			case <-done:
				report(m.progress(window))
				return
			}
		}
	}()
	return func() { close(done); <-ended }
}

// sample is how many bytes had come from the network at a time.
type sample struct {
	at      time.Time
	fetched int64
}

func (m *meter) progress(window []sample) Progress {
	first, last := window[0], window[len(window)-1]
	p := Progress{Bytes: m.there.Load(), TotalBytes: m.total}
	if seconds := last.at.Sub(first.at).Seconds(); seconds > 0 {
		p.BytesPerSecond = float64(last.fetched-first.fetched) / seconds
	}
	if p.BytesPerSecond > 0 {
		p.ETASeconds = float64(p.TotalBytes-p.Bytes) / p.BytesPerSecond
	}
	return p
}
