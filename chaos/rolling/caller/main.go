// Program caller calls a service as a user of rollcall does, with many callers that never try again, until it is told to
// end (SIGTERM). What gRPC by itself does about a call that no server has begun to work on, it does here, too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"github.com/rollcall-io/rollcall/resolver"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// settings are the program's flags.
type settings struct {
	work.Flags
	policy string
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "caller:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	s := new(settings)
	set := flag.NewFlagSet("caller", flag.ContinueOnError)
	s.Define(set)
	set.StringVar(&s.policy, "policy", "rollcall", "the load-balancing policy: rollcall, round_robin, or another that needs no configuration")
	if err := set.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	j, err := work.Create(s.Journal)
	if err != nil {
		return err
	}
	defer j.Close()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	reg, err := rollcall.Open(rollcall.ClientConfig(s.Endpoints()...), rollcall.WithLogger(log))
	if err != nil {
		return err
	}
	conn, err := s.dial(reg)
	if err != nil {
		return err
	}
	s.Load(ctx, j, func(ctx context.Context, k work.Kind) work.Outcome { return call(ctx, conn, k) })
	return errors.Join(conn.Close(), closeRegistry(reg))
}

// dial makes the channel. There is no retry policy.
func (s *settings) dial(reg *rollcall.Registry) (*grpc.ClientConn, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if s.policy != "rollcall" {
		config := fmt.Sprintf(`{"loadBalancingConfig":[{%q:{}}]}`, s.policy)
		opts = append(opts, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(config))))
	}
	return rollcallgrpc.NewClient(s.Service, reg, opts...)
}

// call makes one call of a kind, and reads all of the answer.
func call(ctx context.Context, conn *grpc.ClientConn, k work.Kind) work.Outcome {
	var from peer.Peer
	var err error
	if k == work.Stream {
		err = stream(ctx, conn, grpc.Peer(&from))
	} else {
		err = conn.Invoke(ctx, k.Method(), new(emptypb.Empty), new(wrapperspb.StringValue), grpc.Peer(&from))
	}
	o := work.Outcome{Code: status.Code(err).String()}
	if from.Addr != nil {
		o.Addr = from.Addr.String()
	}
	if err != nil {
		o.Message = status.Convert(err).Message()
	}
	return o
}

func stream(ctx context.Context, conn *grpc.ClientConn, opts ...grpc.CallOption) error {
	desc := work.StreamDesc(nil)
	s, err := conn.NewStream(ctx, &desc, work.Stream.Method(), opts...)
	if err != nil {
		return err
	}
	if err := s.SendMsg(new(emptypb.Empty)); err != nil && !errors.Is(err, io.EOF) { // then RecvMsg says what happened
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		if err := s.RecvMsg(new(wrapperspb.StringValue)); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func closeRegistry(reg *rollcall.Registry) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return reg.Close(ctx)
}
