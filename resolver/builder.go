// Package resolver resolves gRPC targets of the form rollcall:///<service> from a [rollcall.Registry].
//
//	conn, err := grpc.NewClient("rollcall:///jie-test",
//		grpc.WithResolvers(resolver.NewBuilder(reg)),
//		grpc.WithTransportCredentials(creds))
//
// Most programs want the front door instead, rollcallgrpc.NewClient, which also chooses a load-balancing policy.
//
// # What a channel can rely on
//
//   - Creating or waking a channel never waits for etcd and never fails because of it. Calls wait for the first view by
//     their own deadlines; after 2 seconds without one they fail with Unavailable and a text that says so, unless they
//     wait for ready. As soon as etcd answers they go through.
//   - Once there are instances, etcd's absence never takes them away: the channel keeps the last that was known.
//   - A service without instances is not an error of etcd: its calls fail at once with Unavailable.
//   - What the channel gets are the instances that serve (all, if none does), each once per address, suspects
//     ([rollcall.Instance.Suspect]) included: one whose connection stands is called, one that is dead is not. Everything known about one comes with its endpoint, see [InstanceOf].
//   - The first change is passed on at once. Those that follow are gathered for 5 ms and 10 µs per instance, at most
//     100 ms: a burst is one update, and nothing is later than that. A change that a channel cannot see, such as the new
//     lease of an instance, is not passed on.
//
// Any standard policy (round_robin, ring_hash_experimental, …) works on these endpoints. A proxy named by HTTPS_PROXY
// makes gRPC rewrite them, without what is known about the instances: dial with [grpc.WithNoProxy].
package resolver

import (
	"context"
	"net/url"

	"github.com/rollcall-io/rollcall"
	"google.golang.org/grpc/resolver"
)

// Scheme is the scheme of the targets that the builder resolves.
const Scheme = "rollcall"

// Option configures a builder.
type Option func(*builder)

// WithServiceConfig sets the channel's default policy, as gRPC service config in JSON. It is sent with every update, for
// a channel keeps the last one it was sent and forgets what [grpc.WithDefaultServiceConfig] said. The default, and "",
// is to send none: the channel's own default counts.
//
// Calls on a channel that was sent a config gRPC cannot read fail with Unavailable and say why.
func WithServiceConfig(json string) Option {
	return func(b *builder) { b.serviceConfig = json }
}

// NewBuilder returns a builder for [grpc.WithResolvers] that finds services in reg. One builder serves any number of
// channels at once; those of one service share one watch. The registry stays the caller's: close the channels first. On
// a closed registry a channel keeps what it has, and one that has nothing fails its calls.
func NewBuilder(reg *rollcall.Registry, opts ...Option) resolver.Builder {
	b := &builder{reg: reg}
	for _, opt := range opts {
		opt(b)
	}
	return b
}

type builder struct {
	reg           *rollcall.Registry
	serviceConfig string
}

var _ resolver.AuthorityOverrider = (*builder)(nil)

func (b *builder) Scheme() string { return Scheme }

// OverrideAuthority makes the service name the channel's authority, as it is: gRPC would take the escaped path.
func (b *builder) OverrideAuthority(target resolver.Target) string {
	return url.PathEscape(target.Endpoint())
}

// Build starts the one goroutine that serves the channel. It never fails: gRPC would not try again until the channel has
// been idle for half an hour. What is wrong is reported to the channel instead.
func (b *builder) Build(target resolver.Target, cc resolver.ClientConn, opts resolver.BuildOptions) (resolver.Resolver, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &channel{cc: cc, cancel: cancel}
	if b.serviceConfig != "" && !opts.DisableServiceConfig {
		c.serviceConfig = cc.ParseServiceConfig(b.serviceConfig)
	}
	service, err := parseTarget(target)
	if err == nil && b.reg == nil {
		err = errNoRegistry
	}
	c.running.Go(func() {
		if err != nil {
			cc.ReportError(err)
			return
		}
		w := b.reg.Watch(service)
		defer w.Close()
		c.next = w.Next
		c.run(ctx)
	})
	return c, nil
}
