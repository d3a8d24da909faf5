package peer

import (
	"slices"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
)

// GoZero is the publisher of its RPC servers. It has one etcd client for all that has the same endpoints, by itself. Its
// channels are made by the package dial, which links more.
type GoZero struct{}

func (GoZero) Register(s Settings) (func() error, error) {
	logx.DisableStat()
	discov.TimeToLive = int64(s.TTL.Seconds())
	var options []discov.PubOption
	if s.User != "" {
		options = append(options, discov.WithPubEtcdAccount(s.User, s.Password))
	}
	publisher := discov.NewPublisher(slices.Clone(s.Endpoints), s.Service, s.Addr, options...)
	if err := publisher.KeepAlive(); err != nil {
		return nil, err
	}
	return func() error {
		publisher.Stop() // does not wait
		return nil
	}, nil
}
