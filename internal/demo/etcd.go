package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// startEtcd starts an etcd on a free port over a temporary directory. The returned function ends it and removes the
// directory.
func (d *demo) startEtcd(ctx context.Context) (stop func() error, err error) {
	dir, err := os.MkdirTemp("", "rollcall-demo-")
	if err != nil {
		return nil, err
	}
	// Its context outlives ctx: etcd ends last.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, ended := make(chan server.Info, 1), make(chan error, 1)
	go func() {
		cfg := server.Config{DataDir: filepath.Join(dir, "etcd"), ClientURL: "http://127.0.0.1:0", Prefix: rollcall.DefaultPrefix}
		err := server.Run(running, cfg, func(info server.Info) { ready <- info })
		if running.Err() == nil {
			d.fail(fmt.Errorf("etcd ended by itself: %w", cmp.Or(err, errors.New("without an error"))))
		}
		ended <- err
	}()
	stop = func() error {
		cancel()
		return errors.Join(<-ended, os.RemoveAll(dir))
	}
	select {
	case info := <-ready:
		d.etcd = info.Endpoints[0]
		d.out.event("started", "etcd %s at %s", info.Version, d.etcd)
		return stop, nil
	case <-time.After(startWithin):
		err = fmt.Errorf("no answer within %v", startWithin)
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(err, stop())
}
