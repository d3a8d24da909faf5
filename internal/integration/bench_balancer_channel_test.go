//go:build unix

package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/resolver"
)

// channel describes a program that has one gRPC channel, of whose costs it gives account.
type channel struct {
	Policy   string          // the load-balancing policy
	Config   json.RawMessage // its configuration
	Resolver string          // "rollcall", "etcd": the one of client/v3/naming, a model's, or "": no channel at all, but a watch
	Service  string
	N        int // how many instances a model has
	Etcd     string
	Peers    []string // what listens there answers for every address
	Reserve  int      // bytes of memory to have in hand for a measurement, for nothing is freed in it
}

// order is what such a program is to do: "connect" its channel, "close" it, or wait until it has "settled". A "mark"
// begins a measurement, without a garbage collector, and "settled" with Account set ends it. The others are changes that
// a model makes.
type order struct {
	Do           string
	Ready, Dials int // settled means that many connections READY, at least so many begun, and nothing more going on
	Account      bool
}

// reading is what comes of an order.
type reading struct {
	CPU        time.Duration // of the process, user and system, since the last mark or connect
	Bytes      uint64        // allocated, likewise
	Updates    int           // by the resolver, likewise
	Dials      int           // likewise
	Collecting time.Duration // the share of the next garbage collection that falls to these bytes
	Failed     string
}

func startChannel(b *testing.B, c channel) *program {
	b.Helper()
	spec, err := json.Marshal(c)
	if err != nil {
		b.Fatal(err)
	}
	return startProgram(b, "TestChannelProgram", string(spec))
}

// TestChannelProgram is no test: it is the program of startChannel.
func TestChannelProgram(t *testing.T) {
	p := &channelProgram{t: t}
	if json.Unmarshal([]byte(os.Getenv(programEnv)), &p.channel) != nil {
		return
	}
	if p.Resolver == "rollcall" {
		p.reg = open(t, p.Etcd)
		w := p.reg.Watch(p.Service) // the view is there when the channel comes: it is not what is measured
		defer w.Close()
		next(t, w)
	}
	orders := make(chan order)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for o := (order{}); in.Decode(&o) == nil; o = (order{}) {
			orders <- o
		}
		os.Exit(0) // whatever it is doing: nobody wants to know any more
	}()
	for out := json.NewEncoder(os.Stdout); ; {
		_ = out.Encode(p.do(<-orders))
	}
}

type channelProgram struct {
	channel
	t    *testing.T
	reg  *rollcall.Registry
	conn *grpc.ClientConn
	model
	*counts
	marked
}

func (p *channelProgram) do(o order) reading {
	var r reading
	switch o.Do {
	case "connect":
		p.counts = newCounts()
		p.mark()
		if p.Resolver == "" {
			p.follow()
			break
		}
		p.dial()
	case "mark":
		p.hold()
		p.mark()
	case "settled": // is waited for below
	case "close":
		p.hangUp()
		runtime.GC()
	default:
		return p.drive(o.Do)
	}
	if o.Ready > 0 || o.Do == "settled" {
		r = p.settle(o)
	}
	if o.Account {
		r.Collecting = p.collect(r.Bytes)
	}
	return r
}

// dial makes the channel and has it connect.
func (p *channelProgram) dial() {
	target, builder := p.target()
	counting.Store(p.counts)
	conn, err := grpc.NewClient(target, grpc.WithResolvers(builder), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithIdleTimeout(0), grpc.WithContextDialer(p.dialPeer),
		grpc.WithDefaultServiceConfig(fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, countedPrefix+p.Policy, p.Config)))
	if err != nil {
		p.t.Fatal(err)
	}
	p.conn = conn
	conn.Connect()
}

// target returns what to make a channel to, and with which resolver.
func (p *channelProgram) target() (string, grpcresolver.Builder) {
	switch p.Resolver {
	case "rollcall":
		return "rollcall:///" + p.Service, resolver.NewBuilder(p.reg)
	case "etcd":
		builder, err := etcdresolver.NewBuilder(p.client())
		if err != nil {
			p.t.Fatal(err)
		}
		return "etcd:///" + instances + p.Service, builder
	}
	return p.model.target(p.Resolver, p.N)
}

func (p *channelProgram) client() *clientv3.Client {
	client, err := clientv3.New(rollcall.ClientConfig(p.Etcd))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = client.Close() })
	return client
}

// follow counts etcd's events, and does nothing more.
func (p *channelProgram) follow() {
	client := p.client()
	go func() {
		for range client.Watch(p.t.Context(), instances+p.Service+"/", clientv3.WithPrefix()) {
			p.updates.Add(1)
			p.happened()
		}
	}()
}

// dialPeer connects to one of the peers, whatever the address: there are not as many servers as the benchmarks want.
func (p *channelProgram) dialPeer(ctx context.Context, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", p.Peers[rand.IntN(len(p.Peers))])
}

func (p *channelProgram) hangUp() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
