package hub

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	listingLimit  = 16 << 20         // bytes of a repository's description
	answerTimeout = 30 * time.Second // from a request to the head of its answer
	stallLimit    = 60 * time.Second // without a byte, and the connection is given up
	lookupTries   = 3                // of a question to the hub
	firstBackoff  = time.Second      // doubles with every try
	longestWait   = 5 * time.Minute  // that a server may ask for
)

// Client talks to one hub and fills one cache. It is for one goroutine; close it when done.
type Client struct {
	cache, endpoint, token string
	offline                bool
	http                   *http.Client

	backoff time.Duration
	stall   time.Duration
	symlink func(target, name string) error
}

// NewClient fails only where the configuration cannot work.
func NewClient(c Config) (*Client, error) {
	if c.Dir == "" {
		return nil, errors.New("hub: got no cache folder; set HF_HUB_CACHE")
	}
	endpoint := strings.TrimRight(c.Endpoint, "/")
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	origin, err := url.Parse(endpoint)
	if err != nil || origin.Host == "" || origin.Scheme != "https" && origin.Scheme != "http" {
		return nil, fmt.Errorf("hub: HF_ENDPOINT: got %q, want a URL such as %s", c.Endpoint, defaultEndpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // sizes, ranges and hashes are those of the file
	transport.ResponseHeaderTimeout = answerTimeout
	transport.MaxIdleConnsPerHost = parallelFiles
	client := &http.Client{Transport: &tokenTransport{transport, origin, c.Token}, CheckRedirect: checkRedirect}
	return &Client{
		cache: c.Dir, endpoint: endpoint, token: c.Token, offline: c.Offline, http: client,
		backoff: firstBackoff, stall: stallLimit, symlink: os.Symlink,
	}, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// tokenTransport adds the token to requests for the endpoint itself. The requests never carry it, so that no redirect
// can take it to another host, to another port, or from https to http.
type tokenTransport struct {
	next   *http.Transport
	origin *url.URL
	token  string
}

func (t *tokenTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.token != "" && sameOrigin(r.URL, t.origin) {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(r)
}

func (t *tokenTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

func sameOrigin(a, b *url.URL) bool { return a.Scheme == b.Scheme && strings.EqualFold(a.Host, b.Host) }

// checkRedirect follows a renamed repository, and a download to where the content is. A question about a large file
// ends at the hub's own answer, which redirects and tells the hash; the storage behind it knows no hashes.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("more than 10 redirects")
	}
	if r.Method == http.MethodHead && (r.Response.Header.Get("X-Linked-Etag") != "" || !sameOrigin(r.URL, via[0].URL)) {
		return http.ErrUseLastResponse
	}
	return nil
}

// ask sends one request. what names its object in errors. A success has a status below 400.
func (c *Client) ask(ctx context.Context, method, what, repo, url string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, fmt.Errorf("hub: %s: %w", what, err)
	}
	r.Header.Set("User-Agent", "segue")
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := c.http.Do(r)
	var distrust *tls.CertificateVerificationError
	switch {
	case errors.As(err, &distrust):
		return nil, fmt.Errorf("hub: %s: %w", what, err)
	case err != nil:
		return nil, &temporaryError{err: fmt.Errorf("hub: %s: %w: %w", what, ErrUnreachable, err)}
	case answer.StatusCode >= 400:
		answer.Body.Close()
		return nil, c.statusError(what, repo, answer)
	}
	return answer, nil
}

// get asks for a content, which receive reads from the answer, and gives up where nothing comes for too long.
func (c *Client) get(parent context.Context, what, repo, url string, header http.Header, receive func(*http.Response) error) error {
	stalled := &temporaryError{err: fmt.Errorf("hub: %s: nothing came for %v", what, c.stall)}
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watch := time.AfterFunc(c.stall, func() { cancel(stalled) })
	defer watch.Stop()
	answer, err := c.ask(ctx, http.MethodGet, what, repo, url, header)
	if err == nil {
		defer answer.Body.Close()
		answer.Body = &watchedBody{answer.Body, watch, c.stall}
		err = receive(answer)
	}
	if err != nil && context.Cause(ctx) == stalled {
		return stalled
	}
	return err
}

// watchedBody puts the watch off with every byte.
type watchedBody struct {
	io.ReadCloser
	watch *time.Timer
	stall time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.watch.Reset(b.stall)
	}
	return n, err
}

// retry calls fn until it succeeds, fails for good, or has failed tries times in a row without getting any further.
func (c *Client) retry(ctx context.Context, tries int, fn func() (progressed bool, err error)) error {
	for failed := 0; ; {
		progressed, err := fn()
		var temporary *temporaryError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &temporary):
			return err
		case progressed:
			failed = 0
		}
		if failed++; failed >= tries || temporary.after > longestWait {
			return err
		}
		if err := pause(ctx, max(c.backoff<<(failed-1), temporary.after)); err != nil {
			return err
		}
	}
}

// listing is the part of the hub's description of a repository that matters here.
type listing struct {
	SHA    string `json:"sha"`
	Config struct {
		ModelType string `json:"model_type"`
	} `json:"config"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

// parseListing returns the commit, the type of model and the names of files that can be files of a snapshot.
func parseListing(text []byte) (commit, modelType string, names []string, err error) {
	var l listing
	if err := json.Unmarshal(text, &l); err != nil {
		return "", "", nil, fmt.Errorf("the hub's description: %w", err)
	}
	if len(l.SHA) != 40 || !hashPattern.MatchString(l.SHA) {
		return "", "", nil, fmt.Errorf("the hub's description: sha: got %.50q, want a commit", l.SHA)
	}
	for _, s := range l.Siblings {
		if isPlain(s.Name) {
			names = append(names, s.Name)
		}
	}
	return l.SHA, l.Config.ModelType, names, nil
}

// describe asks which commit a revision is and what files it has.
func (c *Client) describe(ctx context.Context, repo, revision string) (commit, modelType string, names []string, err error) {
	address := c.endpoint + "/api/models/" + repo + "/revision/" + url.PathEscape(revision)
	what := repo
	if revision != defaultRevision {
		what += " at " + revision
	}
	receive := func(answer *http.Response) error {
		text, err := io.ReadAll(io.LimitReader(answer.Body, listingLimit))
		if err != nil {
			return &temporaryError{err: fmt.Errorf("hub: %s: %w", what, err)}
		}
		if commit, modelType, names, err = parseListing(text); err != nil {
			return fmt.Errorf("hub: %s: %w (is HF_ENDPOINT right?)", what, err)
		}
		return nil
	}
	err = c.retry(ctx, lookupTries, func() (bool, error) { return false, c.get(ctx, what, repo, address, nil, receive) })
	return commit, modelType, names, err
}

// file is one file of a repository at a commit.
type file struct {
	name string
	hash string // SHA-256 of the content, or git's SHA-1 of it
	size int64
}

// inspect asks for the hash and size of a file.
func (c *Client) inspect(ctx context.Context, p *Plan, name string) (file, error) {
	f := file{name: name}
	what := p.Repo + "/" + name
	err := c.retry(ctx, lookupTries, func() (bool, error) {
		answer, err := c.ask(ctx, http.MethodHead, what, p.Repo, c.address(p, name), nil)
		if err != nil {
			return false, err
		}
		answer.Body.Close()
		h := answer.Header
		if commit := h.Get("X-Repo-Commit"); commit != p.Commit {
			return false, fmt.Errorf("hub: %s: X-Repo-Commit: got %.50q, want %s (is HF_ENDPOINT right?)", what, commit, p.Commit)
		}
		f.hash = strings.Trim(strings.TrimPrefix(either(h, "X-Linked-Etag", "ETag"), "W/"), `"`)
		if !hashPattern.MatchString(f.hash) {
			return false, fmt.Errorf("hub: %s: got the hash %.80q, want a SHA-256 or git's SHA-1: cannot be verified", what, f.hash)
		}
		if answer.StatusCode != http.StatusOK {
			h.Del("Content-Length") // of a redirect
		}
		if f.size, err = strconv.ParseInt(either(h, "X-Linked-Size", "Content-Length"), 10, 64); err != nil || f.size < 0 {
			return false, fmt.Errorf("hub: %s: got no size", what)
		}
		return false, nil
	})
	return f, err
}

// either returns the header of a linked file, or else that of the answer itself.
func either(h http.Header, linked, own string) string {
	if value := h.Get(linked); value != "" {
		return value
	}
	return h.Get(own)
}

// address is where the hub has a file; large ones are redirected from there.
func (c *Client) address(p *Plan, name string) string {
	escaped := strings.ReplaceAll(url.PathEscape(name), "%2F", "/")
	return c.endpoint + "/" + p.Repo + "/resolve/" + p.Commit + "/" + escaped
}

// each calls fn for every element, parallelFiles at once, and returns the first error, which also stops the others.
func each[T any](parent context.Context, list []T, fn func(context.Context, T) error) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	slots := make(chan struct{}, parallelFiles)
	var group sync.WaitGroup
	for _, element := range list {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if ctx.Err() != nil {
				return
			}
			if err := fn(ctx, element); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
