package main

import (
	"context"
	"slices"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"

	"github.com/rollcall-io/rollcall/chaos/peers/peer"
)

// goZero is the publisher and the subscriber that its RPC servers and clients use. It has one etcd client for all that has
// the same endpoints, by itself.
type goZero struct{ peer.GoZero }

func (g goZero) Register(s peer.Settings) (func() error, error) {
	// Programs with go-zero do not deregister: it does so itself when SIGTERM comes, and calls them when they may stop.
	stop := make(chan struct{})
	proc.AddShutdownListener(func() { close(stop) })
	if _, err := g.GoZero.Register(s); err != nil {
		return nil, err
	}
	return func() error {
		<-stop
		return nil
	}, nil
}

func (goZero) watch(ctx context.Context, s settings, v *view) error {
	logx.DisableStat()
	var options []discov.SubOption
	if s.User != "" {
		options = append(options, discov.WithSubEtcdAccount(s.User, s.Password))
	}
	subscriber, err := discov.NewSubscriber(slices.Clone(s.Endpoints), s.Service, options...)
	if err != nil {
		return err
	}
	show := func() { v.show(0, subscriber.Values()) }
	subscriber.AddListener(show)
	show()
	<-ctx.Done()
	return nil
}
