package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// getService is the call whose answers are kept, as the gateway's pattern has it.
const getService = "GET /v1/services/{service=*}"

const (
	mostAnswers     = 64
	mostAnswerBytes = 64 << 20
	answerIdle      = 5 * time.Minute
)

// answers keeps what services were last said to be, encoded. Each request asks the gRPC server first, with its own credentials, by what the
// service is known now: that refuses who may not know, and costs little, however many instances there are. Only what is then not here is
// asked for as a whole and encoded, by one request for all that wait for it.
type answers struct {
	server    rollcallv1.DiscoveryServiceClient
	shelf     *shelf[string, place]
	encodings atomic.Int64 // for tests
}

// place is where the answer about one service lies.
type place struct {
	newest atomic.Pointer[stated] // nil: none yet
	turn   chan struct{}          // taken by who makes the next
}

// stated is an answer. It is shared, and never changed.
type stated struct {
	tag   string
	head  *rollcallv1.GetServiceResponse // without its instances
	body  []byte
	asked time.Time // before that it may not have been so
}

func newAnswers(server rollcallv1.DiscoveryServiceClient) *answers {
	return &answers{server: server, shelf: newShelf[string, place](mostAnswers, mostAnswerBytes, answerIdle)}
}

// before answers the call in the gateway's place.
func (a *answers) before(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, path map[string]string) {
		if pattern, _ := runtime.HTTPPattern(r.Context()); r.Method+" "+pattern.String() != getService {
			next(w, r, path)
			return
		}
		if err := a.answer(w, r, path["service"]); err != nil {
			fail(w, err)
		}
	}
}

func (a *answers) answer(w http.ResponseWriter, r *http.Request, service string) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
	defer cancel()
	head, tag, err := a.ask(ctx, service, "*")
	if err != nil {
		return err
	}
	s := &stated{tag: tag, head: head}
	switch {
	case tag == "": // it is whole
		err = a.encode(s)
	case names(requestOf(ctx).has, tag):
		s.mark(w)
		w.WriteHeader(http.StatusNotModified)
		return nil
	default:
		s, err = a.current(ctx, service, tag, began)
	}
	if err != nil {
		return err
	}
	s.mark(w)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(s.body)))
	_, _ = w.Write(s.body)
	return nil
}

// ask asks the gRPC server for a service, unless it is known by one of the given tags or, with "*", any at all. It returns by what it is
// known now; "" when that is nothing.
func (a *answers) ask(ctx context.Context, service, unless string) (*rollcallv1.GetServiceResponse, string, error) {
	requestOf(ctx).metadata.Set("if-none-match", unless)
	var header metadata.MD
	resp, err := a.server.GetService(ctx, &rollcallv1.GetServiceRequest{Service: service}, grpc.Header(&header))
	tag := ""
	if tags := header.Get("etag"); len(tags) > 0 {
		tag = tags[0]
	}
	return resp, tag, err
}

// current returns the answer that is known by a tag, or one that is not older than the request that began then. Of those that ask for what
// is not here one makes it, and the others wait.
func (a *answers) current(ctx context.Context, service, tag string, began time.Time) (*stated, error) {
	p := a.shelf.get(service, func() *place { return &place{turn: make(chan struct{}, 1)} })
	if s := p.newest.Load(); s != nil && s.tag == tag {
		return s, nil
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if s := p.newest.Load(); s != nil && (s.tag == tag || s.asked.After(began)) {
		return s, nil
	}
	s := &stated{asked: time.Now()}
	var err error
	if s.head, s.tag, err = a.ask(ctx, service, "none"); err != nil {
		return nil, err
	}
	if err := a.encode(s); err != nil || s.tag == "" {
		return s, err
	}
	p.newest.Store(s)
	a.shelf.weigh(service, p, len(s.body))
	return s, nil
}

// encode makes the body of an answer of which all is there, and leaves the head.
func (a *answers) encode(s *stated) error {
	a.encodings.Add(1)
	var err error
	if s.body, err = encoding.Marshal(s.head); err != nil {
		return status.Errorf(codes.Internal, "encode an answer: %v", err)
	}
	s.head = &rollcallv1.GetServiceResponse{Revision: s.head.GetRevision(), Stale: s.head.GetStale()}
	return nil
}

// mark tells in headers how current an answer is, and by what it is known. Who keeps it asks before he shows it, and keeps it for himself:
// another one may not have the right.
func (s *stated) mark(w http.ResponseWriter) {
	_ = mark(context.Background(), w, s.head) // which cannot fail
	if s.tag != "" {
		w.Header().Set("ETag", s.tag)
		w.Header().Set("Cache-Control", "private, no-cache")
	}
}

// names reports whether an If-None-Match has a tag. How the tag says that it is weak does not count.
func names(ifNoneMatch, tag string) bool {
	tag = strings.TrimPrefix(tag, "W/")
	for one := range strings.SplitSeq(ifNoneMatch, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == tag {
			return true
		}
	}
	return false
}
