package work

import (
	"context"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Kind is a kind of call, each a method of the service:
//
//	service Work { // package rollcall.chaos
//	  rpc Quick(google.protobuf.Empty) returns (google.protobuf.StringValue);         // 20 ms of work
//	  rpc Slow(google.protobuf.Empty) returns (google.protobuf.StringValue);          // a second of it
//	  rpc Stream(google.protobuf.Empty) returns (stream google.protobuf.StringValue); // six messages in 300 ms
//	}
//
// The replies hold the server's address. A request is no bytes at all, so a caller in another language can do without
// generated code, and need not read the replies.
type Kind string

// The kinds there are.
const (
	Quick  Kind = "quick"
	Slow   Kind = "slow"
	Stream Kind = "stream"
)

// Kinds are all of them.
var Kinds = []Kind{Quick, Slow, Stream}

const (
	serviceName = "rollcall.chaos.Work"
	messages    = 6 // of a stream
)

// Lasts is how much work a call is.
func (k Kind) Lasts() time.Duration {
	return map[Kind]time.Duration{Quick: 20 * time.Millisecond, Slow: time.Second, Stream: 300 * time.Millisecond}[k]
}

// Patience is how long a caller waits for a call, at most: so long that what ends by it has hung.
func (k Kind) Patience() time.Duration { return k.Lasts() + 10*time.Second }

// Method is the method's full name.
func (k Kind) Method() string { return "/" + serviceName + "/" + k.name() }

func (k Kind) name() string {
	return map[Kind]string{Quick: "Quick", Slow: "Slow", Stream: "Stream"}[k]
}

// Worker does the work.
type Worker struct {
	addr    string
	journal *Journal
	calls   atomic.Int64
}

// Register adds the service to a server that is found at addr.
func Register(srv grpc.ServiceRegistrar, addr string, j *Journal) {
	srv.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: Quick.name(), Handler: Quick.handle}, {MethodName: Slow.name(), Handler: Slow.handle}},
		Streams:     []grpc.StreamDesc{StreamDesc(streamWork)},
	}, &Worker{addr: addr, journal: j})
}

// StreamDesc is what gRPC wants to know of the streaming method, with its handler, which a client has none of.
func StreamDesc(handler grpc.StreamHandler) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: Stream.name(), Handler: handler, ServerStreams: true}
}

// handle is a unary method of the service.
func (k Kind) handle(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
	w, in := srv.(*Worker), new(emptypb.Empty)
	if err := decode(in); err != nil {
		return nil, err
	}
	work := func(ctx context.Context, _ any) (any, error) {
		var reply *wrapperspb.StringValue
		err := w.work(ctx, k, 1, func(m *wrapperspb.StringValue) error { reply = m; return nil })
		return reply, err
	}
	if interceptor == nil {
		return work(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: k.Method()}, work)
}

func streamWork(srv any, stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
		return err
	}
	return srv.(*Worker).work(stream.Context(), Stream, messages, func(m *wrapperspb.StringValue) error { return stream.SendMsg(m) })
}

// work does what a call asks for, and sends a message after each part of it.
func (w *Worker) work(ctx context.Context, k Kind, parts int, send func(*wrapperspb.StringValue) error) (err error) {
	call := w.calls.Add(1)
	w.journal.Tell(Line{What: Began, Kind: k, Call: call})
	defer func() {
		w.journal.Tell(Line{What: Ended, Kind: k, Call: call, Message: text(err)})
	}()
	for range parts {
		select {
		case <-time.After(k.Lasts() / time.Duration(parts)):
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
		if err := send(wrapperspb.String(w.addr)); err != nil {
			return err
		}
	}
	return nil
}

// text is an error's, or none.
func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
