//go:build unix

package channel

import (
	"context"
	"io"
	"math/rand/v2"
	"net"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// follow counts etcd's events, and looks out in them, as a program does that has nothing but etcd's client. With the resolver "dial" it has a
// connection of gRPC's, without a policy, to each instance that came since.
func (p *program) follow() {
	client := p.client()
	prefix := instances + p.Service + "/"
	events := client.Watch(context.Background(), prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-events
	go func() {
		conns := map[string]*grpc.ClientConn{} // by key
		for some := range events {
			at := time.Now()
			p.updates.Add(1)
			p.happened()
			for _, e := range some.Events {
				p.sight.is(string(e.Kv.Key[len(prefix):]), e.Type == clientv3.EventTypePut, at)
				if p.Resolver == "dial" {
					p.keep(conns, e)
				}
			}
		}
	}()
}

// keep makes a connection to an instance that came, and closes that to one that went.
func (p *program) keep(conns map[string]*grpc.ClientConn, e *clientv3.Event) {
	key := string(e.Kv.Key)
	if conn := conns[key]; conn != nil && e.Type == clientv3.EventTypeDelete {
		delete(conns, key)
		_ = conn.Close()
	}
	if !e.IsCreate() {
		return
	}
	conn, err := grpc.NewClient("passthrough:///"+key,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0), grpc.WithContextDialer(p.dialPeer))
	if err != nil {
		fail(err)
	}
	conn.Connect()
	conns[key] = conn
	p.dials.Add(1)
	p.happened()
}

// changed returns what looks out in a library's lists.
func (p *program) changed() func([]string) {
	return func(addrs []string) {
		at := time.Now()
		p.updates.Add(1)
		p.happened()
		p.sight.lists(addrs, at)
	}
}

// seen waits until what was looked for is seen. Without a channel it then makes the connection itself.
func (p *program) seen(o order) reading {
	r := reading{At: p.sight.seen(patience)}
	if o.Coming && p.Resolver == "" && !r.At.IsZero() {
		if err := p.greet(); err != nil {
			return reading{Failed: err.Error()}
		}
		r.Dialled = time.Now()
	}
	return r
}

// greet connects to a peer, and waits for its first settings.
func (p *program) greet() error {
	conn, err := p.dialPeer(context.Background(), "")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(http2Preface + http2Settings)); err != nil {
		return err
	}
	_, err = io.ReadFull(conn, make([]byte, len(http2Settings)))
	return err
}

// dialPeer connects to one of the peers, whatever the address: there are not as many servers as the benchmarks want.
func (p *program) dialPeer(ctx context.Context, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", p.Peers[rand.IntN(len(p.Peers))])
}
