package main

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

// host is a server with a pool that has nobody else to call, and the server's journal.
func host(t *testing.T) (*grpc.Server, *pool, *work.Reader) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "s1"+work.Extension)
	j, err := work.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	work.Register(srv, lis.Addr().String(), j)
	var wg sync.WaitGroup
	wg.Go(func() { _ = srv.Serve(lis) })
	p := newPool()
	p.use(&rollcall.View{Instances: []*rollcall.Instance{{ID: "i", Addr: lis.Addr().String()}}})
	said := work.Open(name)
	t.Cleanup(func() {
		p.close()
		srv.Stop()
		wg.Wait()
		j.Close()
		said.Close()
	})
	return srv, p, said
}

// begin begins a slow call, and returns when it has reached its server.
func begin(t *testing.T, p *pool, said *work.Reader) (outcome chan work.Outcome) {
	t.Helper()
	outcome = make(chan work.Outcome, 1)
	go func() { outcome <- p.try(work.Slow) }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		l, more, err := said.Next()
		if more && l.What == work.Began {
			return outcome
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("no call has begun: %v", err)
		}
	}
}

func (p *pool) try(k work.Kind) work.Outcome {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return p.call(ctx, k)
}

// So many that what HTTP/2 allows of answers at first would not be enough.
func TestCallsOfEachKindAreAnswered(t *testing.T) {
	t.Parallel()
	_, p, _ := host(t)
	var wg sync.WaitGroup
	for range 500 {
		for _, k := range work.Kinds {
			wg.Go(func() {
				if o := p.try(k); o.Code != work.OK || o.Addr == "" {
					t.Errorf("%s: %+v", k, o)
				}
			})
		}
	}
	wg.Wait()
}

func TestACallThatIsCutOffHasFailed(t *testing.T) {
	t.Parallel()
	srv, p, said := host(t)
	outcome := begin(t, p, said)
	srv.Stop()
	if o := <-outcome; o.Code == work.OK || o.Message == "" {
		t.Errorf("%+v", o)
	}
}

// Clients that forgive would wait, or call somebody else.
func TestAServerThatStopsGracefullyBeforeItIsGoneFailsCalls(t *testing.T) {
	t.Parallel()
	srv, p, _ := host(t)
	if o := p.try(work.Quick); o.Code != work.OK {
		t.Fatalf("%+v", o)
	}
	srv.GracefulStop()
	if o := p.try(work.Quick); o.Code == work.OK || o.Message == "" {
		t.Errorf("%+v", o)
	}
}

func TestACallUnderWayEndsWellWhenItsServerLeaves(t *testing.T) {
	t.Parallel()
	srv, p, said := host(t)
	outcome := begin(t, p, said)
	p.use(&rollcall.View{})
	srv.GracefulStop()
	if o := <-outcome; o.Code != work.OK {
		t.Errorf("%+v", o)
	}
}
