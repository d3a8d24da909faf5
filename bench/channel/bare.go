package channel

import "google.golang.org/grpc/balancer"

// bareBuilder builds the policy "bare", the least that connects to every endpoint: it picks nothing and publishes nothing.
type bareBuilder struct{}

func (bareBuilder) Name() string { return "bare" }

func (bareBuilder) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &bareBalancer{cc: cc, conns: map[string]balancer.SubConn{}}
}

type bareBalancer struct {
	cc    balancer.ClientConn
	conns map[string]balancer.SubConn // by address
}

func (b *bareBalancer) UpdateClientConnState(s balancer.ClientConnState) error {
	listed := make(map[string]bool, len(s.ResolverState.Endpoints))
	for _, ep := range s.ResolverState.Endpoints {
		addr := ep.Addresses[0].Addr
		listed[addr] = true
		if b.conns[addr] != nil {
			continue
		}
		//lint:ignore SA1019 gRPC deprecates no more than several addresses for one connection
		conn, err := b.cc.NewSubConn(ep.Addresses, balancer.NewSubConnOptions{StateListener: func(balancer.SubConnState) {}})
		if err != nil {
			return err
		}
		b.conns[addr] = conn
		conn.Connect()
	}
	for addr, conn := range b.conns {
		if !listed[addr] {
			conn.Shutdown()
			delete(b.conns, addr)
		}
	}
	return nil
}

func (b *bareBalancer) ResolverError(error) {}
func (b *bareBalancer) ExitIdle()           {}
func (b *bareBalancer) Close()              {}

// UpdateSubConnState is never called: every connection has a listener of its own.
func (b *bareBalancer) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}
