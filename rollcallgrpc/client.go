// Package rollcallgrpc is the front door for gRPC programs: [NewClient] calls a service by its name, [Serve] runs a server
// that is found by its name, from the moment it can be called until it no longer is.
package rollcallgrpc

import (
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/balancer"
	"github.com/rollcall-io/rollcall/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// defaultServiceConfig chooses our policy: gRPC by itself sends all calls to one instance.
const defaultServiceConfig = `{"loadBalancingConfig":[{"` + balancer.Name + `":{}}]}`

// patience is how a channel tries to connect. By itself gRPC waits for 20 s for an answer and pauses for up to two minutes, and so calls
// nobody for that long after a network is whole again. Who is gone for good leaves the registry, and is tried no longer.
var patience = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: time.Second, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 10 * time.Second},
	MinConnectTimeout: 5 * time.Second,
}

// NewClient makes a gRPC channel to a service that is registered in reg. The target is the service's name, "jie-test", or
// in full "rollcall:///jie-test", and may select among its instances: "jie-test?version=v2". How it does, and what a
// channel does while etcd is out of reach, while a service is empty and when instances come and go, is described in
// package [resolver].
//
// Like [grpc.NewClient] it does no I/O, and needs transport credentials among its options. An error means that the target,
// the registry or an option is invalid. Calls are balanced by package [balancer]: as the instances' weights say, in the
// caller's own zone if it can be. To configure that, or for another policy
// (`{"loadBalancingConfig":[{"round_robin":{}}]}`), build the resolver yourself, which then takes precedence:
//
//	json, err := balancer.Config{Pick: balancer.LeastRequest}.ServiceConfig()
//	rollcallgrpc.NewClient("jie-test", reg, grpc.WithResolvers(resolver.NewBuilder(reg, resolver.WithServiceConfig(json))), …)
//
// A connection that cannot be made is tried again after 1 s, later after 10 s at most, and given up after 5 s without an answer; who
// wants that otherwise passes [grpc.WithConnectParams]. Proxies named by HTTPS_PROXY are not used ([grpc.WithNoProxy]): instances are called where they say they are. The
// channel is the caller's to close, before reg, which stays the caller's too and serves any number of channels.
func NewClient(target string, reg *rollcall.Registry, opts ...grpc.DialOption) (*grpc.ClientConn, error) {
	if reg == nil {
		return nil, noRegistry()
	}
	full, err := fullTarget(target)
	if err == nil {
		err = resolver.Validate(reg, full)
	}
	if err != nil {
		return nil, err
	}
	builder := resolver.NewBuilder(reg, resolver.WithServiceConfig(defaultServiceConfig))
	// gRPC takes the first resolver of a scheme, the caller's if there is one, and the last connect parameters, likewise.
	opts = append([]grpc.DialOption{grpc.WithConnectParams(patience)}, opts...)
	return grpc.NewClient(full, append(opts, grpc.WithResolvers(builder), grpc.WithNoProxy())...)
}

// fullTarget puts the scheme before a bare name. Another scheme, or a host and port, is a mistake that gRPC would make
// something of: a name to look up in DNS.
func fullTarget(target string) (string, error) {
	if strings.HasPrefix(target, resolver.Scheme+":///") {
		return target, nil
	}
	if name, _, _ := strings.Cut(target, "?"); name == "" || strings.ContainsAny(name, ":/") {
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
