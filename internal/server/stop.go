package server

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// registryGrace is what the registry has to take leave of etcd.
const registryGrace = 2 * time.Second

// stop ends everything in the order that costs those who are served least: they are told, led to other servers, waited for, and
// cut off.
func (f *front) stop() {
	f.stopping.Store(true)
	if f.health != nil {
		f.health.Shutdown() // whoever looks after us sends nobody any more
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.cfg.StopTimeout)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(f.etcd.moveOn)
	served := make(chan struct{})
	wg.Go(func() {
		defer close(served)
		finish(ctx, f.outer) // connections are told to go (GOAWAY), and then their streams
	})
	f.leaving.begin()
	if f.dns != nil {
		wg.Go(func() { _ = f.dns.Stop(ctx) })
	}
	f.awaitStreams(ctx, served)
	if f.api != nil {
		f.api.EndStreams() // those that are left
		f.xds.EndStreams()
	}
	f.stopHTTP(ctx)
	wg.Wait()
	if f.api != nil {
		f.xds.Close()
		f.api.Close() // after the last call: what is registered is left to the servers that go on
	}
	f.stopInside()
	f.serving.Wait()
	close(f.failed)
}

// awaitStreams gives the streams the time in which they end one by one.
func (f *front) awaitStreams(ctx context.Context, served <-chan struct{}) {
	if f.leaving.streams.Load() == 0 {
		return
	}
	select {
	case <-served:
	case <-time.After(leaveWithin):
	case <-ctx.Done():
	}
}

// finish waits for calls under way, until ctx ends.
func finish(ctx context.Context, s *grpc.Server) {
	if s == nil {
		return
	}
	defer context.AfterFunc(ctx, s.Stop)()
	s.GracefulStop()
}

func (f *front) stopHTTP(ctx context.Context) {
	if f.web != nil {
		f.web.Close()
	}
	if f.http != nil {
		if f.http.Shutdown(ctx) != nil {
			_ = f.http.Close()
		}
	}
	if f.pprof != nil {
		_ = f.pprof.Close()
	}
}

// stopInside ends what nobody uses any more.
func (f *front) stopInside() {
	if f.conn != nil {
		_ = f.conn.Close()
	}
	if f.inner != nil {
		f.inner.Stop()
	}
	if f.guard != nil {
		f.guard.Close()
	}
	f.listing.Wait()
	f.duties.stop()
	f.doctor.close()
	if f.registry != nil {
		ctx, cancel := context.WithTimeout(context.Background(), registryGrace)
		defer cancel()
		_ = f.registry.Close(ctx)
	}
	f.traces.stop()
}
