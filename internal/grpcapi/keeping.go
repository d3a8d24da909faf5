package grpcapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
)

// expiryTimeout bounds how long etcd may take to hear that a program has fallen silent.
const expiryTimeout = 10 * time.Second

// keeping is a registration that the server keeps for a program, for as long as that is heard of.
type keeping struct {
	service, id string
	ttl         time.Duration
	r           *rollcall.Registration
	token       [sha256.Size]byte // of its secret, the hash

	// Guarded by the keepings' mu.
	sessions int       // that hold it
	heard    time.Time // the program, last
	timer    *time.Timer
}

// owns reports whether a token is the keeping's.
func (k *keeping) owns(token string) bool {
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], k.token[:]) == 1
}

type keepingKey struct{ service, id string }

// keepings are all that a server keeps.
type keepings struct {
	logger *slog.Logger
	wg     sync.WaitGroup // of the goodbyes of those that have fallen silent

	mu     sync.Mutex // never held across I/O
	kept   map[keepingKey]*keeping
	closed bool
}

func newKeepings(logger *slog.Logger) *keepings {
	return &keepings{logger: logger, kept: map[keepingKey]*keeping{}}
}

func (ks *keepings) get(service, id string) *keeping {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	return ks.kept[keepingKey{service, id}]
}

// keep takes a registration on, in place of a former one of the same id. A program that is not heard of for its TTL is taken for dead.
func (ks *keepings) keep(r *rollcall.Registration, token string) *keeping {
	inst := r.Instance()
	k := &keeping{service: r.Service(), id: inst.ID, ttl: inst.TTL, r: r, token: sha256.Sum256([]byte(token)), heard: time.Now()}
	key := keepingKey{k.service, k.id}
	ks.mu.Lock()
	defer ks.mu.Unlock()
	former := ks.kept[key]
	switch {
	case ks.closed:
		r.Detach()
		return k
	case r.Err() != nil:
		return k // of two at once the other one has it; that one's is kept, or will be
	case former != nil:
		ks.forgetLocked(former)
	}
	k.timer = time.AfterFunc(k.ttl, func() { ks.late(k) })
	ks.kept[key] = k
	return k
}

// hear notes that a program is alive.
func (ks *keepings) hear(k *keeping) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k.heard = time.Now()
}

// hold and letGo say that a session holds a registration, and no longer does: then it has one TTL to come back.
func (ks *keepings) hold(k *keeping) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k.sessions++
}

func (ks *keepings) letGo(k *keeping) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	k.sessions--
	k.heard = time.Now()
}

// late looks whether a program has fallen silent.
func (ks *keepings) late(k *keeping) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.closed || ks.kept[keepingKey{k.service, k.id}] != k {
		return
	}
	left := k.ttl
	if k.sessions == 0 {
		left = time.Until(k.heard.Add(k.ttl))
	}
	if left > 0 {
		k.timer.Reset(left)
		return
	}
	ks.forgetLocked(k)
	ks.wg.Go(func() { ks.expire(k) })
}

func (ks *keepings) expire(k *keeping) {
	if k.r.Err() != nil {
		return // another server keeps it, or somebody else has the id
	}
	ks.logger.Info("a registered program has fallen silent", "service", k.service, "instance", k.id, "ttl", k.ttl)
	ctx, cancel := context.WithTimeout(context.Background(), expiryTimeout)
	defer cancel()
	if err := k.r.Expire(ctx); err != nil {
		ks.logger.Warn("a program that has fallen silent is not removed yet, etcd does not answer", "service", k.service, "instance", k.id, "err", err)
	}
}

func (ks *keepings) forget(k *keeping) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ks.forgetLocked(k)
}

func (ks *keepings) forgetLocked(k *keeping) {
	if k.timer != nil {
		k.timer.Stop()
	}
	if key := (keepingKey{k.service, k.id}); ks.kept[key] == k {
		delete(ks.kept, key)
	}
}

// close leaves everything that is kept to the servers that go on, or to this one's next life: who comes back within a TTL is not missed.
func (ks *keepings) close() {
	ks.mu.Lock()
	ks.closed = true
	all := make([]*keeping, 0, len(ks.kept))
	for _, k := range ks.kept {
		k.timer.Stop()
		all = append(all, k)
	}
	ks.mu.Unlock()
	for _, k := range all {
		k.r.Detach()
	}
	ks.wg.Wait()
}
