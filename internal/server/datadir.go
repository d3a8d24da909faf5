package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// lockName is the file by which servers keep one another out of a data directory. It stays there when they end: only
// the lock on it counts.
const lockName = "rollcall.lock"

// dataDir is a data directory that no other process uses.
type dataDir struct {
	path string // absolute
	lock *fileutil.LockedFile
}

// openDataDir creates the directory if it is missing and takes it, or returns at once a *LockedError. etcd itself would
// wait for the other process, for ever.
func openDataDir(path string) (*dataDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find data directory %s: %w", path, err)
	}
	if err := os.MkdirAll(path, fileutil.PrivateDirMode); err != nil {
		return nil, fmt.Errorf("create data directory: %w; choose another with --data-dir", err)
	}
	lock, err := fileutil.TryLockFile(filepath.Join(path, lockName), os.O_WRONLY|os.O_CREATE, fileutil.PrivateFileMode)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, &LockedError{Path: path}
	}
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w; choose another with --data-dir", err)
	}
	d := &dataDir{path: path, lock: lock}
	// An etcd that is not ours knows nothing of our lock, but holds one on its store.
	locked, err := storeLocked(filepath.Join(path, "member", "snap", "db"))
	if err == nil && locked {
		err = &LockedError{Path: path}
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

// close gives the directory free. The system would, too, when the process ends.
func (d *dataDir) close() {
	if d != nil {
		_ = d.lock.Close()
	}
}
