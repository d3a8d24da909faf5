package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// grace is how long members may take to tell what another one has compacted.
const grace = 2 * time.Second

// Sync waits until the record holds everything that etcd has acknowledged, tells so, and returns the revision. It settles
// what is in doubt: a history that was compacted before any member told it is a hole in the record.
func (r *Recorder) Sync(ctx context.Context) (int64, error) {
	r.mu.Lock()
	before := r.history.head
	r.mu.Unlock()
	revision, err := r.revision(ctx)
	switch {
	case err != nil:
		return 0, fmt.Errorf("ask etcd for its revision: %w", err)
	case revision < before:
		return 0, fmt.Errorf("etcd's revision is %d, the record's %d: it is another store, and Rewritten has not been called", revision, before)
	}
	patience := time.After(grace)
	for late := false; ; {
		r.mu.Lock()
		head, changed := r.history.head, r.changed
		hole := r.settle()
		done := head >= revision && !hole
		if done {
			r.out.Tell(journal.Event{What: Synced, Epoch: r.epoch, Revision: head})
		}
		r.mu.Unlock()
		switch {
		case done:
			return head, nil
		case hole && late:
			if err := r.fill(ctx); err != nil {
				return 0, err
			}
			continue
		}
		select {
		case <-changed:
		case <-patience:
			late = true
		case <-ctx.Done():
			return 0, fmt.Errorf("the record has revision %d, etcd %d: %w", head, revision, ctx.Err())
		}
	}
}

// settle tells the contradictions, lets their members go on, and returns whether history is missing. The caller holds mu.
func (r *Recorder) settle() (hole bool) {
	for m, d := range r.doubts {
		switch {
		case d.err != nil:
			r.tellDoubt(m, d)
			delete(r.doubts, m)
			r.broadcast()
		case d.compacted > r.history.head:
			hole = true
		}
	}
	return hole
}

// tellDoubt tells what it was that stopped a member's watch. The caller holds mu.
func (r *Recorder) tellDoubt(m *member, d *doubt) {
	switch {
	case d.err != nil:
		r.out.Tell(journal.Event{What: Contradiction, Epoch: r.epoch, Target: m.endpoint, Err: d.err.Error()})
	case d.compacted > r.history.head:
		r.out.Tell(journal.Event{What: Hole, Epoch: r.epoch, Target: m.endpoint, Revision: r.history.head, Err: errCompacted.Error()})
	}
}

// fill tells of a hole in the record, and goes on behind it.
func (r *Recorder) fill(ctx context.Context) error {
	r.listing.Lock()
	defer r.listing.Unlock()
	return r.ask(ctx, func(ctx context.Context, client *clientv3.Client) (func() error, error) {
		if _, err := client.Get(ctx, "\x00", clientv3.WithCountOnly()); err != nil {
			return nil, err
		}
		return func() error {
			r.mu.Lock()
			r.out.Tell(journal.Event{What: Hole, Epoch: r.epoch, Revision: r.history.head, Err: errCompacted.Error()})
			r.mu.Unlock()
			_, err := r.list(ctx, client, 0)
			return err
		}, nil
	})
}

// Leases tells how many leases etcd holds.
func (r *Recorder) Leases(ctx context.Context) error {
	return r.ask(ctx, func(ctx context.Context, client *clientv3.Client) (func() error, error) {
		// A member answers from what it has itself: this read brings it up to now.
		if _, err := client.Get(ctx, "\x00", clientv3.WithCountOnly()); err != nil {
			return nil, err
		}
		leases, err := client.Leases(ctx)
		if err != nil {
			return nil, err
		}
		return func() error {
			r.out.Tell(journal.Event{What: journal.Leases, Value: float64(len(leases.Leases))})
			return nil
		}, nil
	})
}

// revision is etcd's by a linearizable read.
func (r *Recorder) revision(ctx context.Context) (revision int64, err error) {
	return revision, r.ask(ctx, func(ctx context.Context, client *clientv3.Client) (func() error, error) {
		now, err := client.Get(ctx, "\x00", clientv3.WithCountOnly())
		return func() error {
			revision = now.Header.Revision
			return nil
		}, err
	})
}

// question is put to all members at once. What it returns is done for the first one that answers.
type question func(context.Context, *clientv3.Client) (func() error, error)

// ask asks again and again until ctx ends.
func (r *Recorder) ask(ctx context.Context, q question) error {
	for {
		answered, err := r.askOnce(ctx, q)
		if answered || !wait(ctx, pause) {
			return err
		}
	}
}

// askOnce asks every member and takes the first answer. It tells whether there was one.
func (r *Recorder) askOnce(ctx context.Context, q question) (answered bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for _, endpoint := range slices.Clone(r.endpoints) {
		wg.Go(func() {
			client, failure := r.dial(ctx, endpoint)
			var then func() error
			if failure == nil {
				defer func() { _ = client.Close() }()
				then, failure = q(ctx, client)
			}
			mu.Lock()
			defer mu.Unlock()
			switch {
			case failure != nil:
				failed = append(failed, fmt.Errorf("%s: %w", endpoint, failure))
			case !answered:
				answered, err = true, then()
				cancel()
			}
		})
	}
	wg.Wait()
	if !answered {
		err = errors.Join(failed...)
	}
	return answered, err
}
