package rollcall

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// LeaseAlive reports whether one of etcd's leases has time left. It asks etcd once.
func (r *Registry) LeaseAlive(ctx context.Context, lease int64) (bool, error) {
	err := r.check("any")
	e, ok := r.engine.(*etcd)
	if err == nil && !ok {
		err = errors.ErrUnsupported
	}
	alive := false
	if err == nil {
		alive, err = e.source.LeaseAlive(ctx, lease)
	}
	if err != nil {
		return false, fmt.Errorf("ask for lease %x: %w", lease, err)
	}
	return alive, nil
}

// Leases returns all leases of etcd, also those that are not the registry's, as of a revision. It asks etcd once.
func (r *Registry) Leases(ctx context.Context) (leases []int64, revision int64, err error) {
	err = r.check("any")
	e, ok := r.engine.(*etcd)
	if err == nil && !ok {
		err = errors.ErrUnsupported
	}
	if err == nil {
		leases, revision, err = e.leases(ctx)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list leases: %w", err)
	}
	return leases, revision, nil
}

func (r *etcd) leases(ctx context.Context) ([]int64, int64, error) {
	conn, err := r.streams.Conn()
	if err != nil {
		return nil, 0, err
	}
	limited, cancel := conn.Call(ctx, operationTimeout)
	defer cancel()
	resp, err := pb.NewLeaseClient(conn).LeaseLeases(limited, &pb.LeaseLeasesRequest{})
	if err != nil {
		return nil, 0, err
	}
	leases := make([]int64, 0, len(resp.Leases))
	for _, l := range resp.Leases {
		leases = append(leases, l.ID)
	}
	return leases, wire.HeaderOf(resp.Header).Revision, nil
}
