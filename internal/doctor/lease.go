package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
)

var (
	manyLeases = newKind("many-leases", "Etcd has very many leases",
		"When they run out together, etcd takes a second for each five hundred of them, and the dead stay in sight for that long. One lease for each process is enough: programs that use rollcall share one; see who takes the others.")
	leasesWithoutKeys = newKind("leases-without-keys", "Somebody takes leases and puts nothing under them",
		"A client grants a lease at every try and keeps them all alive. See which program does (`etcdctl lease list`, the users of etcd's log), and restart it after an upgrade.")
	leaseNotRenewed = newKind("lease-not-renewed", "An instance is about to expire",
		"Its program has missed its heartbeats: it is dead, hangs, or is cut off from etcd. See its log; if it is dead, this is right and over in a moment.")
)

// maxSample bounds how many leases are asked about.
const maxSample = 100

var leaseCheck = check{"leases", "how many leases there are, and what is under them", func(ctx context.Context, p *patient) ([]Finding, error) {
	conn, err := p.door(ctx)
	if err != nil {
		return nil, err
	}
	list, err := pb.NewLeaseClient(conn).LeaseLeases(ctx, &pb.LeaseLeasesRequest{})
	if err != nil {
		return nil, err
	}
	var ids []int64
	for _, l := range list.Leases {
		ids = append(ids, l.ID)
	}
	if len(ids) < p.Thresholds.Leases/10 {
		return nil, nil // too few to matter
	}
	seen, err := askLeases(ctx, conn, spread(ids, maxSample), true)
	return judgeLeases(len(ids), seen, p.Thresholds), err
}}

// judgeLeases judges how many there are, by some that were asked about.
func judgeLeases(total int, sample []*pb.LeaseTimeToLiveResponse, limit Thresholds) []Finding {
	var found []Finding
	count := fmt.Sprintf("%d leases", total)
	if total >= limit.Leases {
		found = append(found, manyLeases.found(Notice, "", count))
	}
	empty := 0
	for _, l := range sample {
		if len(l.Keys) == 0 {
			empty++
		}
	}
	if len(sample) >= 10 && empty > len(sample)/2 {
		found = append(found, leasesWithoutKeys.found(Warning, "", count, fmt.Sprintf("of %d that were asked about %d have no key", len(sample), empty)))
	}
	return found
}

var renewalCheck = check{"renewal", "whether the leases of instances are renewed", func(ctx context.Context, p *patient) ([]Finding, error) {
	listed, err := p.keys(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := p.door(ctx)
	if err != nil {
		return nil, err
	}
	holds := map[int64][]string{}
	for _, k := range listed.keys {
		if k.lease != 0 && k.service != "" {
			holds[k.lease] = append(holds[k.lease], k.service+"/"+k.id)
		}
	}
	var ids []int64
	for id := range holds {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	seen, err := askLeases(ctx, conn, spread(ids, maxSample), false)
	return judgeRenewal(seen, holds), err
}}

// judgeRenewal judges what is left of leases. A holder renews when two thirds are left, and at the worst a little later.
func judgeRenewal(seen []*pb.LeaseTimeToLiveResponse, holds map[int64][]string) []Finding {
	var found []Finding
	for _, l := range seen {
		if l.TTL < 0 || l.GrantedTTL == 0 || float64(l.TTL) >= 0.4*float64(l.GrantedTTL) {
			continue // gone meanwhile, or well
		}
		left := fmt.Sprintf("its lease %x has %d of %d s left", l.ID, l.TTL, l.GrantedTTL)
		found = append(found, leaseNotRenewed.found(Warning, holds[l.ID][0], append([]string{left}, few(holds[l.ID])...)...))
	}
	return found
}

// spread picks at most n of many, from all over.
func spread(all []int64, n int) []int64 {
	if len(all) <= n {
		return all
	}
	picked := make([]int64, n)
	for i := range picked {
		picked[i] = all[i*len(all)/n]
	}
	return picked
}

// askLeases asks what is left of leases, a few at a time. Those that it could not ask about are left out, and one error tells.
func askLeases(ctx context.Context, conn *grpc.ClientConn, ids []int64, keys bool) ([]*pb.LeaseTimeToLiveResponse, error) {
	var mu sync.Mutex
	var seen []*pb.LeaseTimeToLiveResponse
	var failed error
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for _, id := range ids {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			l, err := pb.NewLeaseClient(conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id, Keys: keys})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
			} else {
				seen = append(seen, l)
			}
		})
	}
	wg.Wait()
	slices.SortFunc(seen, func(a, b *pb.LeaseTimeToLiveResponse) int { return int(min(max(a.ID-b.ID, -1), 1)) })
	return seen, failed
}

var manyExpiries = newKind("many-expiries", "Instances often go without a goodbye",
	"Programs crash, are killed before they have deregistered, or lose etcd for longer than their TTL. `rollcall history --kind expired` tells which; give them time to stop (`rollcall run`, rollcallgrpc.Serve), or a longer TTL.")

var expiryCheck = check{"expiries", "how many instances expire", func(ctx context.Context, p *patient) ([]Finding, error) {
	if p.Expiries.Within <= 0 {
		return nil, skip("nobody has counted")
	}
	listed, err := p.keys(ctx)
	return judgeExpiries(p.Expiries, len(listed.keys), p.Thresholds), err
}}

func judgeExpiries(seen Expiries, instances int, limit Thresholds) []Finding {
	hours := max(seen.Within, time.Hour).Hours()
	if rate := float64(seen.Count) / float64(max(instances, 1)) / hours; seen.Count < 10 || rate < limit.ExpiryRate {
		return nil
	}
	return []Finding{manyExpiries.found(Warning, "", fmt.Sprintf("%d expiries in %s, and %d instances now", seen.Count, span(seen.Within), instances))}
}
