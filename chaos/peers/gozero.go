package main

import (
	"context"
	"slices"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"
)

// goZero is the publisher and the subscriber that its RPC servers and clients use. It has one etcd client for all that has
// the same endpoints, by itself.
type goZero struct{}

func (goZero) register(s settings) (func() error, error) {
	logx.DisableStat()
	discov.TimeToLive = int64(s.ttl.Seconds())
	var options []discov.PubOption
	if s.user != "" {
		options = append(options, discov.WithPubEtcdAccount(s.user, s.password))
	}
	// Programs with go-zero do not deregister: it does so itself when SIGTERM comes, and calls them when they may stop.
	stop := make(chan struct{})
	proc.AddShutdownListener(func() { close(stop) })
	if err := discov.NewPublisher(slices.Clone(s.endpoints), s.service, s.addr, options...).KeepAlive(); err != nil {
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
	if s.user != "" {
		options = append(options, discov.WithSubEtcdAccount(s.user, s.password))
	}
	subscriber, err := discov.NewSubscriber(slices.Clone(s.endpoints), s.service, options...)
	if err != nil {
		return err
	}
	show := func() { v.show(0, subscriber.Values()) }
	subscriber.AddListener(show)
	show()
	<-ctx.Done()
	return nil
}
