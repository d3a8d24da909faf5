//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// storeLocked reports whether another process holds the lock that bbolt takes on an open store. A store that does not
// exist is not locked.
func storeLocked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open etcd's store: %w", err)
	}
	defer func() { _ = f.Close() }() // and with it the lock
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("lock etcd's store %s: %w", path, err)
	}
	return false, nil
}
