//go:build linux

package server

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	registrars      = 48 // instances that register at a time
	registrantConns = 4
	perService      = 100              // instances
	registrantTTL   = 15 * time.Second // the default
	beatEvery       = registrantTTL / 3
)

// registrantArgs are for a process that stands for many programs which register one instance each.
type registrantArgs struct {
	Addr, Manner string
	Instances    int // that will be there in the end
}

// registered says how long it took.
type registered struct {
	All  time.Duration
	Took spread // each
}

// registrant is one manner to register an instance and to stay.
type registrant interface {
	// register returns when the instance is registered, and sees to its staying.
	register(ctx context.Context, n int) error
	// beats is how many heartbeats have been answered.
	beats() int64
}

// playRegistrants registers up to as many instances as each order says; zero asks for the heartbeats that there were.
func playRegistrants(p *player) error {
	var args registrantArgs
	if err := p.args(&args); err != nil {
		return err
	}
	who, err := newRegistrant(args)
	if err != nil {
		return err
	}
	next := 0
	for {
		var until int
		if p.orders.Decode(&until) != nil {
			return nil
		}
		if until == 0 {
			err = p.say(who.beats())
		} else if answer, failed := registerAll(who, next, until); failed == nil {
			err, next = p.say(answer), until
		} else {
			err = failed
		}
		if err != nil {
			return err
		}
	}
}

func newRegistrant(args registrantArgs) (registrant, error) {
	if args.Manner == "raw" {
		return newRawRegistrant(args)
	}
	conns := make([]*grpc.ClientConn, max(registrantConns, args.Instances/streamsPerConn))
	for i := range conns {
		conn, err := grpc.NewClient(args.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return nil, err
		}
		conns[i] = conn
	}
	if args.Manner == "session" {
		return &sessionRegistrant{conns: conns}, nil
	}
	return newUnaryRegistrant(conns[:registrantConns], args.Instances), nil
}

// registerAll registers some instances, a number of them at a time.
func registerAll(who registrant, first, until int) (registered, error) {
	took, next := make([]time.Duration, until-first), atomic.Int64{}
	next.Store(int64(first))
	var failure atomic.Pointer[error]
	var wg sync.WaitGroup
	began := time.Now()
	for range registrars {
		wg.Go(func() {
			for n := int(next.Add(1)) - 1; n < until; n = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := who.register(context.Background(), n); err != nil {
					failure.Store(&err)
					return
				}
				took[n-first] = time.Since(began)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return registered{}, fmt.Errorf("register: %w", *err)
	}
	return registered{time.Since(began), spreadOf(took)}, nil
}

func serviceOf(n int) string { return fmt.Sprintf("svc-%d", n/perService) }
func addrOf(n int) string    { return fmt.Sprintf("10.%d.%d.%d:8080", n>>16, n>>8&255, n&255) }
