// Package simetcd is a fake etcd cluster for simulated time.
//
// It serves etcd's gRPC API (key-value, leases, watches, auth, and the little of maintenance and cluster that clients
// ask for) over in-memory connections to the real etcd client, inside a testing/synctest bubble: ten minutes of leases,
// elections and faults take a fraction of a second, and every timer is the bubble's.
//
//	synctest.Test(t, func(t *testing.T) {
//		sim := simetcd.New(simetcd.Options{Members: []string{"m1", "m2", "m3"}})
//		defer sim.Stop()
//		client, err := clientv3.New(sim.Config())
//		...
//		sim.Leader().Hang()
//	})
//
// One store stands behind all members: writes have one order, and a member is only behind it, never beside it. Members
// and the network before them fail by the methods of [Member]; the store itself by those of [Cluster]. What the fake
// copies of etcd's behaviour is held to the truth by a conformance suite that runs against a real etcd too.
//
// Create the cluster, its clients and all that waits for them inside one bubble, and close the clients before Stop.
package simetcd

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

const (
	// Election is etcd's default election timeout: how long a silent leader is believed in, and what a promoted leader
	// adds to every lease.
	Election = time.Second

	// Version is the etcd version that members report, unless the options name another.
	Version = "3.7.3"

	requestTimeout = 5*time.Second + 2*Election // how long etcd itself waits for a commit or for the leader
	clusterID      = 0x51e7cd
)

// Options say what cluster to make. The zero value is one member with etcd's defaults.
type Options struct {
	Members          []string      // names; the default is "m1". Member "m1" is found at endpoint "m1:2379".
	Version          string        // of etcd. One before 3.7, such as "3.6.16", cannot stream reads.
	TokenTTL         time.Duration // how long an unused auth token lives; the default is 5 minutes
	ProgressInterval time.Duration // of watches that ask for progress; the default is 10 minutes
}

// Cluster is a fake etcd cluster. Its methods may be called concurrently.
type Cluster struct {
	options Options
	members []*Member
	end     chan struct{}  // closed by Stop
	wg      sync.WaitGroup // goroutines of the cluster and of its handlers

	mu       sync.Mutex // guards all below, and what the members say it guards; never held while waiting
	changed  chan struct{}
	store    *store
	era      int // of the store: counts wipes and restores
	history  []Revision
	requests []Request
	lastID   int64 // of leases and tokens

	leader     *Member // who leads, or led when others last heard of it; nil when nobody does
	dead       bool    // the leader's process has ended since, whether or not it runs again
	term       uint64
	lost       time.Time // when the leader stopped leading well; zero while all is well
	waiting    time.Time // since when a quorum is without a leader; zero while there is none, or a leader
	leaderless time.Time // no election before this
	wokeLate   bool      // the last leader that woke up under another one revoked leases before it knew
}

// New starts a cluster, with a leader and an empty store.
func New(options Options) *Cluster {
	if len(options.Members) == 0 {
		options.Members = []string{"m1"}
	}
	if options.Version == "" {
		options.Version = Version
	}
	if options.TokenTTL == 0 {
		options.TokenTTL = 5 * time.Minute
	}
	if options.ProgressInterval == 0 {
		options.ProgressInterval = 10 * time.Minute
	}
	c := &Cluster{
		options: options,
		end:     make(chan struct{}),
		changed: make(chan struct{}),
		store:   newStore(),
		term:    1,
		lastID:  0x7e57_0000_0000,
	}
	for i, name := range options.Members {
		m := &Member{cluster: c, name: name, id: uint64(0xe7cd00 + i + 1)}
		c.members = append(c.members, m)
		m.start()
	}
	c.do(func() { c.elect(c.members[0]) })
	c.wg.Go(c.run)
	return c
}

// Stop ends the cluster. When it returns, nothing of it runs.
func (c *Cluster) Stop() {
	for _, m := range c.members {
		m.Kill()
	}
	close(c.end)
	c.wg.Wait()
}

// Members returns all members, running or not.
func (c *Cluster) Members() []*Member { return c.members }

// Member returns member i, counted from 0.
func (c *Cluster) Member(i int) *Member { return c.members[i] }

// Endpoints returns the endpoints of all members.
func (c *Cluster) Endpoints() []string {
	var endpoints []string
	for _, m := range c.members {
		endpoints = append(endpoints, m.Endpoint())
	}
	return endpoints
}

// Config returns the configuration of a client for the given endpoints, or for all when none is given.
func (c *Cluster) Config(endpoints ...string) clientv3.Config {
	if len(endpoints) == 0 {
		endpoints = c.Endpoints()
	}
	return clientv3.Config{
		Endpoints:   endpoints,
		DialOptions: []grpc.DialOption{c.DialOption()},
		Logger:      zap.NewNop(),
	}
}

// DialOption makes a client connect to the cluster instead of the network; it is for configurations made elsewhere.
func (c *Cluster) DialOption() grpc.DialOption { return grpc.WithContextDialer(c.Dialer()) }

// Dialer returns a function that connects to the member at an address.
func (c *Cluster) Dialer() func(ctx context.Context, address string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		for _, m := range c.members {
			if m.Endpoint() == address {
				return m.dial(ctx)
			}
		}
		return nil, fmt.Errorf("dial %s: no such host", address)
	}
}

// notify wakes whoever waits for a change. The caller holds mu.
func (c *Cluster) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// do changes something that somebody may wait for.
func (c *Cluster) do(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	c.judgeLeader()
	c.notify()
}

// when waits until cond holds, at most for limit, and returns with mu held; or with an error and mu free. cond is
// called with mu held.
func (c *Cluster) when(ctx context.Context, limit time.Duration, cond func() bool) error {
	var timer *time.Timer
	for {
		c.mu.Lock()
		if cond() {
			return nil
		}
		changed := c.changed
		c.mu.Unlock()
		if timer == nil { // mostly there is nothing to wait for
			timer = time.NewTimer(limit)
			defer timer.Stop()
		}
		select {
		case <-changed:
		case <-timer.C:
			return rpctypes.ErrGRPCTimeout
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// nextID returns a number that was never used. The caller holds mu.
func (c *Cluster) nextID() int64 {
	c.lastID++
	return c.lastID
}

// header returns the header of an answer by member m. The caller holds mu.
func (c *Cluster) header(m *Member, revision int64) *pb.ResponseHeader {
	return &pb.ResponseHeader{ClusterId: clusterID, MemberId: m.id, Revision: revision, RaftTerm: c.term}
}
