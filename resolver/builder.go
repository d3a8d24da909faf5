// Package resolver resolves gRPC targets of the form rollcall:///<service> from a [rollcall.Registry].
//
//	conn, err := grpc.NewClient("rollcall:///jie-test",
//		grpc.WithResolvers(resolver.NewBuilder(reg)),
//		grpc.WithTransportCredentials(creds))
//
// Most programs want the front door instead, rollcallgrpc.NewClient, which also chooses a load-balancing policy.
//
// # Targets
//
// A target may select among the instances of its service, by the zone and the version that they registered with:
//
//	rollcall:///jie-test?version=v2
//	rollcall:///jie-test?zone=eu-1a&zone=eu-1b&version=v2
//
// A parameter that is repeated takes any of its values, different parameters must all be met. A service of which the
// target selects no instance is an empty one. Other parameters, empty values and a value that is given twice are refused:
// the channel's calls fail with Unavailable and say which and why. See [Validate].
//
// # What a channel can rely on
//
//   - Creating or waking a channel never waits for etcd and never fails because of it. Calls wait for the first view by
//     their own deadlines; after 2 seconds without one they fail with Unavailable and a text that says so, unless they
//     wait for ready. As soon as etcd answers they go through.
//   - Once there are instances, etcd's absence never takes them away: the channel keeps the last that was known.
//   - A service without instances is not an error of etcd: its calls fail at once with Unavailable.
//   - What the channel gets are the instances that serve (all, if none does), each once per address, suspects
//     ([rollcall.Instance.Suspect]) included: one whose connection stands is called, one that is dead is not. Everything
//     known about one comes with its endpoint, see [InstanceOf].
//   - The first change is passed on at once. Those that follow are gathered for 5 ms and 10 µs per instance, at most
//     100 ms: a burst is one update, and nothing is later than that. A change that a channel cannot see, such as the new
//     lease of an instance, is not passed on.
//   - All channels of a process to one target of one registry share what they are sent, and the work of making it: a
//     further channel costs what gRPC does with it. None waits for another. One that comes back from gRPC's idle mode
//     within 30 s finds the endpoints that it had.
//
// A channel whose service config comes from here ([WithServiceConfig]) and names the policy "rollcall" first is sent a list once. What
// changes after that goes to its policy directly.
//
// Any standard policy (round_robin, ring_hash_experimental, …) works on these endpoints. A proxy named by HTTPS_PROXY
// makes gRPC rewrite them, without what is known about the instances: dial with [grpc.WithNoProxy].
package resolver

import (
	"net/url"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/endpoints"
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
	c := newChannel(cc)
	c.serviceConfig = serviceConfig{disabled: opts.DisableServiceConfig, standard: b.serviceConfig}
	sel, err := parseTarget(target)
	switch {
	case err != nil:
		err = plain(err)
	case b.reg == nil:
		err = errNoRegistry
	}
	if err != nil {
		c.running.Go(func() { cc.ReportError(err) })
		return c, nil
	}
	c.begin(shared, b.reg, sel, func() watcher { return b.reg.Watch(sel.service) })
	return c, nil
}

// InstanceOf returns what is known about the instance behind an endpoint, for load-balancing policies. It returns false
// for an endpoint that does not come from this package.
//
// The instance is shared and must not be changed. Its TTL, Holder, Registered, Revision and CreateRevision may be older
// than etcd's: nothing else having changed, the channel is not told.
func InstanceOf(ep resolver.Endpoint) (*rollcall.Instance, bool) { return endpoints.InstanceOf(ep) }
