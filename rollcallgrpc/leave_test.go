package rollcallgrpc

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// settling is how long a server with the options settles, in virtual time, while a call begins after each of the pauses, and what it
// logs. Leaving has no part in it.
func settling(ctx context.Context, pauses []time.Duration, opts ...ServeOption) (time.Duration, string) {
	var log bytes.Buffer
	var calls Calls
	opts = append([]ServeOption{WithCalls(&calls), WithLogger(slog.New(slog.NewTextHandler(&log, nil)))}, opts...)
	s := &server{serveSettings: newServeSettings(opts)}

	ctx, cancel := context.WithCancel(ctx)
	var callers sync.WaitGroup
	callers.Go(func() {
		for _, d := range pauses {
			if !pause(ctx, d) {
				return
			}
			calls.count("/helloworld.Greeter/SayHello")
		}
	})
	began := time.Now()
	s.settle(ctx)
	took := time.Since(began)
	cancel()
	callers.Wait()
	return took, log.String()
}

func TestAServerWaitsUntilCallsHaveCeasedAndNoLongerThanTheDrainDelay(t *testing.T) {
	every := func(d time.Duration, n int) []time.Duration {
		pauses := make([]time.Duration, n)
		for i := range pauses {
			pauses[i] = d
		}
		return pauses
	}
	for name, tc := range map[string]struct {
		pauses []time.Duration
		opts   []ServeOption
		want   time.Duration
		warns  bool
	}{
		"nobody calls":                 {nil, nil, quiet, false},
		"callers cease after a second": {every(100*time.Millisecond, 10), nil, time.Second + quiet, false},
		"a call that comes too late":   {every(quiet+50*time.Millisecond, 1), nil, quiet, false},
		"callers never cease":          {every(100*time.Millisecond, 1000), nil, DefaultCountedDelay, true},
		"a drain delay of one's own":   {every(100*time.Millisecond, 1000), []ServeOption{WithDrainDelay(2 * time.Second)}, 2 * time.Second, true},
		"a short one, and no calls":    {nil, []ServeOption{WithDrainDelay(100 * time.Millisecond)}, 100 * time.Millisecond, false},
		"calls are not counted":        {every(100*time.Millisecond, 1000), []ServeOption{WithCalls(nil)}, DefaultDrainDelay, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, log := settling(t.Context(), tc.pauses, tc.opts...)
				if took < tc.want || took > tc.want+2*quietTick {
					t.Errorf("it waited for %v, want %v", took, tc.want)
				}
				if warned := strings.Contains(log, "calls still come"); warned != tc.warns {
					t.Errorf("a warning that calls still come: %v, want %v\n%s", warned, tc.warns, log)
				}
			})
		})
	}
}

func TestASecondSignalEndsTheWaitForCalls(t *testing.T) {
	for name, opt := range map[string]ServeOption{"counted": WithDrainDelay(time.Hour), "not counted": func(s *serveSettings) {
		WithDrainDelay(time.Hour)(s)
		WithCalls(nil)(s)
	}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, hurry := context.WithCancel(t.Context())
				time.AfterFunc(100*time.Millisecond, hurry)
				if took, _ := settling(ctx, nil, opt); took != 100*time.Millisecond {
					t.Errorf("it waited for %v, want until the second signal after 100 ms", took)
				}
			})
		})
	}
}
