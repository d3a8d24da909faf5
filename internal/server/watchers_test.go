package server_test

import (
	"bufio"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"google.golang.org/grpc/metadata"
)

func TestWhoWatchesIsListedWithWhatHeWasTold(t *testing.T) {
	t.Parallel()
	info, stop := start(t, serving(filepath.Join(t.TempDir(), "data")))
	defer func() { _ = stop() }()
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	discovery, operations := rollcallv1.NewDiscoveryServiceClient(conn), rollcallv1.NewOperationsServiceClient(conn)
	lists := func(service string) []*rollcallv1.Watcher {
		t.Helper()
		resp, err := operations.ListWatchers(bounded(t), &rollcallv1.ListWatchersRequest{Service: service})
		if err != nil {
			t.Fatal(err)
		}
		return resp.GetWatchers()
	}
	if all := lists(""); len(all) != 0 {
		t.Fatalf("before anybody watches: %v", all)
	}

	// What a client of the network says of others counts for nothing.
	ctx := metadata.AppendToOutgoingContext(bounded(t), "rollcall-for-address", "6.6.6.6:6", "rollcall-for-agent", "evil")
	watch, err := discovery.Watch(ctx, &rollcallv1.WatchRequest{Service: "jie-test"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(bounded(t), http.MethodGet, info.HTTP+"/v1/watch?prefix=jie", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("User-Agent", "a browser")
	page, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = page.Body.Close() }()
	if line, err := bufio.NewReader(page.Body).ReadString('\n'); err != nil || page.StatusCode != http.StatusOK {
		t.Fatalf("the watch by HTTP: %s, %q, %v", page.Status, line, err)
	}

	poll(t, "both are listed", func() bool { return len(lists("jie-test")) == 2 })
	all := lists("jie-test")
	if w := all[0]; w.GetService() != "" || !w.GetEverything() || w.GetPrefix() != "jie" || w.GetAgent() != "a browser" || !strings.HasPrefix(w.GetAddress(), "127.0.0.1:") {
		t.Errorf("the watch by HTTP is told as %v", w)
	}
	w := all[1]
	if w.GetService() != "jie-test" || !strings.HasPrefix(w.GetAgent(), "grpc-go/") || !strings.HasPrefix(w.GetAddress(), "127.0.0.1:") || time.Since(w.GetSince().AsTime()) > time.Minute {
		t.Errorf("the watch by gRPC is told as %v", w)
	}
	if w.GetRevision() != first.GetRevision() || !w.GetCurrent() {
		t.Errorf("the watch by gRPC was told up to %d, and is told as %v", first.GetRevision(), w)
	}
	if others := lists("other"); len(others) != 0 {
		t.Errorf("of another service: %v", others)
	}

	if err := page.Body.Close(); err != nil {
		t.Fatal(err)
	}
	poll(t, "who has gone is not listed", func() bool { return len(lists("")) == 1 })
}
