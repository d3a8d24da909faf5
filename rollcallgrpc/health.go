package rollcallgrpc

import (
	"context"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

// prepareHealth sees to it that the server has a health service, which says NOT_SERVING. One that is not ours to steer
// is left alone: then there is no s.health.
func (s *server) prepareHealth(srv *grpc.Server) {
	services := srv.GetServiceInfo()
	_, registered := services[healthpb.Health_ServiceDesc.ServiceName]
	s.statuses = []string{""}
	if s.health == nil && !registered {
		s.health = health.NewServer()
		s.statuses = append(s.statuses, slices.Collect(maps.Keys(services))...)
	}
	if !registered {
		watches, end := context.WithCancel(context.Background())
		healthpb.RegisterHealthServer(srv, probes{s.health, watches})
		s.endWatches = end
	}
	s.setHealth(healthpb.HealthCheckResponse_NOT_SERVING)
}

func (s *server) setHealth(status healthpb.HealthCheckResponse_ServingStatus) {
	if s.health == nil {
		return
	}
	for _, name := range s.statuses {
		s.health.SetServingStatus(name, status)
	}
}

// tellServing tells all who ask the server itself whether it is to be called.
func (s *server) tellServing(serving bool) {
	switch {
	case serving:
		s.setHealth(healthpb.HealthCheckResponse_SERVING)
	case s.health != nil:
		s.health.Shutdown()
	}
	if s.onServing != nil {
		s.onServing(serving)
	}
}

// probes is a health service whose watches end when the server stops. They are streams that never do so by themselves: who looks
// after the server would keep it until the stop timeout is over.
type probes struct {
	*health.Server
	watches context.Context
}

// Watch is that of the health service, until the watches end.
func (p probes) Watch(in *healthpb.HealthCheckRequest, stream healthpb.Health_WatchServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	defer context.AfterFunc(p.watches, cancel)()
	return p.Server.Watch(in, endingStream{stream, ctx})
}

// endingStream has a context that ends before the stream's.
type endingStream struct {
	healthpb.Health_WatchServer
	ctx context.Context
}

func (s endingStream) Context() context.Context { return s.ctx }
