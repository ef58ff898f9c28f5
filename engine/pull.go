package engine

import (
	"context"
	"errors"
	"strings"

	"segue/weights/hub"
)

// Pull brings a model from the hub to this machine: one of the catalog, or any repository that holds MusicGen weights,
// at a branch, tag or commit ("" for the main branch). A fine-tune brings the model that lends it its text encoder and
// codec. Pulling what is there is harmless, and asks the hub only for what has changed; without a network, or where the
// configuration forbids its use, what is there is enough. It never waits for the device.
func (e *Engine) Pull(ctx context.Context, name, revision string, report func(Progress)) (ModelInfo, error) {
	if name == "" || name == e.options.Bundled.Name {
		return e.Model(ctx, name)
	}
	if repo, pinned, ok := strings.Cut(name, "@"); ok && revision == "" {
		name, revision = repo, pinned
	}
	repo := name
	if p, ok := inCatalog(name); ok {
		repo = p.repo
	}
	client, err := hub.NewClient(e.options.Hub)
	if err != nil {
		return ModelInfo{}, downloadError(err)
	}
	defer client.Close()
	report(Progress{Stage: StageDownload, Message: repo})
	plans, err := e.plan(ctx, client, repo, revision)
	if errors.Is(err, hub.ErrOffline) || errors.Is(err, hub.ErrUnreachable) {
		if info, ok := e.usable(repo, revision); ok {
			return info, nil
		}
	}
	if err == nil {
		err = client.Fetch(ctx, plans, inStage(repo, report))
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ModelInfo{}, context.Cause(ctx)
	case err != nil:
		return ModelInfo{}, downloadError(err)
	}
	return e.pulled(repo, revision)
}

// plan asks the hub for the repository and, where it is a fine-tune without a base on this machine, for that.
func (e *Engine) plan(ctx context.Context, client *hub.Client, repo, revision string) ([]*hub.Plan, error) {
	plan, err := client.Plan(ctx, repo, revision)
	if err != nil || !plan.Audiocraft() || e.hasBase(repo) {
		return []*hub.Plan{plan}, err
	}
	base, err := client.Plan(ctx, baseRepo, "")
	return []*hub.Plan{plan, base}, err
}

// inStage makes reports of a download those of a request: the share never falls, though a file may begin again.
func inStage(repo string, report func(Progress)) func(hub.Progress) {
	furthest := 0.0
	return func(p hub.Progress) {
		if p.TotalBytes > 0 {
			furthest = max(furthest, float64(p.Bytes)/float64(p.TotalBytes))
		}
		report(Progress{
			Stage: StageDownload, Fraction: furthest, ETASeconds: p.ETASeconds, Message: repo,
			Bytes: p.Bytes, TotalBytes: p.TotalBytes, BytesPerSecond: p.BytesPerSecond,
		})
	}
}

// hasBase says whether a model is here that lends a fine-tune what it lacks.
func (e *Engine) hasBase(repo string) bool {
	if e.options.Base != "" {
		return true
	}
	names := []string{baseRepo}
	if p, ok := inCatalog(repo); ok {
		names = append(names, p.base())
	}
	for _, name := range names {
		if _, ok := e.usable(name, ""); ok {
			return true
		}
	}
	return false
}

// pinned is a repository's name with the revision, "" for the main branch.
func pinned(repo, revision string) string {
	if revision == "" {
		return repo
	}
	return repo + "@" + revision
}

// usable describes a model of the hub that is here, complete as far as can be told without reading all of it.
func (e *Engine) usable(repo, revision string) (ModelInfo, bool) {
	l, ok := e.hubModel(pinned(repo, revision))
	if !ok {
		return ModelInfo{}, false
	}
	info := e.info(l, e.countPacked())
	return info, info.Problem == ""
}

// pulled describes a model that has just come, or says why it cannot be used.
func (e *Engine) pulled(repo, revision string) (ModelInfo, error) {
	l, err := e.find(pinned(repo, revision))
	if err != nil {
		return ModelInfo{}, err
	}
	c, err := e.open(l)
	if err != nil {
		return ModelInfo{}, modelError(l, err)
	}
	if err := c.Close(); err != nil {
		return ModelInfo{}, err
	}
	info := e.info(l, e.countPacked())
	if info.Problem != "" {
		return ModelInfo{}, &Error{Kind: ModelInvalid, Field: "model", Path: l.dir, Detail: "model " + l.name + ": " + info.Problem}
	}
	return info, nil
}

// downloadError gives an error of the hub its kind.
func downloadError(err error) error {
	kind := DownloadFailed
	switch {
	case errors.Is(err, hub.ErrNotFound), errors.Is(err, hub.ErrName):
		kind = ModelUnknown
	case errors.Is(err, hub.ErrNoModel):
		kind = ModelInvalid
	case errors.Is(err, hub.ErrChecksum):
		kind = DownloadChecksum
	}
	return Errorf(kind, "model", "%w", err)
}
