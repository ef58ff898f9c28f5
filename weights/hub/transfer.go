package hub

import (
	"context"
	"crypto/sha1" // git's choice, not ours
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const (
	transferTries = 6 // failures in a row without a byte in between: half a minute
	bufferBytes   = 256 << 10
)

// transfer moves one file from the hub to its blob. What has come stays in <hash>.incomplete whatever happens, and the
// next transfer goes on there.
type transfer struct {
	client *Client
	plan   *Plan
	file   file
	meter  *meter

	part    *os.File
	at      int64     // bytes in part
	hash    hash.Hash // of these bytes
	resumed bool      // some of them were there before
}

// run returns when the file is in the snapshot.
func (t *transfer) run(ctx context.Context) error {
	unlock, err := lock(ctx, t.plan.lockFile(t.file.hash))
	if err != nil {
		return err
	}
	defer unlock()
	if t.plan.has(t.file.name) { // another process was faster, and without links no blob tells of it
		t.meter.skip(t.file.size)
		return nil
	}
	blob := t.plan.blob(t.file.hash)
	isNew := !t.whole()
	if isNew {
		err = t.fetch(ctx, blob)
	} else {
		t.meter.skip(t.file.size) // another snapshot has it
	}
	if err == nil {
		err = t.plan.link(t.file, isNew, t.client.symlink)
	}
	return t.explain(err)
}

// whole says whether the blob is there in its full length. One that another program cut short is fetched again.
func (t *transfer) whole() bool {
	info, err := os.Stat(t.plan.blob(t.file.hash))
	return err == nil && info.Size() == t.file.size
}

// explain says what can be done where the disk refuses.
func (t *transfer) explain(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case isDiskFull(err):
		return fmt.Errorf("hub: %s: the disk is full with %d MB to come; make room in %s and ask again, what has come is kept: %w",
			t.what(), (t.file.size-t.at)>>20, t.plan.cache, err)
	case errors.As(err, &path), errors.As(err, &link):
		return fmt.Errorf("hub: %s: %w", t.what(), err)
	}
	return err
}

func (t *transfer) what() string { return t.plan.Repo + "/" + t.file.name }

// fetch brings the content to blob.
func (t *transfer) fetch(ctx context.Context, blob string) error {
	if err := os.MkdirAll(filepath.Dir(blob), 0o777); err != nil {
		return err
	}
	var err error
	if t.part, err = os.OpenFile(blob+".incomplete", os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return err
	}
	err = t.fill(ctx)
	if err == nil {
		err = t.part.Sync() // the name vouches for the content, also after a power cut
	}
	if err = errors.Join(err, t.part.Close()); err == nil {
		return os.Rename(t.part.Name(), blob)
	}
	if errors.Is(err, ErrChecksum) {
		os.Remove(t.part.Name())
	}
	return err
}

// fill completes part. Where the beginning was there before and the whole has the wrong hash, the beginning is to
// blame: once more, from nothing.
func (t *transfer) fill(ctx context.Context) error {
	if err := t.readPart(ctx); err != nil {
		return err
	}
	for {
		furthest := t.at
		err := t.client.retry(ctx, transferTries, func() (bool, error) {
			before := furthest
			err := t.attempt(ctx)
			furthest = max(furthest, t.at)
			return furthest > before, err
		})
		if err != nil {
			return err
		}
		sum := hex.EncodeToString(t.hash.Sum(nil))
		if sum == t.file.hash {
			return nil
		}
		if !t.resumed {
			return fmt.Errorf("hub: %s: %w: got %s, want %s; the file was dropped, ask again", t.what(), ErrChecksum, sum, t.file.hash)
		}
		if err := t.restart(); err != nil {
			return err
		}
	}
}

// readPart takes over what an earlier transfer has left.
func (t *transfer) readPart(ctx context.Context) error {
	t.newHash()
	info, err := t.part.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	if info.Size() > t.file.size {
		return t.restart()
	}
	buffer := make([]byte, bufferBytes)
	for {
		n, err := t.part.Read(buffer)
		t.hash.Write(buffer[:n])
		t.at += int64(n)
		t.meter.skip(int64(n))
		t.resumed = true
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
	}
}

// newHash begins the hash that the hub names the file by. Git's is over a header and the content.
func (t *transfer) newHash() {
	if len(t.file.hash) == 2*sha256.Size {
		t.hash = sha256.New()
		return
	}
	t.hash = sha1.New()
	fmt.Fprintf(t.hash, "blob %d\x00", t.file.size)
}

// restart drops what has come.
func (t *transfer) restart() error {
	t.meter.skip(-t.at)
	t.at, t.resumed = 0, false
	t.newHash()
	if err := t.part.Truncate(0); err != nil {
		return err
	}
	_, err := t.part.Seek(0, io.SeekStart)
	return err
}

// attempt asks for what is missing, once.
func (t *transfer) attempt(ctx context.Context) error {
	if t.at == t.file.size {
		return nil
	}
	header := http.Header{}
	if t.at > 0 {
		header.Set("Range", fmt.Sprintf("bytes=%d-", t.at))
	}
	err := t.client.get(ctx, t.what(), t.plan.Repo, t.client.address(t.plan, t.file.name), header, t.receive)
	if errors.Is(err, errRange) {
		return errors.Join(err, t.restart())
	}
	return err
}

// receive appends the body of an answer to part.
func (t *transfer) receive(answer *http.Response) error {
	if t.at > 0 {
		want := fmt.Sprintf("bytes %d-", t.at)
		if got := answer.Header.Get("Content-Range"); answer.StatusCode != http.StatusPartialContent || !strings.HasPrefix(got, want) {
			if err := t.restart(); err != nil { // the server sends what it likes, most likely all
				return err
			}
			if answer.StatusCode != http.StatusOK {
				return &temporaryError{err: fmt.Errorf("hub: %s: got status %d and range %.60q, want %s…", t.what(), answer.StatusCode, got, want)}
			}
		}
	}
	buffer := make([]byte, bufferBytes)
	for t.at < t.file.size {
		n, err := answer.Body.Read(buffer[:min(bufferBytes, t.file.size-t.at)])
		if n > 0 {
			if _, err := t.part.Write(buffer[:n]); err != nil {
				return err
			}
			t.hash.Write(buffer[:n])
			t.at += int64(n)
			t.meter.add(int64(n))
		}
		if err != nil && t.at < t.file.size {
			return &temporaryError{err: fmt.Errorf("hub: %s: broke off at byte %d of %d: %w", t.what(), t.at, t.file.size, err)}
		}
	}
	return nil
}
