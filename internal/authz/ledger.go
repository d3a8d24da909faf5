package authz

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	heartbeatsPerTTL = 3                // as the API says how often to send them
	provisional      = 30 * time.Second // for what is being registered
)

type key struct{ service, id string }

// ledger has the registrations that an identity has by this server: as far as its requests and their answers tell, which is when each ends
// if nothing more is heard.
type ledger struct {
	mu   sync.Mutex
	kept map[key]kept
}

type kept struct {
	until    time.Time
	sessions int // that hold it
}

func (k kept) live(now time.Time) bool { return k.sessions > 0 || now.Before(k.until) }

// take adds a registration, unless there are as many as there may be; fresh is whether it was not there.
func (l *ledger) take(k key, most int) (fresh, ok bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if one, there := l.kept[k]; there && one.live(now) {
		return false, true
	}
	delete(l.kept, k)
	if len(l.kept) >= most {
		l.prune(now)
	}
	if len(l.kept) >= most {
		return false, false
	}
	l.touchLocked(k, provisional)
	return true, true
}

func (l *ledger) prune(now time.Time) {
	for k, one := range l.kept {
		if !one.live(now) {
			delete(l.kept, k)
		}
	}
}

// touch has a registration last for a TTL from now.
func (l *ledger) touch(k key, ttl time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.touchLocked(k, ttl)
}

func (l *ledger) touchLocked(k key, ttl time.Duration) {
	if l.kept == nil {
		l.kept = map[key]kept{}
	}
	one := l.kept[k]
	one.until = time.Now().Add(ttl)
	l.kept[k] = one
}

func (l *ledger) drop(k key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.kept, k)
}

func (l *ledger) empty(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prune(now)
	return len(l.kept) == 0
}

// hold and letGo say that a session holds a registration, and no longer does: it lasts for a TTL then, or, with 0, not at all.
func (a *account) hold(k key) {
	l := &a.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept == nil {
		l.kept = map[key]kept{}
	}
	one := l.kept[k]
	one.sessions++
	l.kept[k] = one
}

func (a *account) letGo(k key, ttl time.Duration) {
	l := &a.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	one, there := l.kept[k]
	if !there {
		return // deregistered otherwise
	}
	one.sessions = max(one.sessions-1, 0)
	one.until = time.Now().Add(ttl)
	l.kept[k] = one
	if !one.live(time.Now()) {
		delete(l.kept, k)
	}
}

// entry is what a request does to the ledger when it is answered.
type entry struct {
	ledger *ledger
	key    key
	method string
	fresh  bool
}

var noEntry = &entry{}

// reserve takes what a request needs.
func (g *Guard) reserve(c *caller, a ask, name string, req any) (*entry, error) {
	if a.verb != register || a.some {
		return noEntry, nil
	}
	e := &entry{ledger: &g.accounts.of(c).ledger, key: key{a.service, a.id}, method: name}
	asked, is := req.(*rollcallv1.RegisterRequest)
	if !is {
		return e, nil
	}
	if e.key.id == "" {
		e.key.id = asked.GetInstance().GetAddr()
	}
	most := g.rules.Load().limit(c.name, func(l limits) int { return l.Registrations })
	fresh, ok := e.ledger.take(e.key, most)
	if !ok {
		err := exceeded("registrations", most, fmt.Sprintf("%s may have %d registrations at a time on this server", c.account(), most))
		return nil, g.denied(c, record{method: name, ask: a, err: err})
	}
	e.fresh = fresh
	return e, nil
}

// settle notes what came of a request.
func (e *entry) settle(resp any, err error) {
	switch {
	case e.ledger == nil:
	case err != nil && e.fresh:
		e.ledger.drop(e.key)
	case err != nil:
	case e.method == rollcallv1.RegistrationService_Deregister_FullMethodName:
		e.ledger.drop(e.key)
	default:
		if ttl := ttlOf(resp); ttl > 0 {
			e.ledger.touch(e.key, ttl)
		}
	}
}

// ttlOf returns the TTL that an answer tells of; 0 when it tells of none.
func ttlOf(resp any) time.Duration {
	if one, ok := resp.(interface{ GetHeartbeatInterval() *durationpb.Duration }); ok {
		return one.GetHeartbeatInterval().AsDuration() * heartbeatsPerTTL
	}
	if one, ok := resp.(instance); ok {
		return one.GetInstance().GetTtl().AsDuration()
	}
	return 0
}
