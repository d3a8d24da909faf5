package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// course is one run of an operation with another at one of its points, or with none for -1.
type course struct {
	held          bool // a registration is there before
	logins        bool // etcd wants a password
	first, second operation
	at            int
}

// run runs in a bubble, and returns the points that were passed and whether the second operation happened.
func (c course) run(t *testing.T) (names []string, acted bool) {
	t.Helper()
	var wrong error
	synctest.Test(t, func(t *testing.T) {
		r := &race{t: t, cluster: simetcd.New(simetcd.Options{Members: []string{"m1", "m2", "m3"}}), points: &points{}, logins: c.logins}
		defer func() {
			for _, reg := range r.all {
				_ = reg.Close(context.Background())
			}
			r.cluster.Stop()
		}()
		if c.logins {
			r.cluster.AddUser("root", "secret")
			if err := r.cluster.EnableAuth(); err != nil {
				t.Fatal(err)
			}
		}
		r.registry = r.open(r.points.dialOptions()...)
		if c.held {
			if err := r.register(context.Background(), r.registry, "10.0.0.1:1"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond) // the key is watched
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r.cancel = cancel
		r.points.arm(c.at, func(message context.Context, streamed bool) fate {
			if streamed && c.second.fate == falls {
				r.silence(3 * time.Second)
			}
			if c.second.do != nil {
				r.start(context.Background(), c.second.name, c.second.do)
				synctest.Wait() // as far as it gets while the message is held
			}
			select {
			case <-time.After(c.second.late):
			case <-message.Done():
			}
			return c.second.fate
		})
		r.start(ctx, c.first.name, c.first.do)
		r.wait()
		time.Sleep(10 * time.Millisecond) // for what goes on beside the call
		names, acted = r.points.disarm()
		r.wait()
		wrong = c.judge(r)
	})
	if wrong != nil {
		t.Errorf("%s, %s at point %d (%s): %v", c.first.name, c.second.name, c.at, timeline(names, c.at), wrong)
	}
	return names, acted
}

// judge returns what is wrong when both operations are over.
func (c course) judge(r *race) error {
	for _, o := range r.calls {
		if err := c.mayReturn(o); err != nil {
			return err
		}
	}
	closed := slices.ContainsFunc(r.calls, func(o *racedCall) bool { return strings.HasPrefix(o.name, closes.name) })
	if !closed {
		if err := r.settle(15 * time.Second); err != nil {
			return fmt.Errorf("15 s later: %w (calls: %v)", err, r.outcomes())
		}
		if err := r.heals(); err != nil {
			return fmt.Errorf("nobody looks after it any more: %w (calls: %v)", err, r.outcomes())
		}
	}
	if err := c.endedRightly(r); err != nil {
		return err
	}
	return r.leave()
}

func (r *race) outcomes() (text []string) {
	for _, o := range r.calls {
		text = append(text, fmt.Sprintf("%s %v after %v", o.name, o.err, o.took))
	}
	return text
}

// mayReturn holds what a call returned against what the other one gave it reason for.
func (c course) mayReturn(o *racedCall) error {
	if o.took > raceLimit {
		return fmt.Errorf("%s took %v", o.name, o.took)
	}
	if o.err == nil || errors.Is(o.err, errPromise) {
		return o.err
	}
	other := c.second
	if o.name == c.second.name && c.second.name != c.first.name {
		other = c.first
	}
	if errors.Is(o.err, context.Canceled) && o.took > 100*time.Millisecond {
		return fmt.Errorf("%s returned %v after it began, long after its context ended: %w", o.name, o.took, o.err)
	}
	for _, reason := range other.because {
		if errors.Is(o.err, reason) {
			return nil
		}
	}
	silent := c.second.fate == falls || c.second.name == hangsLeader.name || strings.HasPrefix(other.name, cancels.name)
	if strings.HasPrefix(o.name, closes.name) && silent {
		return nil // etcd did not answer in time, and Close says so
	}
	if strings.HasPrefix(o.name, leaves.name) && silent && strings.Contains(o.err.Error(), "close registry") {
		return nil // it returns what Close did
	}
	return fmt.Errorf("%s returned after %v: %w", o.name, o.took, o.err)
}

// endedRightly holds the ends of the registrations against what was done.
func (c course) endedRightly(r *race) error {
	may := append(append([]error{}, c.first.because...), c.second.because...)
	for _, g := range r.held {
		err := g.Err()
		ok := err == nil
		for _, reason := range may {
			ok = ok || errors.Is(err, reason)
		}
		if !ok {
			return fmt.Errorf("%s ended without reason: %w", g.Instance().Addr, err)
		}
	}
	return nil
}
