package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// tagged is a service that is known by its revision. Who has the wrong token may not know it.
type tagged struct {
	mu       sync.Mutex
	revision int64
	restless bool                 // it is another one whenever all of it is asked for
	probes   int                  // who asked by what it is known
	wholes   int                  // who asked for all of it
	hold     func(revision int64) // called before a whole answer is given; nil: at once
}

func (s *tagged) answer(ctx context.Context, request proto.Message) (proto.Message, error) {
	req, is := request.(*rollcallv1.GetServiceRequest)
	if !is {
		return nil, nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	if strings.Join(md.Get("authorization"), "") == "Bearer wrong" {
		return nil, status.Error(codes.PermissionDenied, "not yours")
	}
	s.mu.Lock()
	hold := s.hold
	whole := strings.Join(md.Get("if-none-match"), "") != "*"
	if whole {
		s.wholes++
	} else {
		s.probes++
	}
	if whole && s.restless {
		s.revision++
	}
	revision := s.revision
	s.mu.Unlock()
	if err := grpc.SetHeader(ctx, metadata.Pairs("etag", fmt.Sprintf(`W/"%d-a"`, revision))); err != nil {
		return nil, err
	}
	if !whole {
		return &rollcallv1.GetServiceResponse{Revision: revision}, nil
	}
	if hold != nil {
		hold(revision)
	}
	return &rollcallv1.GetServiceResponse{Service: req.GetService(), Revision: revision, Instances: []*rollcallv1.Instance{{Id: fmt.Sprint("at ", revision)}}}, nil
}

func (s *tagged) become(revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.revision = revision
}

func (s *tagged) counts() (probes, wholes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.probes, s.wholes
}

func TestWhatAClientHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	shop := &tagged{revision: 7}
	a, at := serve(t, &script{first: shop.answer})
	first := ask(t, "GET", at+"/v1/services/shop", "")
	if first.code != http.StatusOK || first.header.Get("ETag") != `W/"7-a"` || first.header.Get("Cache-Control") != "private, no-cache" || !strings.Contains(first.body, "at 7") {
		t.Fatalf("%d %v %s", first.code, first.header, first.body)
	}
	for _, has := range []string{`W/"7-a"`, `"7-a"`, `"x", W/"7-a"`, "*"} {
		for _, method := range []string{"GET", "HEAD"} {
			got := ask(t, method, at+"/v1/services/shop", "", "If-None-Match: "+has)
			if got.code != http.StatusNotModified || got.body != "" || got.header.Get("ETag") != `W/"7-a"` || got.header.Get("Cache-Control") != "private, no-cache" || got.header.Get("Rollcall-Revision") != "7" {
				t.Errorf("%s with %s: %d %v %q", method, has, got.code, got.header, got.body)
			}
		}
	}
	for _, other := range []string{`W/"6-a"`, `7-a`, `W/"7-"`, `W/"7-a`, `""`} {
		if got := ask(t, "GET", at+"/v1/services/shop", "", "If-None-Match: "+other); got.code != http.StatusOK || got.body != first.body {
			t.Errorf("with %s: %d %q", other, got.code, got.body)
		}
	}
	if _, wholes := shop.counts(); a.services.encodings.Load() != 1 || wholes != 1 {
		t.Errorf("one state was encoded %d times and asked for %d times", a.services.encodings.Load(), wholes)
	}
	shop.become(8)
	if got := ask(t, "GET", at+"/v1/services/shop", "", `If-None-Match: W/"7-a"`); got.code != http.StatusOK || got.header.Get("ETag") != `W/"8-a"` || !strings.Contains(got.body, "at 8") {
		t.Errorf("after a change: %d %v %s", got.code, got.header, got.body)
	}
}

// Nothing is encoded for who has it, not even by a server that was never asked before.
func TestAClientThatComesFromAnotherServerCostsNoEncoding(t *testing.T) {
	t.Parallel()
	shop := &tagged{revision: 7}
	a, at := serve(t, &script{first: shop.answer})
	if got := ask(t, "GET", at+"/v1/services/shop", "", `If-None-Match: W/"7-a"`); got.code != http.StatusNotModified {
		t.Errorf("%d %s", got.code, got.body)
	}
	if _, wholes := shop.counts(); a.services.encodings.Load() != 0 || wholes != 0 {
		t.Errorf("encoded %d times, asked for %d times", a.services.encodings.Load(), wholes)
	}
}

func TestManyReadersCostOneEncoding(t *testing.T) {
	t.Parallel()
	const readers = 24
	shop := &tagged{revision: 7}
	shop.hold = func(int64) { // until all wait for it
		eventually(t, "all have asked", func() bool { probes, _ := shop.counts(); return probes == readers })
	}
	a, at := serve(t, &script{first: shop.answer})
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			if got := ask(t, "GET", at+"/v1/services/shop", ""); got.code != http.StatusOK || !strings.Contains(got.body, "at 7") || got.header.Get("ETag") != `W/"7-a"` {
				t.Errorf("%d %v %s", got.code, got.header, got.body)
			}
		})
	}
	reading.Wait()
	if _, wholes := shop.counts(); a.services.encodings.Load() != 1 || wholes != 1 {
		t.Errorf("%d readers: encoded %d times, asked for %d times", readers, a.services.encodings.Load(), wholes)
	}
}

// Whoever knows that something was written reads it, also if somebody who asked before is still being answered.
func TestAReaderIsNotToldWhatWasSoBeforeHeAsked(t *testing.T) {
	t.Parallel()
	shop := &tagged{revision: 7}
	held, release := make(chan struct{}), make(chan struct{})
	shop.hold = func(revision int64) {
		if revision == 7 {
			close(held)
			<-release
		}
	}
	_, at := serve(t, &script{first: shop.answer})
	var reading sync.WaitGroup
	reading.Go(func() { ask(t, "GET", at+"/v1/services/shop", "") })
	<-held
	shop.become(8)
	reading.Go(func() {
		if got := ask(t, "GET", at+"/v1/services/shop", ""); !strings.Contains(got.body, "at 8") || got.header.Get("ETag") != `W/"8-a"` {
			t.Errorf("%v %s", got.header, got.body)
		}
	})
	eventually(t, "both have asked", func() bool { probes, _ := shop.counts(); return probes == 2 })
	close(release)
	reading.Wait()
}

// Those who wait in a row while a service changes all the time are not each answered by an encoding of their own.
func TestWhoWaitedTakesWhatWasMadeMeanwhile(t *testing.T) {
	t.Parallel()
	const readers = 12
	shop := &tagged{revision: 7, restless: true}
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	shop.hold = func(int64) { once.Do(func() { close(held); <-release }) }
	a, at := serve(t, &script{first: shop.answer})
	var reading sync.WaitGroup
	reading.Go(func() { ask(t, "GET", at+"/v1/services/shop", "") })
	<-held
	shop.become(100)
	for range readers {
		reading.Go(func() { ask(t, "GET", at+"/v1/services/shop", "") })
	}
	eventually(t, "all have asked", func() bool { probes, _ := shop.counts(); return probes == readers+1 })
	close(release)
	reading.Wait()
	if got := a.services.encodings.Load(); got != 2 {
		t.Errorf("%d readers that waited together cost %d encodings", readers, got)
	}
}

func TestAKeptAnswerIsNotForWhoMayNotHaveIt(t *testing.T) {
	t.Parallel()
	shop := &tagged{revision: 7}
	_, at := serve(t, &script{first: shop.answer})
	if got := ask(t, "GET", at+"/v1/services/shop", ""); got.code != http.StatusOK {
		t.Fatal(got.body)
	}
	for _, has := range []string{"", `W/"7-a"`, "*"} {
		got := ask(t, "GET", at+"/v1/services/shop", "", "Authorization: Bearer wrong", "If-None-Match: "+has)
		if got.code != http.StatusForbidden || got.problem(t).Message != "not yours" || got.header.Get("ETag") != "" || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("with %q: %d %v %s", has, got.code, got.header, got.body)
		}
	}
}
