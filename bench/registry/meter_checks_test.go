//go:build linux

package registry

import (
	"os"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestEtcdsAccountHasEachRequestStreamAndLease(t *testing.T) {
	t.Parallel()
	etcd := startStore(t)
	client := dial(t, etcd.endpoint)
	before := account1(t, etcd)
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := client.Get(t.Context(), "k"); err != nil {
			t.Fatal(err)
		}
	}
	<-client.Watch(t.Context(), "k", clientv3.WithCreatedNotify())
	after := account1(t, etcd)
	if got := after.received - before.received; got != 12 {
		t.Errorf("a grant, 10 reads and a watch are %g messages", got)
	}
	if got := after.streams - before.streams; got != 1 {
		t.Errorf("a watch is %g streams", got)
	}
	if got := after.leases - before.leases; got != 1 {
		t.Errorf("a grant is %g leases", got)
	}
	if _, err := client.Revoke(t.Context(), lease.ID); err != nil {
		t.Fatal(err)
	}
	if got := account1(t, etcd).leases - before.leases; got != 0 {
		t.Errorf("a revoked lease leaves %g", got)
	}
}

func account1(t *testing.T, etcd *store) account {
	t.Helper()
	a, err := accountOf(etcd.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTheMeterTellsWhatAProcessUses(t *testing.T) {
	t.Parallel()
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	held := make([]byte, 64<<20)
	for began := time.Now(); time.Since(began) < 10*time.Second; {
		for i := range held {
			held[i]++
		}
		if after, err := cpuOf(os.Getpid()); err != nil || after-before > 100*time.Millisecond {
			break
		}
	}
	after, err := cpuOf(os.Getpid())
	if err != nil || after-before < 100*time.Millisecond {
		t.Errorf("10 s of work are %v of CPU, %v", after-before, err)
	}
	m, err := memoryOf(os.Getpid())
	if err != nil || m.Now < int64(len(held)) || m.Peak < m.Now {
		t.Errorf("with 64 MiB in use it is %+v, %v", m, err)
	}
	if held[0] == 0 && held[1] != 0 {
		t.Error("it has not worked")
	}
}

func TestAStoreComesBackWithItsData(t *testing.T) {
	t.Parallel()
	etcd := startStore(t)
	client := dial(t, etcd.endpoint)
	if _, err := client.Put(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	etcd.end()
	if err := etcd.again(); err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(t.Context(), "k")
	if err != nil || len(resp.Kvs) != 1 {
		t.Errorf("after a restart there are %v, %v", resp, err)
	}
}

func TestTheBusiestSecondIsThatAfterTheMomentAndCountsFromZero(t *testing.T) {
	t.Parallel()
	zero := time.Now()
	at := func(ms int, received float64) account {
		return account{at: zero.Add(time.Duration(ms) * time.Millisecond), received: received}
	}
	s := &sampler{seen: []account{
		at(0, 1000), at(500, 1500), at(1000, 2000), // 1000 a second
		at(1500, 0), at(2000, 0), // it is away
		at(2500, 400), at(3000, 700), at(3500, 800), at(4000, 810),
	}}
	rest, peak := s.busiest(zero.Add(1200 * time.Millisecond))
	if rest != 1000 || peak != 700 {
		t.Errorf("at rest %g a second, in the busiest one %g; want 1000 and 700", rest, peak)
	}
}

func TestTheMedianIsTheMiddleOne(t *testing.T) {
	t.Parallel()
	if got := median([]int{9, 1, 5}, func(n int) float64 { return float64(n) }); got != 5 {
		t.Errorf("of 9, 1 and 5 it is %g", got)
	}
}
