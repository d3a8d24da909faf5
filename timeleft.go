package rollcall

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// maxTimeLeft is how many instances can be asked for at once: etcd takes 128 operations in a transaction unless told otherwise.
const maxTimeLeft = 100

// leaseQuestions is how many leases etcd is asked for at a time: a follower asks the leader for each.
const leaseQuestions = 8

// TimeLeft asks etcd how much longer instances of a service stay if nobody renews their leases, by id; at most 100 of them at once. Who is not
// there, or has no lease and stays for good, is left out. One renewed as usual has two thirds of its TTL or more. Only a registry on etcd can
// ask; another returns [errors.ErrUnsupported].
func (r *Registry) TimeLeft(ctx context.Context, service string, ids ...string) (map[string]time.Duration, error) {
	err := r.check(service)
	if err == nil && len(ids) > maxTimeLeft {
		err = invalid("ids", len(ids), fmt.Sprintf("at most %d at once", maxTimeLeft))
	}
	e, ok := r.engine.(*etcd)
	if err == nil && !ok {
		err = errors.ErrUnsupported
	}
	var left map[string]time.Duration
	if err == nil && len(ids) > 0 {
		left, err = e.timeLeft(ctx, service, ids)
	}
	if err != nil {
		return nil, fmt.Errorf("time left of instances of %s: %w", service, err)
	}
	return left, nil
}

func (r *etcd) timeLeft(ctx context.Context, service string, ids []string) (left map[string]time.Duration, err error) {
	err = r.call(ctx, func(ctx context.Context, conn *wire.Conn) error {
		holders, err := r.leasesOf(ctx, conn, service, ids)
		if err != nil {
			return err
		}
		left, err = askTimeLeft(ctx, conn, holders)
		return err
	})
	return left, err
}

// leasesOf returns who has which lease.
func (r *etcd) leasesOf(ctx context.Context, conn *wire.Conn, service string, ids []string) (map[int64][]string, error) {
	gets := make([]clientv3.Op, 0, len(ids))
	for _, id := range ids { // not with keys only: etcd 3.7 leaves out the lease then
		gets = append(gets, clientv3.OpGet(r.layout.key(service, id)))
	}
	found, err := conn.KV().Txn(ctx).Then(gets...).Commit()
	if err != nil {
		return nil, err
	}
	holders := map[int64][]string{}
	for n, answer := range found.Responses {
		for _, kv := range answer.GetResponseRange().Kvs {
			if kv.Lease != 0 {
				holders[kv.Lease] = append(holders[kv.Lease], ids[n])
			}
		}
	}
	return holders, nil
}

// askTimeLeft asks for each lease once: the instances of a process share one.
func askTimeLeft(ctx context.Context, conn *wire.Conn, holders map[int64][]string) (map[string]time.Duration, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var mu sync.Mutex
	left := map[string]time.Duration{}
	leases := make(chan int64)
	var asking sync.WaitGroup
	for range min(leaseQuestions, len(holders)) {
		asking.Go(func() {
			for lease := range leases {
				resp, err := pb.NewLeaseClient(conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: lease})
				if err != nil {
					stop(err) // the first one counts
					continue
				}
				mu.Lock()
				for _, id := range holders[lease] {
					left[id] = max(time.Duration(resp.TTL)*time.Second, 0) // -1 when it has ended since
				}
				mu.Unlock()
			}
		})
	}
	for lease := range holders {
		leases <- lease
	}
	close(leases)
	asking.Wait()
	return left, context.Cause(ctx)
}
