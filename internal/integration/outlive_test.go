package integration

import (
	"flag"
	"path/filepath"
	"slices"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

var outage = flag.Duration("outage", 20*time.Second, "how long etcd stays away from servers: go test -run Outage ./internal/integration -args -outage 2m")

func TestEverythingThatAServerHeldOutlivesIt(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*serverProcess){
		"that is killed":  (*serverProcess).kill,
		"that is stopped": (*serverProcess).stop,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const ttl = 20 * time.Second
			etcd := etcdtest.Start(t)
			client := etcd.Client(t)
			first, second := serveProcess(t, etcd), serveProcess(t, etcd)
			c := newClientele(t, ttl, first, second)
			c.sessions(100, 10)
			c.heartbeats(200)

			c.comeBackWithin(ttl * 55 / 100) // and then some time to be let in
			leases := leasesInUse(t, client)
			began := time.Now()
			end(first)
			c.eventually("every session notices", func() bool { return c.breaks.Load() == 100 })
			c.awaitHeld(1000)
			t.Logf("all sessions are back after %.2f TTL", float64(time.Since(began))/float64(ttl))
			awaitLeasesEnd(t, client, leases)
			c.awaitBeats(200)
			wantUnbroken(t, client, 1200)
			wantListed(t, second, 1200)
		})
	}
}

// wantListed wants a server to know n instances, and to doubt none.
func wantListed(t *testing.T, s *serverProcess, n int) {
	t.Helper()
	got := listed(t, s)
	if int(got.GetServing()) != n || int(got.GetInstances()) != n {
		t.Errorf("a server lists %v, want %d that serve", got, n)
	}
}

func listed(t *testing.T, s *serverProcess) *rollcallv1.ServiceSummary {
	t.Helper()
	conn := new(clientele).dial(s.grpc)
	defer func() { _ = conn.Close() }()
	resp, err := rollcallv1.NewDiscoveryServiceClient(conn).ListServices(within(t, processPatience), &rollcallv1.ListServicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.GetServices()) == 0 {
		return nil
	}
	return resp.GetServices()[0]
}

func TestServersAreRestartedOneByOneAndAllAtOnce(t *testing.T) {
	t.Parallel()
	const ttl, held, beating = 10 * time.Second, 200, 50
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	servers := []*serverProcess{serveProcess(t, etcd), serveProcess(t, etcd)}
	c := newClientele(t, ttl, servers...)
	c.sessions(20, held/20)
	c.heartbeats(beating)
	var leases []clientv3.LeaseID
	restart := func(these ...*serverProcess) {
		leases = append(leases, leasesInUse(t, client)...)
		for _, s := range these {
			s.terminate()
		}
		for _, s := range these {
			s.await()
		}
		for _, s := range these {
			s.start()
		}
		c.awaitHeld(held)
		c.awaitBeats(beating)
	}
	for _, s := range servers {
		restart(s)
	}
	restart(servers...)
	now := leasesInUse(t, client)
	awaitLeasesEnd(t, client, without(leases, now))
	wantUnbroken(t, client, held+beating)
	for _, s := range servers {
		wantListed(t, s, held+beating)
	}
}

// without returns those of some leases that are not among others.
func without(leases, others []clientv3.LeaseID) []clientv3.LeaseID {
	var left []clientv3.LeaseID
	for _, id := range leases {
		if !slices.Contains(others, id) {
			left = append(left, id)
		}
	}
	return left
}

func TestAnOutageOfEtcdCostsNobodyItsRegistration(t *testing.T) {
	t.Parallel()
	const ttl, held, beating = 6 * time.Second, 100, 20
	etcd := etcdtest.Start(t)
	servers := []*serverProcess{serveProcess(t, etcd), serveProcess(t, etcd)}
	c := newClientele(t, ttl, servers...)
	c.beat = time.Second
	c.sessions(10, held/10)
	c.heartbeats(beating)
	c.awaitBeats(2 * beating)

	etcd.Stop()
	gone := time.Now()
	c.eventually("everybody who asks is told that nobody confirms it", func() bool { return c.healing.Load() == beating })
	for _, s := range servers {
		wantListed(t, s, held+beating)
	}
	eventually(t, *outage+processPatience, "the outage is over", func() bool { return time.Since(gone) > *outage })
	c.awaitBeats(2 * beating)
	if n, m := c.breaks.Load(), c.refused.Load(); n > 0 || m > 0 {
		t.Errorf("while etcd was away %d sessions broke and %d heartbeats were refused", n, m)
	}
	etcd.Restart()
	c.eventually("everybody is told that all is well", func() bool { return c.healing.Load() == 0 })
	if n := c.held.Load(); n != held || c.breaks.Load() > 0 {
		t.Errorf("sessions hold %d instances, and %d of them broke; want %d and none", n, c.breaks.Load(), held)
	}
	client := etcd.Client(t)
	awaitLeasesEnd(t, client, without(allLeases(t, client), leasesInUse(t, client)))
	wantUnbroken(t, client, held+beating)
}

func allLeases(t *testing.T, client *clientv3.Client) []clientv3.LeaseID {
	t.Helper()
	resp, err := client.Leases(within(t, processPatience))
	if err != nil {
		t.Fatal(err)
	}
	var all []clientv3.LeaseID
	for _, l := range resp.Leases {
		all = append(all, l.ID)
	}
	return all
}

func TestAServerWithItsOwnEtcdIsThereAgainWithAllThatItHeld(t *testing.T) {
	t.Parallel()
	const ttl, held, beating = 10 * time.Second, 50, 20
	endpoint := freeAddr(t)
	s := serveProcessWith(t, "--data-dir", filepath.Join(t.TempDir(), "data"), "--client-url", "http://"+endpoint)
	c := newClientele(t, ttl, s)
	c.sessions(5, held/5)
	c.heartbeats(beating)
	c.comeBackWithin(ttl / 2)
	for name, end := range map[string]func(*serverProcess){"a stop": (*serverProcess).stop, "a kill": (*serverProcess).kill} {
		broken := c.breaks.Load() + 5
		end(s)
		c.eventually("every session notices", func() bool { return c.breaks.Load() == broken })
		s.start()
		if n := int(listed(t, s).GetServing()); n != held+beating {
			t.Errorf("after %s the server lists %d instances, want %d", name, n, held+beating)
		}
		c.awaitHeld(held)
		c.awaitBeats(beating)
	}
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	awaitLeasesEnd(t, client, without(allLeases(t, client), leasesInUse(t, client)))
	wantUnbroken(t, client, held+beating)
}
