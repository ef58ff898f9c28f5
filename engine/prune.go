package engine

import (
	"context"
	"time"

	"segue/weights/packed"
)

// PruneOptions choose what Prune removes beside what cannot be of use any more.
type PruneOptions struct {
	UnusedDays float64 `json:"unusedDays" doc:"packed weights not used for so many days go too; 0: all" min:"0" max:"36500"`
	DryRun     bool    `json:"dryRun,omitempty" doc:"only tell what would go"`
}

// NewPruneOptions is the defaults.
func NewPruneOptions() PruneOptions { return PruneOptions{UnusedDays: 30} }

// PackedFile is a file of packed weights.
type PackedFile struct {
	Path      string `json:"path"`
	Model     string `json:"model,omitempty"` // that it was first made for; others may share it
	Part      string `json:"part,omitempty"`
	Precision string `json:"precision,omitempty"`
	Bytes     int64  `json:"bytes"`
	Reason    string `json:"reason,omitempty"` // why it goes, or should
}

// PruneResult is what Prune did, or with DryRun would do.
type PruneResult struct {
	Folder       string       `json:"folder"`
	Removed      []PackedFile `json:"removed"`
	RemovedBytes int64        `json:"removedBytes"`
	Kept         []PackedFile `json:"kept"`
	KeptBytes    int64        `json:"keptBytes"`
	DryRun       bool         `json:"dryRun"`
}

// Prune removes packed weights whose model has gone or changed, that are of another version, damaged, or long unused. What is
// in use goes on working. Whatever is removed and needed again is packed again.
func (e *Engine) Prune(_ context.Context, o PruneOptions) (PruneResult, error) {
	if err := ValidateTags(o, NewPruneOptions()); err != nil {
		return PruneResult{}, err
	}
	r := PruneResult{DryRun: o.DryRun, Removed: []PackedFile{}, Kept: []PackedFile{}}
	if e.packed == nil {
		return r, nil
	}
	r.Folder = e.packed.Dir()
	entries := e.packedEntries(time.Duration(o.UnusedDays * float64(24*time.Hour)))
	var removed, kept []packed.Entry
	if o.DryRun {
		for _, entry := range entries {
			if entry.Reason != "" {
				removed = append(removed, entry)
			} else {
				kept = append(kept, entry)
			}
		}
	} else {
		removed, kept = e.packed.Remove(entries)
	}
	r.Removed, r.RemovedBytes = packedFiles(removed)
	r.Kept, r.KeptBytes = packedFiles(kept)
	e.countPacked()
	return r, nil
}

func packedFiles(entries []packed.Entry) (list []PackedFile, total int64) {
	list = []PackedFile{}
	for _, e := range entries {
		list = append(list, PackedFile{e.Path, e.Model, e.Part, e.Precision, e.Bytes, e.Reason})
		total += e.Bytes
	}
	return list, total
}
