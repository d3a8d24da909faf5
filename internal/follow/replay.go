package follow

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/internal/wire"
)

const (
	replayTick = time.Second

	// replayPatience is how long a replay's stream may be silent. While etcd reads its past for us it does not answer questions.
	replayPatience = 20 * time.Second
)

// Replay is told a prefix's history. Its methods are called one at a time, and may block: then etcd holds back.
type Replay interface {
	// Begin says that what follows, by Present, is every key as of a revision. It is called first, and again when what came next cannot be
	// told: because etcd has compacted it away or, with reset, because its history broke.
	Begin(at Header, reset bool)
	Present(kv *mvccpb.KeyValue)

	// Events tells what happened next, complete revisions, with what was there before.
	Events(events []*mvccpb.Event)

	// CaughtUp says that everything up to a revision has been told. It is called again and again.
	CaughtUp(revision int64)

	// Trouble says why etcd cannot be read now; it is tried again.
	Trouble(err error)
}

// replay is one Replay that runs.
type replay struct {
	source *Source
	prefix string
	back   int64 // how many revisions the first Begin lies back at most
	to     Replay

	begun bool
	reset bool   // the history broke, and that is yet to be told by the next Begin
	from  int64  // where to begin, when that is known; 0: it is not
	at    Header // of what was told last
	epoch int
}

// Replay tells the history of a prefix, from as far back as etcd remembers or from so many revisions ago, and what happens from then on, until
// ctx ends. Unlike a [Follower] it leaves nothing out.
func (s *Source) Replay(ctx context.Context, prefix string, back int64, to Replay) {
	r := &replay{source: s, prefix: prefix, back: back, to: to}
	for attempt := 0; ctx.Err() == nil; attempt++ {
		told := r.at
		err := r.run(ctx)
		if r.at != told {
			attempt = 0
		}
		pause := wire.Backoff(attempt)
		switch {
		case ctx.Err() != nil:
			return
		case isCompacted(err):
			pause = 0
		case wire.IsRefusal(err):
			pause = wire.RefusalBackoff(attempt)
			fallthrough
		default:
			to.Trouble(err)
		}
		if !wire.Sleep(ctx, pause) {
			return
		}
	}
}

// run tells the history until something fails.
func (r *replay) run(ctx context.Context) error {
	conn, err := r.source.line.Conn()
	if err != nil {
		return err
	}
	held, epoch := r.source.newest()
	now, err := r.source.read(ctx, conn, r.prefix)
	if err != nil {
		return r.failed(ctx, conn, err)
	}
	epoch, r.epoch = r.epoch, r.source.note(now, held, epoch)
	switch {
	case !r.begun:
		r.from = max(r.from, now.Revision-r.back, 1)
		err = r.begin(ctx, conn)
	case epoch != r.epoch || now.Before(r.at):
		r.from, r.reset = 1, true
		err = r.begin(ctx, conn)
	case r.from > 0: // what came next was compacted away
		err = r.begin(ctx, conn)
	}
	if err == nil {
		err = r.rewind(ctx, conn, now.Revision)
	} else if isCompacted(err) { // the watch says from where on etcd remembers
		err = nil
	}
	if err == nil {
		err = r.watch(ctx, conn)
	}
	return r.failed(ctx, conn, err)
}

// failed has the next try go to another member, unless etcd has answered.
func (r *replay) failed(ctx context.Context, conn *wire.Conn, err error) error {
	if err == nil || ctx.Err() != nil || wire.IsRefusal(err) || isCompacted(err) || errors.Is(err, errBrokeHistory) {
		return err
	}
	r.source.line.DropAfter(conn, err)
	return fmt.Errorf("%s: %w", conn.Endpoint, err)
}

// begin tells all keys as of the revision to begin from. When etcd does not remember that the watch that follows will say what it does.
func (r *replay) begin(ctx context.Context, conn *wire.Conn) error {
	told := false
	l := &lister{conn: conn, key: r.prefix, end: clientv3.GetPrefixRangeEnd(r.prefix), at: Header{Revision: r.from}}
	tell := func(at Header) {
		if !told {
			told = true
			r.to.Begin(Header{Cluster: at.Cluster, Term: at.Term, Revision: r.from}, r.reset)
		}
	}
	l.visit = func(at Header, kv *mvccpb.KeyValue) {
		tell(at)
		r.to.Present(kv)
	}
	at, err := l.list(ctx)
	if err != nil {
		if isCompacted(err) {
			r.at = Header{Revision: r.from - 1}
		}
		return err
	}
	tell(at)
	at.Revision = r.from
	r.begun, r.reset, r.from, r.at = true, false, 0, at
	return nil
}

var errBrokeHistory = errors.New("etcd's history broke")

// watch tells what comes after what was told.
func (r *replay) watch(ctx context.Context, conn *wire.Conn) error {
	ctx, cancel := context.WithCancelCause(conn.Context(ctx))
	defer cancel(nil)
	raw, err := pb.NewWatchClient(conn).Watch(clientv3.WithRequireLeader(ctx), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return err
	}
	// Not from the next revision on: while there is none yet, etcd would not say how far the stream is.
	if err := raw.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
		Key: []byte(r.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(r.prefix)), StartRevision: max(r.at.Revision, 1),
		PrevKv: true, Fragment: true,
	}}}); err != nil {
		return err
	}
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel(nil)
	watchdog := time.AfterFunc(replayPatience, func() { cancel(errors.New("it falls silent")) })
	defer watchdog.Stop()
	asking.Go(func() {
		if err := r.ask(ctx, raw); err != nil {
			cancel(err)
		}
	})

	var partial []*mvccpb.Event
	for {
		resp, err := raw.Recv()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				return cause
			}
			return err
		}
		watchdog.Reset(replayPatience)
		if resp.Canceled {
			return r.cancelled(resp)
		}
		if resp.Created {
			continue
		}
		if partial = append(partial, resp.Events...); resp.Fragment {
			continue
		}
		r.take(partial, resp.Header)
		partial = nil
	}
}

// take tells what a response says. One without events says that there were none.
func (r *replay) take(events []*mvccpb.Event, header *pb.ResponseHeader) {
	if len(events) > 0 {
		for len(events) > 0 && events[0].Kv.ModRevision <= r.at.Revision { // told already
			events = events[1:]
		}
		if n := len(events); n > 0 {
			r.to.Events(events)
			r.at.Revision = events[n-1].Kv.ModRevision
		}
		return
	}
	r.at.Revision = max(r.at.Revision, header.GetRevision())
	r.to.CaughtUp(r.at.Revision)
}

func (r *replay) cancelled(resp *pb.WatchResponse) error {
	if resp.CompactRevision == 0 {
		return reasonOf(resp)
	}
	r.from = resp.CompactRevision
	return rpctypes.ErrCompacted
}

func reasonOf(resp *pb.WatchResponse) error {
	if err := rpctypes.Error(errors.New(resp.CancelReason)); wire.IsRefusal(err) {
		return err
	}
	return fmt.Errorf("etcd cancelled the watch: %s", resp.CancelReason)
}

// ask asks etcd now and then how far the stream is, and ends when another epoch has begun.
func (r *replay) ask(ctx context.Context, raw pb.Watch_WatchClient) error {
	tick := time.NewTicker(replayTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, epoch := r.source.newest(); r.begun && epoch != r.epoch {
			return errBrokeHistory
		}
		if err := raw.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}}); err != nil {
			return nil // Recv says why
		}
	}
}

// ListAt is List of what was there at a revision.
func (s *Source) ListAt(ctx context.Context, prefix string, revision int64, visit Visit) error {
	_, err := s.list(ctx, &lister{key: prefix, visit: visit, at: Header{Revision: revision}})
	return err
}
