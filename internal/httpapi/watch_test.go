package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

type send = func(*rollcallv1.WatchResponse) error

func endAtOnce(*rollcallv1.WatchRequest, send, context.Context) error { return nil }

// silent tells nothing until the reader is gone.
func silent(_ *rollcallv1.WatchRequest, _ send, ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s *script) WatchServices(request *rollcallv1.WatchServicesRequest, stream grpc.ServerStreamingServer[rollcallv1.WatchServicesResponse]) error {
	if s.all != nil {
		return stream.Send(s.all)
	}
	if err := stream.Send(&rollcallv1.WatchServicesResponse{Revision: 3, Snapshot: true, Services: []*rollcallv1.ServiceSummary{{Service: request.GetPrefix() + "-one"}}}); err != nil {
		return err
	}
	return stream.Send(&rollcallv1.WatchServicesResponse{Revision: 4, Services: []*rollcallv1.ServiceSummary{{Service: "two"}}})
}

func value(m prometheus.Metric) float64 {
	var out dto.Metric
	_ = m.Write(&out)
	return out.GetGauge().GetValue() + out.GetCounter().GetValue()
}

func TestEventsAreNamedNumberedAndWhatGRPCTold(t *testing.T) {
	t.Parallel()
	add := &rollcallv1.Update{Op: rollcallv1.Update_OP_ADD, Instance: &rollcallv1.Instance{Id: "a", Addr: "10.0.0.1:80", Metadata: map[string]string{"text": "two\nlines\r\u2028"}}}
	stale := &rollcallv1.Staleness{Since: timestamppb.New(since), Reason: "connection refused"}
	s := &script{watch: func(_ *rollcallv1.WatchRequest, tell send, _ context.Context) error {
		for _, m := range []*rollcallv1.WatchResponse{
			{Revision: 5, Snapshot: true, Digest: 171},
			{Revision: 6, Updates: []*rollcallv1.Update{add}},
			{Revision: 6, Stale: stale},
			{Revision: 6, Stale: stale, Policy: &rollcallv1.Policy{Revision: 6}},
			{Revision: 6},
			{Revision: 2, Snapshot: true, Reset_: true},
		} {
			if err := tell(m); err != nil {
				return err
			}
		}
		return nil
	}}
	_, at := serve(t, s)
	events := subscribe(t, at+"/v1/services/shop/watch")
	if got := events.header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	if first := events.next(); first != "retry" {
		t.Errorf("the stream begins with %q and not with when to come back", first)
	}
	for _, want := range []string{"snapshot 5-00000000000000ab", "update 6", "stale 6", "update 6", "stale 6", "snapshot 2"} {
		got := events.event()
		if !strings.HasPrefix(got, want+" {") {
			t.Fatalf("got %q, want %q", got, want)
		}
		if want == "update 6" && strings.Contains(got, "OP_ADD") {
			var data struct {
				Revision string
				Updates  []struct {
					Op       string
					Instance struct {
						ID, Addr string
						Suspect  *bool
						Metadata map[string]string
					}
				}
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(got, want+" ")), &data); err != nil {
				t.Fatal(err)
			}
			if len(data.Updates) != 1 || data.Revision != "6" || data.Updates[0].Instance.ID != "a" || data.Updates[0].Instance.Suspect == nil || data.Updates[0].Instance.Metadata["text"] != "two\nlines\r\u2028" {
				t.Errorf("data: %q", got)
			}
		}
	}
	if got := events.event(); got != "" {
		t.Errorf("after the end: %q", got)
	}
}

func TestAllServicesAreWatchedUnderOnePath(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{})
	events := subscribe(t, at+"/v1/watch?prefix=shop")
	if got := events.event(); !strings.HasPrefix(got, "snapshot 3 ") || !strings.Contains(got, `"shop-one"`) {
		t.Errorf("got %q", got)
	}
	if got := events.event(); !strings.HasPrefix(got, "update 4 ") {
		t.Errorf("got %q", got)
	}
}

func TestAStreamGoesOnBehindTheLastEvent(t *testing.T) {
	t.Parallel()
	asked := make(chan *rollcallv1.WatchRequest, 1)
	s := &script{watch: func(r *rollcallv1.WatchRequest, _ send, _ context.Context) error { asked <- r; return nil }}
	_, at := serve(t, s)
	for _, c := range []struct {
		query, header string
		revision      int64
		digest        uint64
	}{
		{"", "", 0, 0},
		{"?revision=7", "", 7, 0},
		{"?revision=7-00000000000000ff", "", 7, 255},
		{"", "9-ffffffffffffffff", 9, math.MaxUint64},
		{"?revision=7-01", "9", 9, 0},
		{"?revision=", "", 0, 0},
	} {
		var headers []string
		if c.header != "" {
			headers = []string{"Last-Event-ID: " + c.header}
		}
		ask(t, "GET", at+"/v1/services/a%2Fb/watch"+c.query, "", headers...)
		if got := <-asked; got.GetRevision() != c.revision || got.GetDigest() != c.digest || got.GetService() != "a/b" {
			t.Errorf("%+v: asked for %v", c, got)
		}
	}
	for _, bad := range []string{"-1", "1.5", "0x10", "99999999999999999999", "9223372036854775808", "abc", "7-", "7-x", "7-1-1", "-7", "7-10000000000000000", "+7"} {
		if got := ask(t, "GET", at+"/v1/services/shop/watch", "", "Last-Event-ID: "+bad); got.code != http.StatusBadRequest {
			t.Errorf("Last-Event-ID %q: %d", bad, got.code)
		}
	}
	if got := ask(t, "GET", at+"/v1/services/shop/watch?revision=1&revision=2", ""); got.code != http.StatusBadRequest {
		t.Errorf("two revisions: %d", got.code)
	}
}

func TestARefusalBeforeTheFirstEventIsAStatus(t *testing.T) {
	t.Parallel()
	s := &script{watch: func(*rollcallv1.WatchRequest, send, context.Context) error {
		return status.Error(codes.PermissionDenied, "not yours")
	}}
	_, at := serve(t, s)
	if got := ask(t, "GET", at+"/v1/services/shop/watch", ""); got.code != http.StatusForbidden || got.problem(t).Message != "not yours" {
		t.Errorf("%d %s", got.code, got.body)
	}
}

func TestAStreamThatBreaksSaysWhy(t *testing.T) {
	t.Parallel()
	s := &script{watch: func(_ *rollcallv1.WatchRequest, tell send, _ context.Context) error {
		_ = tell(&rollcallv1.WatchResponse{Revision: 5, Snapshot: true})
		return status.Error(codes.Unavailable, "moving on")
	}}
	_, at := serve(t, s)
	events := subscribe(t, at+"/v1/services/shop/watch")
	events.event()
	if got := events.event(); !strings.HasPrefix(got, "end ") || !strings.Contains(got, "moving on") || strings.Contains(got, " 5 ") {
		t.Errorf("got %q", got)
	}
	if got := events.event(); got != "" {
		t.Errorf("after the end: %q", got)
	}
}

func TestASilentStreamShowsThatItLives(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{watch: silent})
	a.heartbeat = 20 * time.Millisecond
	events := subscribe(t, at+"/v1/services/shop/watch")
	events.next()
	for range 3 {
		if got := events.next(); got != ":" {
			t.Fatalf("got %q", got)
		}
	}
	plain, err := New(Config{})
	if err != nil || plain.heartbeat != 15*time.Second {
		t.Errorf("by default a comment comes every %v, %v", plain.heartbeat, err)
	}
}

func TestAReaderThatIsGoneEndsHisStreamOfGRPC(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	a, at := serve(t, &script{watch: func(_ *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
		_ = tell(&rollcallv1.WatchResponse{Revision: 5, Snapshot: true})
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	}})
	events := subscribe(t, at+"/v1/services/shop/watch")
	events.event()
	if got := value(a.metrics.watches); got != 1 {
		t.Errorf("%v streams are open", got)
	}
	events.close()
	<-ended
	eventually(t, "no stream is open", func() bool { return value(a.metrics.watches) == 0 })
}

// A reader that reads nothing fills what lies between him and us, and then has as long as an event may take.
func TestAReaderThatDoesNotReadIsGivenUp(t *testing.T) {
	t.Parallel()
	large := &rollcallv1.WatchResponse{Revision: 5, Snapshot: true, Updates: []*rollcallv1.Update{{Instance: &rollcallv1.Instance{Zone: strings.Repeat("x", 1<<20)}}}}
	told := make(chan int, 1)
	a, at := serve(t, &script{watch: func(_ *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
		n := 0
		for ; tell(large) == nil; n++ {
		}
		told <- n
		return ctx.Err()
	}})
	a.patience = 200 * time.Millisecond
	reader, err := net.Dial("tcp", strings.TrimPrefix(at, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if _, err := fmt.Fprintf(reader, "GET /v1/services/shop/watch HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case n := <-told:
		if n > 100 {
			t.Errorf("%d MiB were taken from gRPC for a reader that read none", n)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the stream is still open")
	}
	eventually(t, "no stream is open", func() bool { return value(a.metrics.watches) == 0 })
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{watch: func(_ *rollcallv1.WatchRequest, tell send, ctx context.Context) error {
		_ = tell(&rollcallv1.WatchResponse{Revision: 5, Snapshot: true})
		<-ctx.Done()
		return ctx.Err()
	}})
	events := subscribe(t, at+"/v1/services/shop/watch")
	events.event()
	a.Close()
	if got := events.event(); !strings.HasPrefix(got, "end ") || !strings.Contains(got, "stopping") {
		t.Errorf("got %q", got)
	}
	if got := events.event(); got != "" {
		t.Errorf("after the end: %q", got)
	}
	if got := ask(t, "GET", at+"/v1/services/shop/watch", ""); got.code != http.StatusServiceUnavailable {
		t.Errorf("a new stream: %d", got.code)
	}
	a.Close()
}

func TestThereAreNoMoreStreamsThanThereMayBe(t *testing.T) {
	t.Parallel()
	a, at := serve(t, &script{watch: silent}, func(c *Config) { c.MaxWatches = 2 })
	a.heartbeat = 20 * time.Millisecond
	first, second := subscribe(t, at+"/v1/services/shop/watch"), subscribe(t, at+"/v1/services/shop/watch")
	first.next()
	second.next()
	if got := ask(t, "GET", at+"/v1/services/shop/watch", ""); got.code != http.StatusTooManyRequests || got.problem(t).Code != 8 {
		t.Errorf("the third: %d %s", got.code, got.body)
	}
	first.close()
	eventually(t, "a place is free", func() bool { return value(a.metrics.watches) == 1 })
	subscribe(t, at+"/v1/services/shop/watch").next()
}

// The server's own time limits are for requests that come slowly, not for streams.
func TestAStreamOutlivesTheTimeLimitsOfItsServer(t *testing.T) {
	t.Parallel()
	a, _ := serve(t, &script{watch: silent})
	a.heartbeat = 50 * time.Millisecond
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: a, ReadTimeout: 100 * time.Millisecond, WriteTimeout: 100 * time.Millisecond}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(listener) }()
	defer func() { <-ended }()
	defer func() { _ = web.Close() }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/v1/services/shop/watch")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	for until := time.Now().Add(400 * time.Millisecond); time.Now().Before(until); {
		if _, err := io.ReadFull(resp.Body, make([]byte, 3)); err != nil {
			t.Fatal(err)
		}
	}
}
