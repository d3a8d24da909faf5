package integration

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
	past "github.com/rollcall-io/rollcall/internal/history"
)

// serveHistory serves the API with a history.
func serveHistory(t *testing.T, etcd *etcdtest.Server, cfg grpcapi.Config) (rollcallv1.HistoryServiceClient, *grpc.ClientConn) {
	t.Helper()
	reg := open(t, etcd.Endpoint(), rollcall.WithFollowAll())
	cfg.History = past.New(reg, past.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = cfg.History.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	api := grpcapi.New(reg, cfg)
	addr := serveAPIOn(t, grpc.NewServer(api.ServerOptions()...), api)
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return rollcallv1.NewHistoryServiceClient(conn), conn
}

// toldEvents writes events as text: "left shop a:1".
func toldEvents(events []*rollcallv1.Event) []string {
	var lines []string
	for _, e := range events {
		line := strings.ToLower(strings.TrimPrefix(e.GetKind().String(), "KIND_")) + " " + e.GetService()
		if e.GetInstance() != "" {
			line += " " + e.GetInstance()
		}
		lines = append(lines, line)
	}
	return lines
}

func TestTheAPITellsWhatHappenedAndWhatHappens(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	hidden := "hidden"
	cfg := grpcapi.Config{Sight: func(context.Context) (string, func(string) bool) {
		return "s", func(service string) bool { return service != hidden }
	}}
	r := register(t, reg, "shop", rollcall.Instance{Addr: "a:1", Weight: 10})
	first := r.Revision()
	register(t, reg, hidden, rollcall.Instance{Addr: "z:1"})
	if err := r.Update(within(t, steerPatience), func(i *rollcall.Instance) { i.Weight = 20 }); err != nil {
		t.Fatal(err)
	}
	o := override(t, reg, "shop", "a:1", rollcall.Override{Drain: true, Reason: "disk", Author: "op"})
	if err := reg.DeleteOverride(within(t, steerPatience), "shop", "a:1", o.Revision, rollcall.By{Author: "op2", Reason: "better"}); err != nil {
		t.Fatal(err)
	}
	client, _ := serveHistory(t, etcd, cfg)

	want := []string{"undone shop a:1", "drained shop a:1", "changed shop a:1", "joined shop a:1"}
	var all *rollcallv1.ListEventsResponse
	eventually(t, steerPatience, "the past is told", func() bool {
		var err error
		all, err = client.ListEvents(within(t, steerPatience), &rollcallv1.ListEventsRequest{})
		return err == nil && slices.Equal(toldEvents(all.GetEvents()), want) && !all.GetBegin().GetReading()
	})
	if undone := all.GetEvents()[0]; undone.GetActor() != "op2" || undone.GetReason() != "better" {
		t.Errorf("it was undone by %q for %q", undone.GetActor(), undone.GetReason())
	}
	if detail := all.GetEvents()[2].GetDetail(); detail != "weight 10 → 20" {
		t.Errorf("what changed is %q", detail)
	}

	var paged []*rollcallv1.Event
	for token, pages := "", 0; pages == 0 || token != ""; pages++ {
		page, err := client.ListEvents(within(t, steerPatience), &rollcallv1.ListEventsRequest{PageSize: 1, PageToken: token, Service: "shop"})
		if err != nil || len(page.GetEvents()) > 1 {
			t.Fatalf("page %d: %v, %v", pages, page.GetEvents(), err)
		}
		paged, token = append(paged, page.GetEvents()...), page.GetNextPageToken()
	}
	mustEqual(t, "page by page", toldEvents(paged), want)
	some, err := client.ListEvents(within(t, steerPatience), &rollcallv1.ListEventsRequest{
		Kinds: []rollcallv1.Event_Kind{rollcallv1.Event_KIND_DRAINED, rollcallv1.Event_KIND_LEFT}, Actor: "op",
	})
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "by kind and actor", toldEvents(some.GetEvents()), []string{"drained shop a:1"})

	stream, err := client.WatchEvents(within(t, steerPatience), &rollcallv1.WatchEventsRequest{After: all.GetEvents()[1].GetSequence()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(within(t, steerPatience)); err != nil {
		t.Fatal(err)
	}
	var heard []*rollcallv1.Event
	for len(heard) < 2 {
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if len(heard) == 0 && resp.GetBegin() == nil && len(resp.GetEvents()) == 0 {
			t.Error("the first response does not say where the history begins")
		}
		heard = append(heard, resp.GetEvents()...)
	}
	mustEqual(t, "the stream", toldEvents(heard), []string{"undone shop a:1", "left shop a:1"})

	then, err := client.GetServiceAt(within(t, steerPatience), &rollcallv1.GetServiceAtRequest{Service: "shop", Revision: first})
	if err != nil || len(then.GetInstances()) != 1 || then.GetInstances()[0].GetWeight() != 10 {
		t.Errorf("the service as it was: %v, %v", then, err)
	}
	atFirst, err := client.ListServicesAt(within(t, steerPatience), &rollcallv1.ListServicesAtRequest{Revision: first})
	if err != nil || len(atFirst.GetServices()) != 1 || atFirst.GetServices()[0].GetService() != "shop" || atFirst.GetServices()[0].GetServing() != 1 || atFirst.GetAt().GetRevision() != first {
		t.Errorf("all services as they were: %v, %v", atFirst, err)
	}
	drained, err := client.ListServicesAt(within(t, steerPatience), &rollcallv1.ListServicesAtRequest{Revision: o.Revision})
	if err != nil || len(drained.GetServices()) != 1 || drained.GetServices()[0].GetDraining() != 1 {
		t.Errorf("all services when one was drained: %v, %v", drained, err)
	}
	now, err := client.ListServicesAt(within(t, steerPatience), &rollcallv1.ListServicesAtRequest{})
	if err != nil || len(now.GetServices()) != 0 {
		t.Errorf("all services now: %v, %v", now, err)
	}
	diff, err := client.Diff(within(t, steerPatience), &rollcallv1.DiffRequest{FromRevision: first, ToRevision: o.Revision})
	if err != nil || len(diff.GetServices()) != 1 || diff.GetServices()[0].GetInstances()[0].GetDetail() != "operator's drain false → true, weight 10 → 20" {
		t.Errorf("what changed until the drain: %v, %v", diff, err)
	}
	diff, err = client.Diff(within(t, steerPatience), &rollcallv1.DiffRequest{FromRevision: first})
	if err != nil || len(diff.GetServices()) != 1 || diff.GetServices()[0].GetInstances()[0].GetOp() != rollcallv1.Update_OP_DELETE {
		t.Errorf("what changed until now: %v, %v", diff, err)
	}
}

func TestWhatTheHistoryCannotTellIsRefusedByName(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client, conn := serveHistory(t, etcd, grpcapi.Config{})
	none := serveAPI(t, etcd, grpcapi.Config{})
	ctx := within(t, steerPatience)
	for name, c := range map[string]struct {
		call func() error
		code codes.Code
		word string
	}{
		"a page that is too large": {func() error {
			_, err := client.ListEvents(ctx, &rollcallv1.ListEventsRequest{PageSize: 100_000})
			return err
		}, codes.InvalidArgument, "page_size"},
		"a token that is none": {func() error {
			_, err := client.ListEvents(ctx, &rollcallv1.ListEventsRequest{PageToken: "x"})
			return err
		}, codes.InvalidArgument, "page_token"},
		"a kind that is none": {func() error {
			_, err := client.ListEvents(ctx, &rollcallv1.ListEventsRequest{Kinds: []rollcallv1.Event_Kind{99}})
			return err
		}, codes.InvalidArgument, "kinds"},
		"a service that cannot be": {func() error {
			_, err := client.ListEvents(ctx, &rollcallv1.ListEventsRequest{Service: "a/b"})
			return err
		}, codes.InvalidArgument, "service"},
		"a revision that has not come": {func() error {
			_, err := client.GetServiceAt(ctx, &rollcallv1.GetServiceAtRequest{Service: "shop", Revision: 1 << 40})
			return err
		}, codes.OutOfRange, "not come"},
		"all of a revision that has not come": {func() error {
			_, err := client.ListServicesAt(ctx, &rollcallv1.ListServicesAtRequest{Revision: 1 << 40})
			return err
		}, codes.OutOfRange, "not come"},
		"both a revision and a time": {func() error {
			_, err := client.GetServiceAt(ctx, &rollcallv1.GetServiceAtRequest{Service: "shop", Revision: 1, Time: timestamppb.Now()})
			return err
		}, codes.InvalidArgument, "not both"},
		"a time before everything": {func() error {
			_, err := client.GetServiceAt(ctx, &rollcallv1.GetServiceAtRequest{Service: "shop", Time: timestamppb.New(time.Unix(1, 0))})
			return err
		}, codes.OutOfRange, ""},
		"a diff from nowhere": {func() error {
			_, err := client.Diff(ctx, &rollcallv1.DiffRequest{})
			return err
		}, codes.InvalidArgument, "from"},
		"a history that is not kept": {func() error {
			_, err := rollcallv1.NewHistoryServiceClient(none.conn).ListEvents(ctx, &rollcallv1.ListEventsRequest{})
			return err
		}, codes.Unimplemented, "no history"},
		"a diagnosis without etcd's client": {func() error {
			_, err := rollcallv1.NewOperationsServiceClient(conn).Diagnose(ctx, &rollcallv1.DiagnoseRequest{})
			return err
		}, codes.Unimplemented, "how its etcd is"},
	} {
		err := c.call()
		if status.Code(err) != c.code || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s is %v, want %v and %s", name, err, c.code, strconv.Quote(c.word))
		}
	}
}
