package integration

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func apiNames(services []*rollcallv1.ServiceSummary) []string {
	var names []string
	for _, s := range services {
		names = append(names, s.GetService())
	}
	return names
}

// list returns one page, of a server that knows all that the test has written.
func (s *apiServer) list(t testing.TB, req *rollcallv1.ListServicesRequest) *rollcallv1.ListServicesResponse {
	t.Helper()
	resp, err := s.discovery.ListServices(within(t, apiPatience), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestServicesAreListedWithTheirCounts(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "shop.cart", rollcall.Instance{Addr: "10.0.0.1:1", Zone: "a", Version: "v1", Metadata: map[string]string{"team": "jie"}})
	register(t, writer, "shop.cart", rollcall.Instance{Addr: "10.0.0.2:1", Zone: "b", Version: "v1", State: rollcall.StateDraining})
	register(t, writer, "shop.cart", rollcall.Instance{Addr: "10.0.0.3:1", Zone: "b", Version: "v2"})
	register(t, writer, "shop.pay", rollcall.Instance{Addr: "10.0.0.4:1", Zone: "a"})
	register(t, writer, "mail", rollcall.Instance{Addr: "10.0.0.5:1"})
	setPolicy(t, writer, "plan", rollcall.Policy{Timeout: time.Second})
	s := serveAPI(t, etcd, grpcapi.Config{})
	mustEqual(t, "all", apiNames(s.list(t, &rollcallv1.ListServicesRequest{}).GetServices()), []string{"mail", "plan", "shop.cart", "shop.pay"})
	shop := s.list(t, &rollcallv1.ListServicesRequest{Prefix: "shop."})
	mustEqual(t, "by prefix", apiNames(shop.GetServices()), []string{"shop.cart", "shop.pay"})
	want := &rollcallv1.ServiceSummary{
		Service: "shop.cart", Instances: 3, Serving: 2, Draining: 1, Zones: map[string]int32{"a": 1, "b": 2}, Versions: map[string]int32{"v1": 2, "v2": 1},
	}
	if diff := cmp.Diff(want, shop.GetServices()[0], protocmp.Transform(), protocmp.IgnoreFields(want, "revision")); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		labels []string
		want   []string
		count  int32
	}{
		{[]string{"zone=b"}, []string{"shop.cart"}, 2},
		{[]string{"zone=b", "version=v2"}, []string{"shop.cart"}, 1},
		{[]string{"team=jie"}, []string{"shop.cart"}, 1},
		{[]string{"zone=a", "version=v2"}, nil, 0},
		{[]string{"zone="}, []string{"mail"}, 1},
	} {
		got := s.list(t, &rollcallv1.ListServicesRequest{Labels: c.labels}).GetServices()
		if !slices.Equal(apiNames(got), c.want) || len(got) > 0 && got[0].GetInstances() != c.count {
			t.Errorf("%v: %v", c.labels, got)
		}
	}
	if got := s.get(t, "nobody"); len(got.GetInstances()) != 0 || got.GetRevision() == 0 {
		t.Errorf("a service that nobody registered: %v", got)
	}
}

func TestPagesNeitherRepeatNorLeaveOutWhatStays(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	key := func(n int) string { return fmt.Sprintf("rollcall/services/s%02d/i", n) }
	for n := range 25 {
		put(t, client, key(n*2), `{"Addr":"10.0.0.1:1"}`)
	}
	s := serveAPI(t, etcd, grpcapi.Config{})
	var got []string
	token := ""
	for pages := 1; ; pages++ {
		page := s.list(t, &rollcallv1.ListServicesRequest{PageSize: 7, PageToken: token})
		got = append(got, apiNames(page.GetServices())...)
		if token = page.GetNextPageToken(); token == "" {
			if pages != 4 || len(page.GetServices()) != 4 {
				t.Errorf("%d pages, the last with %d services", pages, len(page.GetServices()))
			}
			break
		}
		// The one that the token stands at goes, and one comes before it.
		last := page.GetServices()[6].GetService()
		if _, err := client.Delete(within(t, apiPatience), "rollcall/services/"+last+"/i"); err != nil {
			t.Fatal(err)
		}
		put(t, client, key(pages*2-1), `{"Addr":"10.0.0.1:1"}`)
		eventually(t, apiPatience, "the server sees that", func() bool {
			names := apiNames(s.list(t, &rollcallv1.ListServicesRequest{}).GetServices())
			return !slices.Contains(names, last) && slices.Contains(names, fmt.Sprintf("s%02d", pages*2-1))
		})
	}
	var want []string
	for n := range 25 {
		want = append(want, fmt.Sprintf("s%02d", n*2))
	}
	mustEqual(t, "services", got, want)
	_, err := s.discovery.ListServices(within(t, apiPatience), &rollcallv1.ListServicesRequest{
		Prefix: "s1", PageToken: s.list(t, &rollcallv1.ListServicesRequest{PageSize: 1}).GetNextPageToken(),
	})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("the token of another listing: %v", err)
	}
}

func TestAllServicesAreWatchedByPrefix(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	writer := open(t, etcd.Endpoint())
	register(t, writer, "shop.cart", rollcall.Instance{Addr: "10.0.0.1:1"})
	register(t, writer, "mail", rollcall.Instance{Addr: "10.0.0.2:1"})
	s := serveAPI(t, etcd, grpcapi.Config{})
	stream, err := s.discovery.WatchServices(within(t, time.Minute), &rollcallv1.WatchServicesRequest{Prefix: "shop."})
	if err != nil {
		t.Fatal(err)
	}
	next := func() *rollcallv1.WatchServicesResponse {
		t.Helper()
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	first := next()
	if !first.GetSnapshot() || !slices.Equal(apiNames(first.GetServices()), []string{"shop.cart"}) {
		t.Errorf("the first response: %v", first)
	}
	register(t, writer, "mail", rollcall.Instance{Addr: "10.0.0.3:1"}) // nobody's business here
	pay := register(t, writer, "shop.pay", rollcall.Instance{Addr: "10.0.0.4:1"})
	if resp := next(); resp.GetSnapshot() || !slices.Equal(apiNames(resp.GetServices()), []string{"shop.pay"}) || resp.GetServices()[0].GetServing() != 1 {
		t.Errorf("a new service is told as %v", resp)
	}
	if err := pay.Deregister(t.Context()); err != nil {
		t.Fatal(err)
	}
	if resp := next(); !slices.Equal(apiNames(resp.GetServices()), []string{"shop.pay"}) || resp.GetServices()[0].GetInstances() != 0 {
		t.Errorf("the end of a service is told as %v", resp)
	}
}

func TestWhoWaitsForARevisionReadsWhatWasWritten(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	client := etcd.Client(t)
	for n := range 20 {
		resp, err := client.Put(within(t, apiPatience), fmt.Sprintf("rollcall/services/svc/%02d", n), `{"Addr":"10.0.0.1:1"}`)
		if err != nil {
			t.Fatal(err)
		}
		reached, err := s.discovery.WaitForRevision(within(t, apiPatience), &rollcallv1.WaitForRevisionRequest{Revision: resp.Header.Revision})
		if err != nil || reached.GetRevision() < resp.Header.Revision {
			t.Fatalf("wait for %d: %v, %v", resp.Header.Revision, reached, err)
		}
		if got := s.get(t, "svc"); len(got.GetInstances()) != n+1 {
			t.Fatalf("after revision %d: %d instances, want %d", resp.Header.Revision, len(got.GetInstances()), n+1)
		}
	}
	_, err := s.discovery.WaitForRevision(within(t, apiPatience), &rollcallv1.WaitForRevisionRequest{Revision: 1 << 40, Timeout: durationpb.New(100 * time.Millisecond)})
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a revision that is not reached: %v", err)
	}
}

func TestWhatBreaksARuleIsRefusedByName(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	s := serveAPI(t, etcd, grpcapi.Config{})
	ctx := within(t, apiPatience)
	watched := func(req *rollcallv1.WatchRequest) error {
		stream, err := s.discovery.Watch(ctx, req)
		if err == nil {
			_, err = stream.Recv()
		}
		return err
	}
	list := func(req *rollcallv1.ListServicesRequest) error {
		_, err := s.discovery.ListServices(ctx, req)
		return err
	}
	wait := func(req *rollcallv1.WaitForRevisionRequest) error {
		_, err := s.discovery.WaitForRevision(ctx, req)
		return err
	}
	_, get := s.discovery.GetService(ctx, &rollcallv1.GetServiceRequest{Service: "a/b"})
	_, policy := s.control.SetPolicy(ctx, &rollcallv1.SetPolicyRequest{Service: "svc"})
	_, override := s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: "svc", Id: "i", Override: &rollcallv1.Override{Weight: -1}})
	_, id := s.control.SetOverride(ctx, &rollcallv1.SetOverrideRequest{Service: "svc", Override: &rollcallv1.Override{Drain: true}})
	_, deletion := s.control.DeletePolicy(ctx, &rollcallv1.DeletePolicyRequest{Service: "svc"})
	for field, err := range map[string][]error{
		"service":         {get, watched(&rollcallv1.WatchRequest{Service: ""})},
		"revision":        {watched(&rollcallv1.WatchRequest{Service: "svc", Revision: -1}), wait(&rollcallv1.WaitForRevisionRequest{}), deletion},
		"timeout":         {wait(&rollcallv1.WaitForRevisionRequest{Revision: 1, Timeout: durationpb.New(time.Hour)})},
		"prefix":          {list(&rollcallv1.ListServicesRequest{Prefix: "a/"})},
		"labels":          {list(&rollcallv1.ListServicesRequest{Labels: []string{"zone"}})},
		"page_size":       {list(&rollcallv1.ListServicesRequest{PageSize: -1})},
		"page_token":      {list(&rollcallv1.ListServicesRequest{PageToken: "?"})},
		"policy.document": {policy},
		"override.weight": {override},
		"instance.id":     {id},
	} {
		for _, err := range err {
			found := false
			for _, detail := range status.Convert(err).Details() {
				if bad, is := detail.(*errdetails.BadRequest); is {
					found = bad.GetFieldViolations()[0].GetField() == field && bad.GetFieldViolations()[0].GetDescription() != ""
				}
			}
			if status.Code(err) != codes.InvalidArgument || !found {
				t.Errorf("%s: %v, details %v", field, err, status.Convert(err).Details())
			}
		}
	}
	if err := list(&rollcallv1.ListServicesRequest{Prefix: strings.Repeat("a", grpcapi.MaxRequest)}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a request that is too large: %v", err)
	}
}
