package rollcall

import (
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/rollcall-io/rollcall/internal/without"
)

// ClientConfig returns an etcd client configuration for the given endpoints, tuned for discovery; change what you like,
// such as TLS, before it goes to [Open] or clientv3.New.
//
// It reconnects after 100 ms to 1 s: gRPC's default waits up to 2 minutes, long enough for leases to run out after etcd
// is back. It pings an idle-looking connection every 10 s, the least gRPC allows, so that a member that hangs is
// noticed. Its windows of flow control have one size: gRPC's default is to find one out by a ping after each message, which wakes
// a process, and etcd, once more for each event and each heartbeat. The etcd client logs nothing: what matters is logged by the
// registry, see [WithLogger].
func ClientConfig(endpoints ...string) clientv3.Config {
	ping := 10 * time.Second
	if without.Watchdog {
		ping = 0
	}
	return clientv3.Config{
		Endpoints:            endpoints,
		DialKeepAliveTime:    ping,
		DialKeepAliveTimeout: 3 * time.Second,
		Logger:               zap.NewNop(),
		DialOptions: []grpc.DialOption{
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
				MinConnectTimeout: 2 * time.Second,
			}),
			grpc.WithStaticStreamWindowSize(receiveWindow), grpc.WithStaticConnWindowSize(receiveWindow),
		},
	}
}

// receiveWindow is how many bytes etcd may send before the first of them are acknowledged: 40 MB a second to somebody who is 50 ms away.
const receiveWindow = 2 << 20
