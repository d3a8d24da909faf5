package simetcd

import (
	"context"
	"errors"
	"math"
	"net"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"
)

var errRefused = errors.New("connection refused")

// A simulation makes connections by the thousand, and small messages are all that most of them carry: gRPC's buffers,
// of 32 KiB and more, would be most of what it allocates.
const (
	pipeBytes = 16 << 10 // each way
	readBytes = 4 << 10
)

// Member is one member of a cluster: a process with an address of its own, and the network before it.
type Member struct {
	cluster *Cluster
	name    string
	id      uint64

	// All below is guarded by the cluster's mutex.

	server   *grpc.Server // nil while the process does not run
	listener *bufconn.Listener
	conns    map[*conn]bool
	streams  map[*stream]bool // those that require a leader
	tokens   map[string]*token
	fresh    bool      // has heard of no leader since its start
	blind    time.Time // since when it sees no leader; zero while it sees one

	hung         bool                // the process does nothing
	woke         time.Time           // when it last stopped doing nothing
	books        map[int64]time.Time // when leases run out, as it knew when it hung while it led
	cut          bool                // from its clients
	loseRequests bool
	loseReplies  bool
	isolated     bool // from the other members
	lagging      bool // does not apply what is committed
	slow         time.Duration

	frozen, frozenCompacted int64 // what it has applied, while isolated or lagging
}

// Name returns the member's name.
func (m *Member) Name() string { return m.name }

// Endpoint returns the address under which clients find the member.
func (m *Member) Endpoint() string { return m.name + ":2379" }

// start runs the member's process.
func (m *Member) start() {
	c := m.cluster
	listener := bufconn.Listen(pipeBytes)
	server := grpc.NewServer(
		grpc.UnaryInterceptor(m.unary), grpc.StreamInterceptor(m.stream), grpc.WaitForHandlers(true),
		grpc.ReadBufferSize(readBytes),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second})) // as etcd has it
	kv := pb.KV_ServiceDesc
	if c.options.Version < "3.7" {
		kv.Streams = nil // RangeStream is the only one
	}
	server.RegisterService(&kv, &kvServer{m: m})
	pb.RegisterLeaseServer(server, &leaseServer{m: m})
	pb.RegisterWatchServer(server, &watchServer{m: m})
	pb.RegisterAuthServer(server, &authServer{m: m})
	pb.RegisterMaintenanceServer(server, &maintenanceServer{m: m})
	pb.RegisterClusterServer(server, &clusterServer{m: m})
	c.do(func() {
		m.server, m.listener = server, listener
		m.conns, m.streams, m.tokens = map[*conn]bool{}, map[*stream]bool{}, map[string]*token{}
		m.fresh, m.hung, m.blind = true, false, time.Time{}
	})
	c.wg.Go(func() { _ = server.Serve(&acceptor{Listener: listener, member: m}) })
}

// dial connects a client to the member, as far as its process and the network let it.
func (m *Member) dial(ctx context.Context) (net.Conn, error) {
	c := m.cluster
	var listener *bufconn.Listener
	var refused bool
	err := c.when(ctx, math.MaxInt64, func() bool {
		listener, refused = m.listener, m.cut || m.server == nil
		return refused || !m.loseRequests && !m.loseReplies // a handshake needs both ways
	})
	if err != nil {
		return nil, err
	}
	c.mu.Unlock()
	if refused {
		return nil, errRefused
	}
	inner, err := listener.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	conn := m.wrap(inner, (*Member).holdsReplies, (*Member).atOnce)
	c.mu.Lock()
	refused = m.cut
	c.mu.Unlock()
	if refused { // in between
		_ = conn.Close()
		return nil, errRefused
	}
	return conn, nil
}

// applied returns the revision up to which the member has applied the log, and the one to which it has compacted it.
// The caller holds the cluster's mutex.
func (m *Member) applied() (revision, compacted int64) {
	if m.lagging || m.isolated {
		return m.frozen, m.frozenCompacted
	}
	return m.cluster.store.revision, m.cluster.store.compacted
}

// works reports whether the process runs and does anything. The caller holds the cluster's mutex.
func (m *Member) works() bool { return m.server != nil && !m.hung }

// seesLeader reports whether the member believes that there is a leader. The caller holds the cluster's mutex.
func (m *Member) seesLeader() bool {
	c := m.cluster
	return c.leader != nil && !m.fresh && !m.isolated && (c.lost.IsZero() || time.Since(c.lost) < Election)
}

// canCommit reports whether what this member proposes is committed. The caller holds the cluster's mutex.
func (m *Member) canCommit() bool { return m.works() && !m.isolated && m.cluster.led() }

// propose makes a change by way of this member: commit is called with the cluster's mutex held.
//
// As in etcd, a proposal waits while the member knows that there is no leader, and is lost while the member believes in
// one that is dead; and its answer waits until this member has applied it, which may be too late for the client.
func (m *Member) propose(ctx context.Context, commit func() error) error {
	c := m.cluster
	c.mu.Lock()
	lost := m.seesLeader() && !c.led()
	c.mu.Unlock()
	if lost {
		return c.when(ctx, requestTimeout, func() bool { return false })
	}
	if err := c.when(ctx, requestTimeout, m.canCommit); err != nil {
		return err
	}
	err := commit()
	committed := c.store.revision
	c.notify()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return m.await(ctx, committed)
}

// await waits until the member has applied a revision.
func (m *Member) await(ctx context.Context, revision int64) error {
	err := m.cluster.when(ctx, requestTimeout, func() bool {
		applied, _ := m.applied()
		return applied >= revision
	})
	if err == nil {
		m.cluster.mu.Unlock()
	}
	return err
}

// believed returns the leader that the member believes in, nil for none, and its term. The caller holds the cluster's
// mutex.
func (m *Member) believed() (leader *Member, term uint64) {
	if c := m.cluster; c.leads(m) || m.seesLeader() {
		return c.leader, c.term
	}
	return nil, 0
}

// read waits until the member may answer a read, and returns with the cluster's mutex held. A linearizable read wants
// a leader and everything that is committed, a serializable one only a process that does something. As in etcd, a
// linearizable read that waits while a leader goes and one comes fails, even if it is the same.
func (m *Member) read(ctx context.Context, serializable bool) error {
	c := m.cluster
	c.mu.Lock()
	_, before := m.believed()
	c.mu.Unlock()
	changed := false
	err := c.when(ctx, requestTimeout, func() bool {
		if !m.works() || serializable {
			return m.works()
		}
		leader, term := m.believed()
		if leader == nil {
			before = 0
		}
		changed = leader != nil && term != before
		applied, _ := m.applied()
		return changed || m.canCommit() && applied == c.store.revision
	})
	if err == nil && changed {
		c.mu.Unlock()
		err = rpctypes.ErrGRPCLeaderChanged
	}
	return err
}

// refuseLeaderless ends the streams that require a leader. The caller holds the cluster's mutex.
func (m *Member) refuseLeaderless() {
	for s := range m.streams {
		s.cancel(rpctypes.ErrGRPCNoLeader)
	}
	clear(m.streams)
}
