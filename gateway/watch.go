package gateway

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// How long a server may take for a stream's first word: it waits for etcd if it has just begun, and until it is as far as the client.
const (
	firstWord = 12 * time.Second
	nextWord  = 3 * time.Second // of one that goes on: meanwhile what is known looks current
)

// Watch implements [rollcall.Remote].
func (r *remote) Watch(ctx context.Context, service string, tell func(rollcall.News)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	w := &watch{service: service, tell: tell}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		conn, err := r.line.get()
		if err == nil {
			err = w.follow(ctx, conn, r.line.heard)
		}
		if ctx.Err() != nil {
			return
		}
		if w.heard {
			attempt, w.heard = 0, false
		}
		w.lost(err)
		if transient(err) {
			r.line.drop(conn, err)
		}
		if !pause(ctx, attempt) {
			return
		}
	}
}

// watch is what one service's watch remembers from stream to stream.
type watch struct {
	service  string
	tell     func(rollcall.News)
	revision int64 // of what was told last; 0 before that
	digest   uint64
	heard    bool      // something came on the stream
	silent   time.Time // since when nothing can; zero while a stream lives
	policy   *rollcall.Policy
}

// follow tells what one stream brings.
func (w *watch) follow(ctx context.Context, conn *grpc.ClientConn, heard func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(w.patience(), cancel)
	defer late.Stop()
	stream, err := rollcallv1.NewDiscoveryServiceClient(conn).Watch(ctx, &rollcallv1.WatchRequest{
		Service: w.service, Revision: w.revision, Digest: w.digest,
	}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		resp, err := stream.Recv()
		if err != nil {
			return err
		}
		late.Stop()
		w.silent, w.heard = time.Time{}, true
		heard()
		w.take(resp)
	}
}

func (w *watch) patience() time.Duration {
	if w.revision == 0 {
		return firstWord
	}
	return nextWord
}

func (w *watch) take(resp *rollcallv1.WatchResponse) {
	n := rollcall.News{Revision: resp.GetRevision(), Complete: resp.GetSnapshot(), Reset: resp.GetReset_(), Policy: w.policyOf(resp.GetPolicy())}
	if stale := resp.GetStale(); stale != nil {
		n.StaleSince, n.StaleErr = stale.GetSince().AsTime(), errors.New(stale.GetReason())
	}
	for _, u := range resp.GetUpdates() {
		n.Updates = append(n.Updates, message.UpdateOf(u))
	}
	w.revision, w.digest = resp.GetRevision(), resp.GetDigest()
	w.tell(n)
}

// policyOf reads a policy, once for each that is new. One that cannot be read is of a later version, and none.
func (w *watch) policyOf(m *rollcallv1.Policy) *rollcall.Policy {
	switch {
	case m == nil:
		w.policy = nil
	case w.policy == nil || w.policy.Revision != m.GetRevision():
		w.policy = nil
		if p, err := message.PolicyOf(m); err == nil {
			w.policy = &p
		}
	}
	return w.policy
}

// lost notes that the stream broke, and says so if none was had for a while.
func (w *watch) lost(err error) {
	if w.silent.IsZero() {
		w.silent = time.Now()
		if transient(err) {
			return // the next server may answer at once
		}
	}
	w.tell(rollcall.News{Silent: true, StaleSince: w.silent, StaleErr: refusal(err)})
}

func viewOf(service string, resp *rollcallv1.GetServiceResponse) *rollcall.View {
	v := &rollcall.View{Service: service, Revision: resp.GetRevision()}
	for _, i := range resp.GetInstances() {
		v.Instances = append(v.Instances, message.InstanceOf(i))
	}
	if resp.GetPolicy() != nil {
		if p, err := message.PolicyOf(resp.GetPolicy()); err == nil {
			v.Policy = &p
		}
	}
	if stale := resp.GetStale(); stale != nil {
		v.StaleSince, v.StaleErr = stale.GetSince().AsTime(), errors.New(stale.GetReason())
	}
	return v
}
