package follow

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/rollcall-io/rollcall/internal/wire"
)

// What etcd tells a watch of the past is a thousand revisions at a time, and each time it reads all that there is from there to now, while
// nobody can write. One watch that begins far back costs it the square of that. Many watches are served from one such read: so a long past is
// read by many at once, each for the thousand revisions that it begins with.
const (
	stride  = 1000
	strides = 50

	// quiet is for how long a watch may say nothing while others do: etcd has nothing for it.
	quiet = 500 * time.Millisecond
	// slow is for how long none of them may say anything: if etcd has something, it reads that first.
	slow = 3 * time.Second
)

// rewind tells what happened up to a revision, or most of it: the watch that follows tells the rest.
func (r *replay) rewind(ctx context.Context, conn *wire.Conn, head int64) error {
	for head-r.at.Revision > 2*stride {
		at := r.at.Revision
		if err := r.leap(ctx, conn, head); err != nil || r.at.Revision == at {
			return err
		}
	}
	return nil
}

// part is what one of many watches has told.
type part struct {
	from, to int64 // the revisions that it is for
	events   []*mvccpb.Event
	done     bool
}

// leap reads some thousand revisions by many watches, and tells them.
func (r *replay) leap(ctx context.Context, conn *wire.Conn, head int64) error {
	ctx, cancel := context.WithCancel(conn.Context(ctx))
	raw, err := pb.NewWatchClient(conn).Watch(clientv3.WithRequireLeader(ctx), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		cancel()
		return err
	}
	var parts []*part
	for from := r.at.Revision + 1; from <= head && len(parts) < strides; from += stride {
		parts = append(parts, &part{from: from, to: min(from+stride-1, head)})
	}
	responses := make(chan *pb.WatchResponse)
	failed := make(chan error, 1)
	var hearing sync.WaitGroup
	defer hearing.Wait()
	defer cancel()
	hearing.Go(func() { failed <- hear(ctx, raw, responses) })
	for n, p := range parts {
		if err := raw.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: &pb.WatchCreateRequest{
			Key: []byte(r.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(r.prefix)), StartRevision: p.from, WatchId: int64(n + 1),
			PrevKv: true, Fragment: true,
		}}}); err != nil {
			return <-failed // it says why
		}
	}
	if err := r.gather(ctx, parts, responses, failed); err != nil {
		return err
	}
	for _, p := range parts {
		if !p.done {
			break
		}
		r.tellPart(p)
	}
	return nil
}

// hear hands on what a stream says.
func hear(ctx context.Context, raw pb.Watch_WatchClient, to chan<- *pb.WatchResponse) error {
	for {
		resp, err := raw.Recv()
		if err != nil {
			return err
		}
		select {
		case to <- resp:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gather takes what the watches say until each has told its part, or etcd has nothing for those that have not.
func (r *replay) gather(ctx context.Context, parts []*part, responses <-chan *pb.WatchResponse, failed <-chan error) error {
	patience := time.NewTimer(slow)
	defer patience.Stop()
	for left := len(parts); left > 0; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-failed:
			return err
		case <-patience.C:
			return nil
		case resp := <-responses:
			switch {
			case resp.Canceled:
				return r.cancelled(resp)
			case resp.Created || len(resp.Events) == 0:
				continue
			case resp.WatchId < 1 || resp.WatchId > int64(len(parts)):
				return fmt.Errorf("etcd told of a watch %d that nobody made", resp.WatchId)
			}
			p := parts[resp.WatchId-1]
			if p.done { // what comes after its part is for others to tell
				continue
			}
			if p.events = append(p.events, resp.Events...); !resp.Fragment {
				p.done = true // a thousand revisions that concern us are at least a thousand
				left--
				patience.Reset(quiet)
			}
		}
	}
	return nil
}

// tellPart tells what one of the watches was for.
func (r *replay) tellPart(p *part) {
	end := len(p.events)
	for end > 0 && p.events[end-1].Kv.ModRevision > p.to {
		end--
	}
	if end > 0 {
		r.to.Events(p.events[:end])
	}
	p.events = nil
	r.at.Revision = p.to
}
