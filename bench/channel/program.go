//go:build unix

package channel

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdresolver "go.etcd.io/etcd/client/v3/naming/resolver"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	grpcresolver "google.golang.org/grpc/resolver"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/resolver"
)

// Library is another library, as a program uses it that has it.
type Library struct {
	Policy   string // its load-balancing policy
	Dial     func(etcd, service string, options ...grpc.DialOption) (*grpc.ClientConn, error)
	Register func(etcd, service, addr string) (deregister func() error, err error)
	// Follow, where it is set, has the lists that its resolver chooses from.
	Follow func(etcd, service string, changed func(addrs []string)) error
}

// spec describes a program that has one gRPC channel, of whose costs it gives account, or that registers instances.
type spec struct {
	Policy   string          // the load-balancing policy
	Config   json.RawMessage // its configuration
	Resolver string          // "rollcall", "cold": rollcall's from nothing, "etcd": the one of client/v3/naming, a model's, a library's, or "": no channel at all, but a watch, and "dial": that and a connection to whoever comes
	Follow   bool            // have the library's lists, and no channel
	Service  string
	N        int      // how many instances there are
	Changes  int      // how many of them a model changes at a time
	Etcd     string   // with commas between endpoints
	Peers    []string // what listens there answers for every address
	Reserve  int      // bytes of memory to have in hand for a measurement, for nothing is freed in it
}

// order is what such a program is to do: "connect" its channel, "close" it, or wait until it has "settled". A "begin" begins a
// measurement, "mark" does so without a garbage collector, and "settled" with Account set ends the latter. "register" and
// "deregister" an instance, "look" out for one, and tell when it was "seen". The others are changes that a model makes.
type order struct {
	Do           string
	Ready, Dials int // settled means that many connections READY, at least so many begun, and nothing more going on
	Account      bool

	Addr   string
	Coming bool // look for it to come, and not to go
	Tries  int  // how many picks it takes to know that it is not picked
}

// reading is what comes of an order.
type reading struct {
	CPU        time.Duration // of the process, user and system, since the last mark or connect
	Took       time.Duration // from there to the last event
	Bytes      uint64        // allocated, likewise
	Updates    int           // by the resolver, likewise
	Dials      int           // likewise
	Collecting time.Duration // the share of the next garbage collection that falls to these bytes
	At         time.Time     // when a registration was begun, or seen
	Dialled    time.Time     // when a connection to what was seen stood, where there is no channel
	Failed     string
}

// program is a process that does what it is told on standard input.
type program struct {
	spec
	library  Library
	reg      *rollcall.Registry
	register registrar
	conn     *grpc.ClientConn
	model
	*counts
	marked
}

// Main is such a process, described by a text, with libraries by the names of their resolvers. It ends when its input does.
func Main(text string, libraries map[string]Library) {
	p := &program{}
	if err := json.Unmarshal([]byte(text), &p.spec); err != nil {
		fail(err)
	}
	p.library = libraries[p.Resolver]
	if p.Policy == ours || p.library.Policy != "" {
		countUnderItsName(cmp.Or(p.library.Policy, p.Policy))
	}
	if p.Resolver == "rollcall" {
		p.reg = p.open()
		w := p.reg.Watch(p.Service) // the view is there when the channel comes: it is not what is measured
		defer w.Close()
		if _, err := w.Next(context.Background()); err != nil {
			fail(err)
		}
	}
	orders := make(chan order)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for o := (order{}); in.Decode(&o) == nil; o = (order{}) {
			orders <- o
		}
		os.Exit(0) // whatever it is doing: nobody wants to know any more
	}()
	stdout := os.Stdout
	os.Stdout = os.Stderr // what a library prints is not an answer
	for out := json.NewEncoder(stdout); ; {
		_ = out.Encode(p.do(<-orders))
	}
}

// fail ends the process.
func fail(err error) {
	fmt.Fprintln(os.Stderr, "channel:", err)
	os.Exit(1)
}

func (p *program) open() *rollcall.Registry {
	reg, err := rollcall.Open(rollcall.ClientConfig(strings.Split(p.Etcd, ",")...))
	if err != nil {
		fail(err)
	}
	return reg
}

func (p *program) do(o order) reading {
	var r reading
	switch o.Do {
	case "connect":
		p.counts = newCounts()
		p.sight.pickless, p.sight.unlisted = p.Policy == "bare", p.Policy == ours
		p.mark()
		p.connect()
	case "mark":
		p.hold()
		p.mark()
	case "begin":
		p.mark()
	case "settled": // is waited for below
	case "close":
		p.hangUp()
		runtime.GC()
	case "look":
		p.sight.look(o.Addr, o.Coming, o.Tries)
	case "seen":
		return p.seen(o)
	case "register", "deregister":
		return p.registration(o)
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

// connect makes the channel and has it connect, or whatever there is instead of one.
func (p *program) connect() {
	switch {
	case p.Follow:
		if err := p.library.Follow(p.Etcd, p.Service, p.changed()); err != nil {
			fail(err)
		}
	case p.Resolver == "", p.Resolver == "dial":
		p.follow()
	default:
		p.dial()
	}
}

func (p *program) dial() {
	counting.Store(p.counts)
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithIdleTimeout(0), grpc.WithContextDialer(p.dialPeer),
	}
	var err error
	if p.library.Dial != nil {
		p.conn, err = p.library.Dial(p.Etcd, p.Service, options...)
	} else {
		name := countedPrefix + p.Policy
		if p.Policy == ours {
			name = ours
		}
		config := fmt.Sprintf(`{"loadBalancingConfig":[{%q:%s}]}`, name, p.Config)
		target, builder := p.target(config)
		p.conn, err = grpc.NewClient(target, append(options, grpc.WithResolvers(builder), grpc.WithDefaultServiceConfig(config))...)
	}
	if err != nil {
		fail(err)
	}
	p.conn.Connect()
}

// target returns what to make a channel to, and with which resolver. To rollcall's the service config is known, as it is in rollcallgrpc.
func (p *program) target(config string) (string, grpcresolver.Builder) {
	switch p.Resolver {
	case "cold":
		p.reg = p.open()
		fallthrough
	case "rollcall":
		return "rollcall:///" + p.Service, resolver.NewBuilder(p.reg, resolver.WithServiceConfig(config))
	case "etcd":
		client, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(p.Etcd, ","), DialTimeout: 5 * time.Second}) // as its documentation has it
		if err != nil {
			fail(err)
		}
		builder, err := etcdresolver.NewBuilder(client)
		if err != nil {
			fail(err)
		}
		return "etcd:///" + instances + p.Service, builder
	}
	return p.model.target(p.Resolver, p.N)
}

// client makes a client of etcd's as rollcall has it: what is measured with it is the least that there is to be done.
func (p *program) client() *clientv3.Client {
	client, err := clientv3.New(rollcall.ClientConfig(strings.Split(p.Etcd, ",")...))
	if err != nil {
		fail(err)
	}
	return client
}

// instances is where registries with the default prefix look for services.
const instances = "rollcall/services/"

func (p *program) hangUp() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
	if p.Resolver == "cold" {
		_ = p.reg.Close(context.Background())
	}
}
