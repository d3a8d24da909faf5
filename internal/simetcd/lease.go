package simetcd

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

const (
	minTTL = 2 // seconds: one and a half elections, rounded up
	maxTTL = 9_000_000_000
)

// lease is a lease and the keys that die with it.
type lease struct {
	id, ttl int64 // the TTL in seconds
	expiry  time.Time
	keys    map[string]bool
}

func (l *lease) refresh(extend time.Duration) {
	l.expiry = time.Now().Add(time.Duration(l.ttl)*time.Second + extend)
}

func (s *store) leaseIDs() []int64 { return slices.Sorted(maps.Keys(s.leases)) }

func (s *store) grant(id, ttl int64) (*lease, error) {
	switch {
	case s.noSpace:
		return nil, rpctypes.ErrGRPCNoSpace
	case ttl > maxTTL:
		return nil, rpctypes.ErrGRPCLeaseTTLTooLarge
	case s.leases[id] != nil:
		return nil, rpctypes.ErrGRPCLeaseExist
	}
	l := &lease{id: id, ttl: max(ttl, minTTL), keys: map[string]bool{}}
	l.refresh(0)
	s.leases[id] = l
	return l, nil
}

// revoke ends a lease and deletes its keys, all in one revision. The caller holds mu.
func (c *Cluster) revoke(id int64, cause string) error {
	l := c.store.leases[id]
	if l == nil {
		return rpctypes.ErrGRPCLeaseNotFound
	}
	w := c.store.begin()
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		w.delete([]byte(key), nil)
	}
	delete(c.store.leases, id)
	c.commit(w, cause)
	return nil
}

// leaseServer answers for the leases. Only the leader knows when they expire: the others ask it.
type leaseServer struct {
	pb.UnimplementedLeaseServer
	m *Member
}

func (s *leaseServer) LeaseGrant(ctx context.Context, r *pb.LeaseGrantRequest) (*pb.LeaseGrantResponse, error) {
	c := s.m.cluster
	var resp *pb.LeaseGrantResponse
	err := s.m.propose(ctx, func() error {
		if _, err := s.m.known(ctx); err != nil {
			return err
		}
		id := r.ID
		if id == 0 {
			id = c.nextID()
		}
		l, err := c.store.grant(id, r.TTL)
		if err != nil {
			return err
		}
		resp = &pb.LeaseGrantResponse{Header: c.header(s.m, c.store.revision), ID: l.id, TTL: l.ttl}
		return nil
	})
	return resp, err
}

func (s *leaseServer) LeaseRevoke(ctx context.Context, r *pb.LeaseRevokeRequest) (*pb.LeaseRevokeResponse, error) {
	c := s.m.cluster
	var resp *pb.LeaseRevokeResponse
	err := s.m.propose(ctx, func() error {
		who, err := s.m.known(ctx)
		if err != nil {
			return err
		}
		if err := c.store.mayWriteLease(who, r.ID); err != nil {
			return err
		}
		if err := c.revoke(r.ID, "revoke"); err != nil {
			return err
		}
		resp = &pb.LeaseRevokeResponse{Header: c.header(s.m, c.store.revision)}
		return nil
	})
	return resp, err
}

// LeaseKeepAlive renews leases one after another: what blocks one blocks all that follow on the stream.
func (s *leaseServer) LeaseKeepAlive(stream pb.Lease_LeaseKeepAliveServer) error {
	ctx, requests := stream.Context(), receive(s.m.cluster, stream)
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r := <-requests:
			if errors.Is(r.err, io.EOF) {
				return nil
			}
			if r.err != nil {
				return r.err
			}
			resp, err := s.keepAlive(ctx, r.request.ID)
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			if err != nil {
				return err
			}
			if err := stream.Send(resp); err != nil {
				return err
			}
		}
	}
}

func (s *leaseServer) keepAlive(ctx context.Context, id int64) (*pb.LeaseKeepAliveResponse, error) {
	// As in etcd, the header is that of the member that was asked, and older than the renewal.
	s.m.cluster.mu.Lock()
	applied, _ := s.m.applied()
	header := s.m.cluster.header(s.m, applied)
	s.m.cluster.mu.Unlock()
	ttl, err := s.renew(ctx, id)
	return &pb.LeaseKeepAliveResponse{Header: header, ID: id, TTL: ttl}, err
}

// renew renews a lease and returns its TTL, 0 when there is no such lease.
func (s *leaseServer) renew(ctx context.Context, id int64) (ttl int64, err error) {
	err = s.m.askLeader(ctx, func() error {
		who, err := s.m.known(ctx)
		if err != nil {
			return err
		}
		return s.m.cluster.store.mayWriteLease(who, id)
	}, func() (answered bool) {
		l := s.m.cluster.store.leases[id]
		switch {
		case l == nil:
			return true
		case !l.expiry.After(time.Now()):
			return false // the leader waits until it has revoked the lease, or is no longer the leader
		}
		l.refresh(0)
		ttl = l.ttl
		return true
	})
	return ttl, err
}

func (s *leaseServer) LeaseTimeToLive(ctx context.Context, r *pb.LeaseTimeToLiveRequest) (*pb.LeaseTimeToLiveResponse, error) {
	c := s.m.cluster
	resp := &pb.LeaseTimeToLiveResponse{ID: r.ID, TTL: -1}
	err := s.m.askLeader(ctx, func() error {
		who, err := s.m.known(ctx)
		if err != nil || !r.Keys {
			return err
		}
		return c.store.mayReadLease(who, r.ID)
	}, func() bool {
		if l := c.store.leases[r.ID]; l != nil {
			resp.TTL, resp.GrantedTTL = int64(time.Until(l.expiry).Seconds()), l.ttl
			if r.Keys {
				for _, key := range slices.Sorted(maps.Keys(l.keys)) {
					resp.Keys = append(resp.Keys, []byte(key))
				}
			}
		}
		applied, _ := s.m.applied()
		resp.Header = c.header(s.m, applied)
		return true
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

func (s *leaseServer) LeaseLeases(ctx context.Context, _ *pb.LeaseLeasesRequest) (*pb.LeaseLeasesResponse, error) {
	c := s.m.cluster
	if err := s.m.read(ctx, true); err != nil {
		return nil, err
	}
	defer c.mu.Unlock()
	who, err := s.m.known(ctx)
	if err != nil {
		return nil, err
	}
	resp := &pb.LeaseLeasesResponse{}
	for _, id := range c.store.leaseIDs() {
		if err := c.store.mayReadLease(who, id); err != nil {
			return nil, err
		}
		resp.Leases = append(resp.Leases, &pb.LeaseStatus{ID: id})
	}
	applied, _ := s.m.applied()
	resp.Header = c.header(s.m, applied)
	return resp, nil
}
