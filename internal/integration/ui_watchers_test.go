package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestWhoWatchesAServiceIsOnItsPageWithWhatEachKnows(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	newGreeter(t).register(t, reg, rollcall.Instance{Zone: "a"})
	server := serveProcess(t, etcd)
	dialXDS(t, grpcService, xdsBootstrap("a", server.grpc)).Connect() // and no call: who only watches is there as well
	conn, err := grpc.NewClient(server.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUserAgent("reporter/1.0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	askForListener(t, conn, "silent")
	refuser, answer := askForListener(t, conn, "refuser")
	if err := refuser.Send(&discovery.DiscoveryRequest{
		TypeUrl: answer.GetTypeUrl(), ResourceNames: []string{grpcService}, ResponseNonce: answer.GetNonce(), ErrorDetail: &status.Status{Code: 3, Message: "a filter <b>nobody</b> knows"},
	}); err != nil {
		t.Fatal(err)
	}
	reporter := watchByAPI(t, conn)

	page := browse(t, server.url())
	page.open("/services")
	page.says(`tr:has(a[href="/services/`+grpcService+`"]) .figure`, "4")
	page.click(`a[href="/services/` + grpcService + `"]`)
	page.says("#watchers", "Watching")
	page.watcher("caller-a", "xDS · gRPC Go", "in a", "current")
	page.watcher("reporter/1.0", "current")
	page.watcher("silent", "xDS", "behind")
	page.watcher("refuser", "refused", "a filter <b>nobody</b> knows")
	page.watcher("a browser", "current") // this one
	page.accessible("a service that is watched")

	// What each was told, and has acknowledged, goes on with what happens.
	added := newGreeter(t)
	added.register(t, reg, rollcall.Instance{Zone: "a"})
	found, err := etcd.Client(t).Get(within(t, seeing), "rollcall/services/"+grpcService+"/"+added.addr)
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("the instance's key: %v, %v", found, err)
	}
	revision := found.Kvs[0].ModRevision
	page.upTo("reporter/1.0", revision)
	page.upTo("caller-a", revision)
	for told := int64(0); told < revision; {
		r, err := reporter.Recv()
		if err != nil {
			t.Fatal(err)
		}
		told = r.GetRevision()
	}
	_ = conn.Close()
	page.until(`![...document.querySelectorAll(".watchers li")].some((l) => /reporter|refuser|silent/.test(l.textContent))`)
	page.watcher("caller-a", "current")
}

// askForListener is an xDS client that asks for the service, and does nothing more by itself: it does not acknowledge what it is answered.
func askForListener(t *testing.T, conn *grpc.ClientConn, id string) (discovery.AggregatedDiscoveryService_StreamAggregatedResourcesClient, *discovery.DiscoveryResponse) {
	t.Helper()
	stream, err := discovery.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(within(t, 2*seeing))
	if err != nil {
		t.Fatal(err)
	}
	err = stream.Send(&discovery.DiscoveryRequest{
		Node: &core.Node{Id: id}, TypeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener", ResourceNames: []string{grpcService},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return stream, answer
}

func watchByAPI(t *testing.T, conn *grpc.ClientConn) grpc.ServerStreamingClient[rollcallv1.WatchResponse] {
	t.Helper()
	stream, err := rollcallv1.NewDiscoveryServiceClient(conn).Watch(within(t, 2*seeing), &rollcallv1.WatchRequest{Service: grpcService})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

// watcher waits for one among those who watch of whom all of that is said.
func (p *tab) watcher(texts ...string) {
	p.t.Helper()
	all, _ := json.Marshal(texts)
	p.until(`[...document.querySelectorAll(".watchers li")].some((l) => ` + string(all) + `.every((t) => l.textContent.includes(t)))`)
}

// upTo waits until one who watches is said to be at a revision, or beyond.
func (p *tab) upTo(who string, revision int64) {
	p.t.Helper()
	least, _ := json.Marshal(revision)
	p.until(`[...document.querySelectorAll(".watchers li")].some((l) => l.textContent.includes(` + quote(who) + `) && l.textContent.includes("current") && Number(/rev (\d+)/.exec(l.textContent)?.[1]) >= ` + string(least) + `)`)
}

// untilWatched waits until so many watch a service through the server, whatever this page says.
func (p *tab) untilWatched(service string, count int) {
	p.t.Helper()
	eventually(p.t, seeing, fmt.Sprintf("%d to watch %s", count, service), func() bool {
		return len(watchersOf(p.t, p.at, service)) == count
	})
}

// watchersOf asks a server who watches a service through its API.
func watchersOf(t *testing.T, server, service string) []json.RawMessage {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t, seeing), http.MethodGet, server+"/v1/watchers?service="+service, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Watchers []json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Watchers
}
