package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall/internal/wire"
	"github.com/rollcall-io/rollcall/internal/without"
)

const (
	// maxWatchdog bounds how long one heartbeat may go unanswered before the next member is tried.
	maxWatchdog = 2 * time.Second

	// maxPatience bounds it where there is no other member.
	maxPatience = 5 * time.Second
)

// beat renews a lease until etcd says that it is gone (true), or it is not needed any more (false). However long etcd
// is away, it never gives the lease up by itself: etcd, when it comes back, gives every lease its full time anew.
//
// The first heartbeat comes at a random moment of the first period, and so does the first one after an outage: jitter
// alone leaves a fleet that was brought into step in step for minutes.
func (k *Keeper) beat(l *lease) (lost bool) {
	period := time.Duration(l.ttl) * time.Second / 3
	pulse := &pulse{k: k, l: l, watchdog: min(maxWatchdog, period/2)}
	defer pulse.end()
	switch {
	case without.Watchdog:
		pulse.watchdog = time.Hour
	case without.Patience:
		pulse.watchdog = 100 * time.Millisecond
	}
	next := phase(period)
	fresh := false // the stream is to bring a fresh token
	for attempt := 0; ; {
		select {
		case <-time.After(next):
		case <-l.over:
			return !k.unneeded(l)
		case <-k.ctx.Done():
			return false
		}
		ttl, err := pulse.once()
		switch {
		case err != nil && k.ctx.Err() != nil:
			return false
		case wire.TokenDied(err) && !fresh:
			next, fresh = 0, true
			continue
		case err != nil:
			next = wire.Backoff(attempt) / 2
			if err = fmt.Errorf("heartbeat: %w", err); wire.IsRefusal(err) {
				k.refused(err)
				next = min(refusalPause, period)
				k.evacuate(l, err)
			} else {
				k.missed(err)
			}
			attempt++
		case ttl <= 0:
			return true
		case attempt > 0:
			next, attempt = phase(period), 0
		default:
			next = jitter(period)
		}
		fresh = false
	}
}

// unneeded reports whether a lease ended because nothing was wanted on it.
func (k *Keeper) unneeded(l *lease) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return l.wanted == 0
}

// phase returns a random moment of a period.
func phase(d time.Duration) time.Duration {
	if without.Spread {
		return 0
	}
	return rand.N(d)
}

// jitter returns d ± 10 %.
func jitter(d time.Duration) time.Duration {
	if without.Spread {
		return d
	}
	return d - d/10 + rand.N(d/5)
}

// pulse is a heartbeat stream of our own, to one member after another.
type pulse struct {
	k        *Keeper
	l        *lease
	watchdog time.Duration
	failed   int // heartbeats in a row that came to nothing
	late     int // of them those that were not answered in time

	conn   *wire.Conn // nil: the stream is to be opened
	stream pb.Lease_LeaseKeepAliveClient
	ctx    context.Context // of the stream
	cancel context.CancelFunc
}

// once renews the lease once and returns its new TTL; 0 or less means that etcd does not know it. After an error the
// connection is dropped: the next try goes to the next member.
func (p *pulse) once() (ttl int64, err error) {
	if p.conn == nil {
		if p.conn, err = p.k.Line.Conn(); err != nil {
			return 0, err
		}
		p.ctx, p.cancel = context.WithCancel(p.conn.Context(p.k.ctx))
	}
	began, patience := time.Now(), p.patience()
	watchdog := time.AfterFunc(patience, p.cancel)
	ttl, err = p.exchange()
	hung := !watchdog.Stop()
	if hung {
		p.k.hung()
		p.late++
		err = fmt.Errorf("no answer in %v", patience) // an answer that just made it comes again
	}
	if err == nil {
		p.failed, p.late = 0, 0
		return ttl, nil
	}
	if p.k.ctx.Err() == nil { // not when it is we who end it: others go on using the connection
		err = fmt.Errorf("%s: %w", p.conn.Endpoint, err)
		p.k.Logger.Debug("heartbeat failed, trying again elsewhere", "lease", p.l.id, "err", err)
		p.reopen(err, hung, began)
	}
	return ttl, err
}

// patience returns how long a heartbeat may go unanswered. Where there is another member it is tried soon. But when all have been tried in vain,
// or where there is one only, etcd may have more to do than it can, as when a whole fleet comes back to it at once; and to begin anew then is
// more of that. So each round of all members has twice the time of the one before, up to half the TTL: who has just missed etcd's return has
// time for one more try.
func (p *pulse) patience() time.Duration {
	ttl := time.Duration(p.l.ttl) * time.Second
	members := max(p.k.Line.Members(), 1)
	patience := p.watchdog
	if members == 1 {
		patience = max(patience, min(maxPatience, ttl/3))
	}
	if without.Patience {
		return p.watchdog
	}
	return max(p.watchdog, min(patience<<min(p.late/members, 8), ttl/2))
}

// reopen sees that the next heartbeat is on a fresh stream. Nothing is wrong with the connection when etcd refused, nor
// when it has answered others meanwhile: a lease that has run out and is not revoked yet keeps its own renewal waiting.
func (p *pulse) reopen(err error, hung bool, since time.Time) {
	if without.Reopen {
		return
	}
	p.failed++
	if wire.IsRefusal(err) || hung && p.failed == 1 && p.conn.HeardSince(since) {
		p.end()
		p.conn, p.stream = nil, nil
		return
	}
	p.drop()
}

func (p *pulse) exchange() (ttl int64, err error) {
	if p.stream == nil {
		// A member that has lost its leader ends the stream instead of keeping us waiting.
		ctx := p.ctx
		if !without.Leader {
			ctx = clientv3.WithRequireLeader(ctx)
		}
		if p.stream, err = pb.NewLeaseClient(p.conn).LeaseKeepAlive(ctx); err != nil {
			return 0, err
		}
	}
	if err = p.stream.Send(&pb.LeaseKeepAliveRequest{ID: p.l.id}); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	resp, err := p.stream.Recv() // after an EOF of Send it knows the reason
	if err != nil {
		return 0, err
	}
	p.conn.Heard()
	p.conn.LookAtClient()
	p.k.beaten(p.l, wire.HeaderOf(resp.GetHeader()))
	return resp.TTL, nil
}

// drop ends the stream and the connection.
func (p *pulse) drop() {
	if p.conn == nil {
		return
	}
	p.cancel()
	p.k.Line.Drop(p.conn)
	p.conn, p.stream = nil, nil
}

// end ends the stream only: other leases share the connection.
func (p *pulse) end() {
	if p.conn != nil {
		p.cancel()
	}
}
