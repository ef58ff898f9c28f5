package hub

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What errors wrap, so that a caller can tell them apart. Everything else is the network's or the disk's.
var (
	ErrName     = errors.New("invalid name")      // of a repository or a revision
	ErrNotFound = errors.New("not found")         // or private: the hub does not tell which
	ErrDenied   = errors.New("access denied")     // gated, or the token is not accepted
	ErrNoModel  = errors.New("no MusicGen model") // the repository holds something else
	ErrChecksum = errors.New("checksum differs")  // what came is not what the hub announced
	ErrOffline  = errors.New("offline")           // the configuration forbids to ask

	ErrUnreachable = errors.New("the hub cannot be reached") // no network, most likely
)

// errRange: the server has nothing from where it was asked to go on.
var errRange = errors.New("got 416, want the rest of the file")

// temporaryError is worth another try, after a while if the server said how long.
type temporaryError struct {
	err   error
	after time.Duration // 0: not said
}

func (e *temporaryError) Error() string { return e.err.Error() }
func (e *temporaryError) Unwrap() error { return e.err }

// statusError explains an answer that is not a success. The hub hides private repositories behind 401 or 404 and says
// in X-Error-Code what the status alone does not.
func (c *Client) statusError(what, repo string, r *http.Response) error {
	said := r.Header.Get("X-Error-Message")
	if said == "" {
		said = http.StatusText(r.StatusCode)
	}
	got := fmt.Sprintf("%d %.200s", r.StatusCode, said)
	code := r.Header.Get("X-Error-Code")
	switch status := r.StatusCode; {
	case code == "GatedRepo":
		return fmt.Errorf("hub: %s: %w: it is gated (%s); accept its terms at %s/%s, then set HF_TOKEN", what, ErrDenied, got, c.endpoint, repo)
	case code == "RevisionNotFound", code == "EntryNotFound":
		return fmt.Errorf("hub: %s: %w: got %s (%s)", what, ErrNotFound, got, code)
	case status == http.StatusUnauthorized && code != "RepoNotFound" && c.token != "":
		return fmt.Errorf("hub: %s: %w: got %s; check the token in HF_TOKEN or log in again", what, ErrDenied, got)
	case status == http.StatusUnauthorized, status == http.StatusNotFound, code == "RepoNotFound":
		return fmt.Errorf("hub: %s: %w: got %s; check the name; a private repository needs a token in HF_TOKEN", what, ErrNotFound, got)
	case status == http.StatusForbidden:
		return fmt.Errorf("hub: %s: %w: got %s; the token in HF_TOKEN lacks the permission", what, ErrDenied, got)
	case status == http.StatusRequestedRangeNotSatisfiable:
		return &temporaryError{err: fmt.Errorf("hub: %s: %w", what, errRange)}
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout, status >= 500:
		return &temporaryError{fmt.Errorf("hub: %s: got %s", what, got), retryAfter(r.Header.Get("Retry-After"), time.Now())}
	}
	return fmt.Errorf("hub: %s: got %s, want success", what, got)
}

// retryAfter reads the header: seconds or a date. What it cannot read is 0.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(value); err == nil {
		return time.Duration(min(max(seconds, 0), int(time.Hour/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}
