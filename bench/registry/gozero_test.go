//go:build linux

package registry

import (
	"context"
	"time"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
)

// goZero is the publisher and the subscriber that its RPC servers and clients use. A process has one etcd client, by itself, so that it
// cannot stand for many programs.
type goZero struct{}

func (goZero) list(_ context.Context, j job) (n int, held any, err error) {
	if j.Service == "" {
		return 0, nil, errNotMeasured
	}
	logx.Disable()
	subscriber, err := discov.NewSubscriber([]string{j.Endpoint}, j.Service)
	if err != nil {
		return 0, nil, err
	}
	return len(subscriber.Values()), subscriber, nil
}

func (goZero) hold(_ context.Context, j job) error {
	if j.Clients != 1 {
		return errNotMeasured
	}
	logx.Disable()
	discov.TimeToLive = int64(j.TTL.Seconds())
	return each(j.Each, 64, func(i int) error {
		return discov.NewPublisher([]string{j.Endpoint}, service(i/perService), addr(i)).KeepAlive()
	})
}

func (goZero) watch(context.Context, job, func(int)) error { return errNotMeasured }
func (goZero) unrenewed(time.Time) (int, error)            { return 0, errNotMeasured }
