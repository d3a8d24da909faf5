// Package dial makes gRPC channels as the users of other discovery libraries do, by the libraries' own clients. It links
// more than package peer does, not all of it idle.
package dial

import (
	"context"

	"github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/gogf/gf/v2/frame/g"
	"github.com/gogf/gf/v2/os/glog"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/zrpc"
	googlegrpc "google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// A Caller is a library and the load-balancing policy that its channels have unless told otherwise.
type Caller struct {
	peer.Library
	Policy string
}

// All returns the libraries by name. They log errors only.
func All() map[string]Caller {
	logx.SetLevel(logx.ErrorLevel)
	logx.DisableStat()
	g.Log().SetLevel(glog.LEVEL_ERRO | glog.LEVEL_CRIT)
	return map[string]Caller{
		"gozero": {goZero{}, "p2c_ewma"},
		"kratos": {&kratos{}, "selector"},
		"gf":     {&peer.GF{}, "BalancerRoundRobin"},
	}
}

type goZero struct{ peer.GoZero }

// Dial makes a channel by zrpc. Its resolver draws 32 of the instances each time that they change, which no user can alter.
func (goZero) Dial(s peer.Settings, options ...googlegrpc.DialOption) (*googlegrpc.ClientConn, error) {
	conf := zrpc.NewEtcdClientConf(s.Endpoints, s.Service, "", "")
	conf.NonBlock = true
	var all []zrpc.ClientOption
	for _, o := range options {
		all = append(all, zrpc.WithDialOption(o))
	}
	client, err := zrpc.NewClient(conf, all...)
	if err != nil {
		return nil, err
	}
	return client.Conn(), nil
}

type kratos struct{ peer.Kratos }

// Dial makes a channel by its gRPC client. Subsets are off, as they would leave 25 of the instances, and so is the health
// check, which is a stream more on each connection.
func (k *kratos) Dial(s peer.Settings, options ...googlegrpc.DialOption) (*googlegrpc.ClientConn, error) {
	registry, err := k.Open(s)
	if err != nil {
		return nil, err
	}
	return grpc.DialInsecure(context.Background(), grpc.WithEndpoint("discovery:///"+s.Service), grpc.WithDiscovery(registry),
		grpc.WithSubset(0), grpc.WithHealthCheck(false), grpc.WithPrintDiscoveryDebugLog(false), grpc.WithOptions(options...))
}
