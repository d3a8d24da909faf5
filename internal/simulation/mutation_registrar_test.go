package simulation

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// plain is a registrar as people write them on the etcd client alone. It has one lease for each instance, and a way to
// keep it.
type plain struct {
	client *clientv3.Client
	keep   func(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID, ttl time.Duration)

	wg   sync.WaitGroup
	ctx  context.Context
	stop context.CancelFunc
	all  []*plainInstance
}

type plainInstance struct {
	of          *plain
	id          string
	incarnation string
	lease       clientv3.LeaseID
	stop        context.CancelFunc
}

func newPlain(cfg clientv3.Config, keep func(context.Context, *clientv3.Client, clientv3.LeaseID, time.Duration)) (registrar, error) {
	client, err := clientv3.New(cfg)
	if err != nil {
		return nil, err
	}
	p := &plain{client: client, keep: keep}
	p.ctx, p.stop = context.WithCancel(context.Background())
	return p, nil
}

func (p *plain) Register(ctx context.Context, id string, ttl time.Duration) (registered, error) {
	lease, err := p.client.Grant(ctx, int64(ttl/time.Second))
	if err != nil {
		return nil, err
	}
	i := &plainInstance{of: p, id: id, incarnation: fmt.Sprint("plain-", lease.ID), lease: lease.ID}
	value := fmt.Sprintf(`{"Op":0,"Addr":"10.0.0.1:1","Incarnation":%q,"Weight":100}`, i.incarnation)
	if _, err := p.client.Put(ctx, dir+id, value, clientv3.WithLease(lease.ID)); err != nil {
		return nil, err
	}
	var alive context.Context
	alive, i.stop = context.WithCancel(p.ctx)
	p.wg.Go(func() { p.keep(alive, p.client, i.lease, ttl) })
	p.all = append(p.all, i)
	return i, nil
}

func (p *plain) Close(ctx context.Context) error {
	p.stop()
	p.wg.Wait()
	for _, i := range p.all {
		_, _ = p.client.Revoke(ctx, i.lease)
	}
	return p.client.Close()
}

func (i *plainInstance) Update(context.Context, int) error { return nil }

func (i *plainInstance) Deregister(ctx context.Context) error {
	i.stop()
	_, err := i.of.client.Revoke(ctx, i.lease)
	return err
}

func (i *plainInstance) Err() error                               { return nil }
func (i *plainInstance) Wanted() (incarnation string, weight int) { return i.incarnation, 100 }

// stockKeepAlive keeps a lease by the etcd client's own means.
func stockKeepAlive(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID, _ time.Duration) {
	answers, err := client.KeepAlive(ctx, lease)
	if err != nil {
		return
	}
	for range answers { // until it gives up
	}
}

// balancedHeartbeats keeps a lease by heartbeats with a watchdog on the client's own balanced connection, for ever.
func balancedHeartbeats(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID, ttl time.Duration) {
	for ctx.Err() == nil {
		pause := ttl / 3
		if err := beatOnce(ctx, client, lease, ttl); err != nil {
			pause = 100 * time.Millisecond
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func beatOnce(ctx context.Context, client *clientv3.Client, lease clientv3.LeaseID, ttl time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, min(2*time.Second, ttl/6))
	defer cancel()
	stream, err := pb.NewLeaseClient(client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(lease)}); err != nil {
		return err
	}
	answer, err := stream.Recv()
	if err == nil && answer.TTL <= 0 {
		err = errors.New("lease lost")
	}
	return err
}

// keptBy is the registrars' family with instances that are kept in another way than the library's.
func keptBy(faults []fault, keep func(context.Context, *clientv3.Client, clientv3.LeaseID, time.Duration), options ...grpc.DialOption) family {
	f := registrars()
	f.passwords, f.faults = false, faults
	f.registrar = func(w *world, p *tap) (registrar, error) {
		cfg := w.config(p)
		cfg.DialOptions = append(cfg.DialOptions, options...)
		return newPlain(cfg, keep)
	}
	return f
}

func TestTheStockKeepAliveIsCaught(t *testing.T) {
	mustBreak(t, keptBy(registrars().faults, stockKeepAlive), 50, "never falsely absent")
}

func TestGRPCsDefaultBackoffIsCaught(t *testing.T) {
	stock := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 20 * time.Second})
	mustBreak(t, keptBy(registrars().faults, balancedHeartbeats, stock), 50, "never falsely absent")
}

// The same heartbeats survive the same outages with the backoff of rollcall.ClientConfig: it is the backoff that is caught.
func TestTheTunedBackoffSurvivesTheSameOutages(t *testing.T) {
	f := keptBy(absences(), balancedHeartbeats)
	for seed := range uint64(defaultSeeds(20)) {
		if broken := play(t, f, seed+1); broken != nil {
			t.Fatal(broken)
		}
	}
}
