package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

const (
	probePeriod  = 3 * time.Second // ± 20 %
	probeTimeout = 2 * time.Second

	// lagTimeout is how long the watches may take to reach a revision that a probe has seen.
	lagTimeout = 2 * time.Second
)

// Source is what the followers of one registry share: a connection to etcd, one watch stream on it, and a probe.
//
// The probe is a small linearizable read through the same connection, so that it notices what a watch does not tell: a
// member that hangs, a store that was wiped or restored under the watches, a watch that has fallen behind. No other
// answer proves that what is known is current: the header of a heartbeat, say, is of the member's own store, which may
// lag by thousands of revisions.
type Source struct {
	line    *wire.Line
	watches *wire.Watches
	logger  *slog.Logger

	mu        sync.Mutex
	followers map[*Follower]struct{} // those that run

	seen  Header // the newest proof of where etcd is
	epoch int    // counts the breaks of etcd's history

	pace pace // of lists
}

// NewSource returns a source; it does nothing before Run.
func NewSource(line *wire.Line, logger *slog.Logger) *Source {
	return &Source{line: line, watches: wire.NewWatches(line), logger: logger, followers: map[*Follower]struct{}{}}
}

// Run serves the followers until ctx ends.
func (s *Source) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.watches.Run(ctx) })
	for wire.Sleep(ctx, probePeriod*4/5+rand.N(probePeriod*2/5)) {
		if !without.Probe {
			s.probe(ctx)
		}
	}
}

// List reads everything under a prefix as it is now, at one revision, and calls visit for each key in order. The read
// is linearizable: it contains every write that was acknowledged to anybody before. When it fails, begin and visit may have
// been called, and the next List goes to the next member.
func (s *Source) List(ctx context.Context, prefix string, begin Begin, visit Visit) (Header, error) {
	return s.list(ctx, &lister{key: prefix, begin: begin, visit: visit})
}

// ListKeys is List without values and leases.
func (s *Source) ListKeys(ctx context.Context, prefix string, visit Visit) (Header, error) {
	return s.list(ctx, &lister{key: prefix, visit: visit, keysOnly: true})
}

func (s *Source) list(ctx context.Context, l *lister) (h Header, err error) {
	if !s.pace.wait(ctx) {
		return Header{}, ctx.Err()
	}
	if l.conn, err = s.line.Conn(); err != nil {
		return Header{}, err
	}
	l.end = clientv3.GetPrefixRangeEnd(l.key)
	h, err = l.list(ctx)
	if err != nil && !wire.IsRefusal(err) && !isCompacted(err) && !isFuture(err) && ctx.Err() == nil {
		s.pace.failed(l.conn, s.line.Members())
		s.line.DropAfter(l.conn, err)
		return h, fmt.Errorf("%s: %w", l.conn.Endpoint, err)
	}
	if err == nil {
		s.pace.succeeded()
	}
	return h, err
}

func isFuture(err error) bool { return errors.Is(wire.EtcdError(err), rpctypes.ErrFutureRev) }

func isCompacted(err error) bool { return errors.Is(wire.EtcdError(err), rpctypes.ErrCompacted) }

// held returns the position of each follower that has listed, and the newest one of the present epoch.
func (s *Source) held() (positions map[*Follower]Header, newest Header, epoch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions, newest = make(map[*Follower]Header, len(s.followers)), s.seen
	for f := range s.followers {
		h, of := f.position()
		if h.Revision == 0 {
			continue
		}
		positions[f] = h
		if of == s.epoch && h.Revision > newest.Revision {
			newest = h
		}
	}
	return positions, newest, s.epoch
}

// probe reads once, and tells every follower what the answer means for what it held when the read was sent.
func (s *Source) probe(ctx context.Context) {
	positions, newest, epoch := s.held()
	if len(positions) == 0 {
		return
	}
	conn, err := s.line.Conn()
	if err != nil {
		return
	}
	header, err := s.readAny(ctx, conn, positions)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && wire.IsRefusal(err):
		s.logger.Debug("probe refused", "err", err)
		for f := range positions {
			f.doubt() // nothing proves any more that it is current
		}
		return
	case err != nil:
		s.logger.Debug("probe failed, trying the next member", "endpoint", conn.Endpoint, "err", err)
		s.line.Drop(conn) // with all watches on it: they begin again on the next member
		return
	}
	conn.LookAtClient()
	now := s.note(header, newest, epoch)
	behind := false
	for f, held := range positions {
		f.lost(now, header)
		behind = behind || header.Revision > held.Revision
	}
	if behind && !s.watches.Reach(ctx, header.Revision, lagTimeout) && ctx.Err() == nil {
		s.logger.Debug("watch lags behind, trying the next member", "endpoint", conn.Endpoint, "revision", header.Revision)
		s.line.Drop(conn)
	}
}

// newest returns where etcd was last known to be, and in which epoch of its history: what the answer to a read that is sent
// now is compared with.
func (s *Source) newest() (Header, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.epoch
}

// note takes an answer to a read, with where etcd was known to be when that was sent, and returns the epoch that the answer
// is of.
func (s *Source) note(now, held Header, epoch int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	broke := now.Before(held)
	switch {
	case broke && s.epoch == epoch:
		s.seen = now
		s.epoch++
	case s.epoch != epoch && !broke:
		return epoch // it may be an answer of the history before
	case !now.Before(s.seen):
		s.seen = now
	}
	return s.epoch
}

// broke notes a break that no header has told, found at an epoch, and returns the epoch that has begun.
func (s *Source) broke(now Header, epoch int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		s.seen = now
		s.epoch++
	}
	return s.epoch
}

// maxRefused bounds how many followers' prefixes a probe tries. A role may allow some of them and not others.
const maxRefused = 5

// readAny reads from one of the followers' prefixes, the next one when etcd does not allow it.
func (s *Source) readAny(ctx context.Context, conn *wire.Conn, positions map[*Follower]Header) (h Header, err error) {
	refused := 0
	for f := range positions {
		h, err = s.read(ctx, conn, f.prefix)
		if refused++; err == nil || !wire.IsRefusal(err) || refused == maxRefused {
			return h, err
		}
	}
	return h, err
}

func (s *Source) read(ctx context.Context, conn *wire.Conn, key string) (Header, error) {
	ctx, cancel := conn.Call(ctx, probeTimeout)
	defer cancel()
	resp, err := conn.KV().Get(ctx, key)
	if err != nil {
		return Header{}, err
	}
	return wire.HeaderOf(resp.Header), nil
}

// Header says where in etcd's history an answer is from.
type Header = wire.Header

func (s *Source) add(f *Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.followers[f] = struct{}{}
}

func (s *Source) remove(f *Follower) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.followers, f)
}

// LeaseAlive reports whether a lease has time left.
func (s *Source) LeaseAlive(ctx context.Context, id int64) (bool, error) {
	conn, err := s.line.Conn()
	if err != nil {
		return false, err
	}
	ctx, cancel := conn.Call(ctx, probeTimeout)
	defer cancel()
	resp, err := pb.NewLeaseClient(conn).LeaseTimeToLive(ctx, &pb.LeaseTimeToLiveRequest{ID: id})
	return err == nil && resp.TTL > 0, err
}
