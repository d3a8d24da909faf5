//go:build unix

// Command peers is the program of the benchmarks that has a gRPC channel, or registers instances, with libraries other than
// rollcall. What it is to do stands in the environment, see package channel.
package main

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/zeromicro/go-zero/core/discov"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/bench/channel"
	"github.com/rollcall-io/rollcall/chaos/peers/peer"
	"github.com/rollcall-io/rollcall/chaos/peers/peer/dial"
)

func main() {
	libraries := map[string]channel.Library{}
	for name, caller := range dial.All() {
		libraries[name] = library(name, caller)
	}
	channel.Main(os.Getenv(channel.Env), libraries)
}

func library(name string, c dial.Caller) channel.Library {
	settings := func(etcd, service, addr string) peer.Settings {
		return peer.Settings{Endpoints: strings.Split(etcd, ","), Service: service, ID: addr, Addr: addr, TTL: 15 * time.Second}
	}
	l := channel.Library{
		Policy: c.Policy,
		Dial: func(etcd, service string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
			return c.Dial(settings(etcd, service, ""), options...)
		},
		Register: func(etcd, service, addr string) (func() error, error) {
			return c.Register(settings(etcd, service, addr))
		},
	}
	if name == "gozero" {
		l.Follow = follow
	}
	return l
}

// follow has the lists of which go-zero's resolver draws 32 instances.
func follow(etcd, service string, changed func([]string)) error {
	subscriber, err := discov.NewSubscriber(strings.Split(etcd, ","), service)
	if err != nil {
		return err
	}
	subscriber.AddListener(func() { changed(slices.Clone(subscriber.Values())) })
	return nil
}
