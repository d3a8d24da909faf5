// Package rollcallgrpc is the front door for gRPC programs: [NewClient] calls a service by its name, [Serve] runs a server
// that is found by its name, from the moment it can be called until it no longer is.
package rollcallgrpc

import (
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/resolver"
	"google.golang.org/grpc"
)

// defaultServiceConfig spreads calls evenly: gRPC by itself sends all of them to one instance.
const defaultServiceConfig = `{"loadBalancingConfig":[{"round_robin":{}}]}`

// NewClient makes a gRPC channel to a service that is registered in reg. The target is the service's name, "jie-test", or
// in full "rollcall:///jie-test". What a channel does while etcd is out of reach, while a service is empty and when
// instances come and go is described in package [resolver].
//
// Like [grpc.NewClient] it does no I/O, and needs transport credentials among its options. An error means that the target,
// the registry or an option is invalid; a name that can be no service's fails the channel's calls instead. Calls are
// spread with round_robin. For another policy build the resolver yourself, which then takes precedence:
//
//	rollcallgrpc.NewClient("jie-test", reg, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(json))), …)
//
// Proxies named by HTTPS_PROXY are not used ([grpc.WithNoProxy]): instances are called where they say they are. The
// channel is the caller's to close, before reg, which stays the caller's too and serves any number of channels.
func NewClient(target string, reg *rollcall.Registry, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if reg == nil {
		return nil, noRegistry()
	}
	full, err := fullTarget(target)
	if err != nil {
		return nil, err
	}
	builder := resolver.NewBuilder(reg, resolver.WithServiceConfig(defaultServiceConfig))
	// gRPC takes the first resolver of a scheme: the caller's, if there is one.
	return grpc.NewClient(full, append(slices.Clip(opts), grpc.WithResolvers(builder), grpc.WithNoProxy())...)
}

// fullTarget puts the scheme before a bare name. Another scheme, or a host and port, is a mistake that gRPC would make
// something of: a name to look up in DNS.
func fullTarget(target string) (string, error) {
	if name, ok := strings.CutPrefix(target, resolver.Scheme+":///"); ok && name != "" {
		return target, nil
	}
	if target == "" || strings.ContainsAny(target, ":/") {
		return "", invalid("target", `"`+target+`"`, "a target is a service name, as it is or after rollcall:///")
	}
	return resolver.Scheme + ":///" + target, nil
}

func noRegistry() error {
	return invalid("registry", "nil", "make one with rollcall.Open or rollcall.New")
}

func invalid(field, value, rule string) error {
	return &rollcall.InvalidError{Field: field, Value: value, Rule: rule}
}
