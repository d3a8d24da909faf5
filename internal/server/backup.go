package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// Backup is a copy of a store.
type Backup struct {
	Endpoint string // of the member that it is from
	Size     int64  // of the file
	SHA256   string // of the file, as sha256sum prints it
	Revision int64  // of the store; 0 when only the stream was seen
	Keys     int    // that are there at that revision
	Version  string // of the store's format, as etcd 3.6 and later write it
}

// BackupTo streams a backup from the first endpoint that answers. It returns an error unless what came is what etcd sent, by etcd's own hash.
func (c *Care) BackupTo(ctx context.Context, w io.Writer, progress func(done, total int64)) (Backup, error) {
	b := Backup{Endpoint: c.endpoints[0]}
	status := c.ask(ctx, c.endpoints[:1])[0]
	if status.err != nil {
		return b, fmt.Errorf("ask %s: %w", b.Endpoint, status.err)
	}
	if status.Leader == 0 {
		c.logger.Warn("no endpoint has a leader; the backup may lack what others have")
	}
	c.client.SetEndpoints(b.Endpoint) // for a member with more than one connection is a member like any other
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := c.watchdog(cancel, b.Endpoint)
	defer silence.stop()
	resp, err := c.client.SnapshotWithVersion(ctx)
	if err != nil {
		return b, fmt.Errorf("stream from %s: %w", b.Endpoint, cause(ctx, err))
	}
	defer func() { _ = resp.Snapshot.Close() }()
	seen := newSealed(w)
	tell := writerFunc(func(p []byte) (int, error) {
		silence.reset()
		n, err := seen.Write(p)
		progress(seen.n, max(status.DbSize, seen.n))
		return n, err
	})
	if _, err := io.Copy(tell, resp.Snapshot); err != nil {
		return b, fmt.Errorf("stream from %s: %w", b.Endpoint, cause(ctx, err))
	}
	b.Size, b.SHA256 = seen.n, hex.EncodeToString(seen.whole.Sum(nil))
	return b, seen.verify()
}

// cause says why ctx ended, when that is why err is there.
func cause(ctx context.Context, err error) error {
	if why := context.Cause(ctx); why != nil {
		return why
	}
	return err
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// watchdog ends a stream on which nothing has come for as long as an answer may take.
type watchdog struct {
	timer    *time.Timer
	patience time.Duration
}

func (c *Care) watchdog(cancel context.CancelCauseFunc, endpoint string) watchdog {
	if c.patience <= 0 {
		return watchdog{}
	}
	silent := fmt.Errorf("nothing came from %s for %v: %w", endpoint, c.patience, context.DeadlineExceeded)
	return watchdog{time.AfterFunc(c.patience, func() { cancel(silent) }), c.patience}
}

func (d watchdog) reset() {
	if d.timer != nil {
		d.timer.Reset(d.patience)
	}
}

func (d watchdog) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

// sealed checks the hash that etcd puts after what it sends, while that passes through.
type sealed struct {
	w      io.Writer
	whole  hash.Hash // of everything
	inside hash.Hash // of everything but the tail
	tail   []byte    // the last bytes so far, which may be the hash
	n      int64
}

func newSealed(w io.Writer) *sealed {
	return &sealed{w: w, whole: sha256.New(), inside: sha256.New()}
}

func (s *sealed) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	s.whole.Write(p[:n])
	s.tail = append(s.tail, p[:n]...)
	if ripe := len(s.tail) - sha256.Size; ripe > 0 {
		s.inside.Write(s.tail[:ripe])
		s.tail = append(s.tail[:0], s.tail[ripe:]...)
	}
	return n, err
}

// errBroken says that a backup is not what etcd sent.
var errBroken = errors.New("it does not end in the hash of what it holds: it was cut off or changed")

func (s *sealed) verify() error {
	// A store is a whole number of pages; a hash after it is what makes the difference.
	if s.n%512 != sha256.Size || !bytes.Equal(s.tail, s.inside.Sum(nil)) {
		return errBroken
	}
	return nil
}

// BackupFile writes a backup to a file that nobody else may read, complete or not at all. Unless it may overwrite it leaves a file alone that is
// there. What is written is called path.*.part until it is complete.
func (c *Care) BackupFile(ctx context.Context, path string, overwrite bool, progress func(done, total int64)) (Backup, error) {
	if err := refuseExisting(path, overwrite); err != nil {
		return Backup{}, err
	}
	part, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return Backup{}, err
	}
	b, err := c.BackupTo(ctx, part, progress)
	if err == nil {
		err = part.Sync()
	}
	err = errors.Join(err, part.Close())
	if err == nil {
		err = b.inspect(part.Name())
	}
	if err == nil {
		err = cmp.Or(context.Cause(ctx), refuseExisting(path, overwrite))
	}
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return b, errors.Join(err, os.Remove(part.Name()))
	}
	return b, syncDir(filepath.Dir(path))
}

// inspect reads what was written as a store.
func (b *Backup) inspect(path string) error {
	status, err := inspect(path)
	b.Revision, b.Keys, b.Version = status.Revision, status.TotalKey, status.Version
	return err
}

// ExistsError says that something is there already that would be lost.
type ExistsError struct{ Path, Advice string }

func (e *ExistsError) Error() string { return e.Path + " is there already; " + e.Advice }

func refuseExisting(path string, overwrite bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s is no file", path)
	case err == nil && !overwrite:
		return &ExistsError{path, "choose another name, or overwrite it with --force"}
	}
	return err
}

// inspect reads a store, page by page.
func inspect(path string) (snapshot.Status, error) {
	status, err := snapshot.NewV3(zap.NewNop()).Status(path)
	if err != nil {
		return status, fmt.Errorf("read the store in %s: %w", path, err)
	}
	return status, nil
}

// syncDir makes sure that a name in a directory outlives a power cut, where a system has a way to.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
