//go:build linux

package server

import (
	"context"
	"net"
	"net/http"
	_ "net/http/pprof" // by which its memory is known
	"testing"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// eachServer is a server as one would first write it: on the library's watchers, with the same responses, of which every stream encodes its
// own. It stands for what the streams would cost without what is made once for all of them.
type eachServer struct {
	*process
	etcd *etcd
	at   struct{ GRPC, Pprof string }
}

// eachArgs is where the server finds what it tells.
type eachArgs struct{ Etcd, Prefix string }

func startEach(b *testing.B, e *etcd, prefix string) *eachServer {
	b.Helper()
	s := &eachServer{process: play(b, "each", eachArgs{e.addr, prefix}), etcd: e}
	s.ask(b, nil, &s.at)
	return s
}

func (s *eachServer) host() host {
	return host{[]int{s.pid, s.etcd.pid}, []string{s.at.Pprof, s.etcd.addr}}
}

// each is its discovery service, of which only Watch is there.
type each struct {
	rollcallv1.UnimplementedDiscoveryServiceServer
	reg *rollcall.Registry
}

func playEach(p *player) error {
	var args eachArgs
	if err := p.args(&args); err != nil {
		return err
	}
	reg, err := rollcall.Open(rollcall.ClientConfig(args.Etcd), rollcall.WithPrefix(args.Prefix), rollcall.WithFollowAll())
	if err != nil {
		return err
	}
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	srv := grpc.NewServer()
	rollcallv1.RegisterDiscoveryServiceServer(srv, &each{reg: reg})
	go func() { _ = srv.Serve(listeners[0]) }() // both end with the process
	go func() { _ = http.Serve(listeners[1], nil) }()
	if err := p.say(struct{ GRPC, Pprof string }{listeners[0].Addr().String(), listeners[1].Addr().String()}); err != nil {
		return err
	}
	return p.untilLeft()
}

// Watch implements the discovery service.
func (s *each) Watch(req *rollcallv1.WatchRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchResponse]) error {
	w := s.reg.Watch(req.GetService())
	defer w.Close()
	for first := true; ; first = false {
		v, err := s.next(stream.Context(), w)
		if err != nil {
			return err
		}
		m := &rollcallv1.WatchResponse{Revision: v.Revision, Snapshot: first}
		for _, u := range v.Updates {
			m.Updates = append(m.Updates, message.Update(u))
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}

// next leaves out what tells a client nothing.
func (*each) next(ctx context.Context, w *rollcall.Watcher) (*rollcall.View, error) {
	for {
		v, err := w.Next(ctx)
		if err != nil || len(v.Updates) > 0 {
			return v, err
		}
	}
}
