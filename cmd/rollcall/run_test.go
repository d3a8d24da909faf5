package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall"
)

// refusing is a registry that refuses what it is asked for some times.
type refusing struct {
	runRegistry
	why   []error
	asked []time.Duration // when, since the first
	began time.Time
}

func (r *refusing) Register(context.Context, string, rollcall.Instance, time.Duration) (runRegistration, error) {
	r.asked = append(r.asked, time.Since(r.began))
	if len(r.why) == 0 {
		return new(rollcall.Registration), nil
	}
	err := r.why[0]
	r.why = r.why[1:]
	return nil, err
}

func TestWhatIsRefusedIsSaidOnceAndTriedAgainUntilItIsNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full, denied := errors.New("no space"), errors.New("denied")
		reg := &refusing{began: time.Now(), why: []error{full, full, full, denied, denied, denied, denied}}
		var talk strings.Builder
		r := &runner{registry: reg, name: "server", talk: &talk}
		if r.register(t.Context()) == nil {
			t.Error("it gave up")
		}
		if diff := cmp.Diff("rollcall: no space; server runs on, and is tried again\nrollcall: denied; server runs on, and is tried again\n", talk.String()); diff != "" {
			t.Errorf("it said (-want +got):\n%s", diff)
		}
		var want []time.Duration
		for _, seconds := range []int{0, 1, 3, 7, 15, 31, 61, 91} {
			want = append(want, time.Duration(seconds)*time.Second)
		}
		if diff := cmp.Diff(want, reg.asked); diff != "" {
			t.Errorf("it asked at (-want +got):\n%s", diff)
		}
	})
}

func TestAWaitForAnAnswerAsksOftenAtFirstAndEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		asked, began := 0, time.Now()
		probe := func(context.Context) error {
			if asked++; time.Since(began) > 100*time.Millisecond {
				return nil
			}
			return errors.New("not yet")
		}
		if !untilAnswer(ctx, probe) || time.Since(began) > 200*time.Millisecond {
			t.Errorf("an answer after 0.1 s was found after %v", time.Since(began))
		}
		asked = 0
		if untilAnswer(ctx, func(context.Context) error { asked++; return errors.New("never") }) || asked > 200 {
			t.Errorf("it asked %d times in a minute, and found an answer", asked)
		}
	})
}
