//go:build linux

package registry

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

func TestEveryContenderFindsWhatItsKindRegistersAndWhatIsWrittenForIt(t *testing.T) {
	t.Parallel()
	for name := range contenders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := startStore(t)
			holder := name
			if name == "etcd-rr" {
				holder = "raw" // what its users do to register
			}
			ask(t, start(t, holder), job{Do: "hold", Endpoint: etcd.endpoint, Clients: 1, Each: 3, TTL: shortTTL})
			fillFrom(t, etcd.endpoint, layoutOf(name), 3, 7)
			a := ask(t, start(t, name), job{Do: "list", Endpoint: etcd.endpoint, Prefix: "rollcall", Service: service(0)})
			if a.Instances != 7 {
				t.Errorf("it finds %d of 7", a.Instances)
			}
			if a.Took <= 0 || a.CPU <= 0 || a.Full.Peak < a.Full.Now/2 || a.Full.Now < 1<<20 {
				t.Errorf("that cannot be: %+v", a)
			}
		})
	}
}

func TestEveryContenderThatWatchesSeesTheMarkerAndRenews(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rollcall", "raw", "kratos"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			etcd := startStore(t)
			holder, watcher := start(t, name), start(t, name)
			ask(t, holder, job{Do: "hold", Endpoint: etcd.endpoint, Clients: 2, Each: 100, TTL: shortTTL})
			ask(t, watcher, job{Do: "watch", Endpoint: etcd.endpoint, Clients: 4, Groups: 2})
			client := dial(t, etcd.endpoint)
			began := time.Now()
			for n := range 2 {
				key, value := layoutOf(name)(service(n), markerAddr)
				if _, err := client.Put(t.Context(), key, value); err != nil {
					t.Fatal(err)
				}
			}
			a := ask(t, watcher, job{Do: "shown"})
			if a.Missing != 0 || a.Median.Before(began) || a.Last.Before(a.Median) || a.Last.After(time.Now()) {
				t.Errorf("began at %v, shown %+v", began, a)
			}
			a = ask(t, holder, job{Do: "renewed", Since: time.Now()})
			if a.Missing != 0 || name != "kratos" && a.Last.IsZero() {
				t.Errorf("renewed: %+v", a)
			}
		})
	}
}

func TestAMarkerThatIsInOneServiceOnlyIsMissedByTheOthersWatchers(t *testing.T) {
	t.Parallel()
	etcd, watcher := startStore(t), start(t, "raw")
	fillFrom(t, etcd.endpoint, layoutOf("raw"), 0, 1)
	ask(t, watcher, job{Do: "watch", Endpoint: etcd.endpoint, Clients: 4, Groups: 2})
	fillFrom(t, etcd.endpoint, layoutOf("raw"), 1, 2) // no marker
	key, value := layoutOf("raw")(service(1), markerAddr)
	if _, err := dial(t, etcd.endpoint).Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
	if a := ask(t, watcher, job{Do: "shown", Limit: time.Second}); a.Missing != 2 {
		t.Errorf("2 of 4 watchers cannot have it, missing are %d", a.Missing)
	}
}

func ask(t *testing.T, p *process, j job) answer {
	t.Helper()
	a, err := p.ask(j)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func dial(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// fillFrom writes the instances from one number up to another, of the first service.
func fillFrom(t *testing.T, endpoint string, write layout, from, to int) {
	t.Helper()
	client := dial(t, endpoint)
	for n := from; n < to; n++ {
		key, value := write(service(0), addr(n))
		if _, err := client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
}
