package authz

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
)

// limits are how much one identity may have, on this server. 0 leaves it to what is said elsewhere.
type limits struct {
	Registrations int `yaml:"registrations"` // at a time
	Streams       int `yaml:"streams"`       // at a time
	Requests      int `yaml:"requests"`      // in a second, and twice as many at once
	Connections   int `yaml:"connections"`   // at a time, from one address
}

var defaultLimits = limits{Registrations: 1000, Streams: 1000, Requests: 1000, Connections: 1000}

func (l limits) check() error {
	if min(l.Registrations, l.Streams, l.Requests, l.Connections) < 0 {
		return errors.New("limits: a limit is 1 or more; 0 is the common one")
	}
	return nil
}

// limit returns how much an identity may have: what the first rule says that is for it and says so, else what is said for all.
func (r *rules) limit(name string, of func(limits) int) int {
	for _, one := range r.Rules {
		if n := of(one.Limits); n > 0 && one.isFor(name) {
			return n
		}
	}
	return cmp.Or(of(r.Limits), of(defaultLimits))
}

func exceeded(limit string, most int, text string) error {
	return refuse(codes.ResourceExhausted, "LIMIT", "limit of "+limit+": "+text, map[string]string{"limit": limit, "most": strconv.Itoa(most)})
}

const (
	manyAccounts = 4096            // from here on those that nobody uses are forgotten
	idleAccount  = 1 * time.Minute // after this time
)

// accounts are what each identity has.
type accounts struct {
	mu    sync.Mutex // taken before an account's
	all   map[string]*account
	swept time.Time
}

// account is what one identity has.
type account struct {
	refusals *rate.Limiter // that are written down
	ledger   ledger

	// Guarded by the accounts' mu.
	requests   *rate.Limiter
	streams    int
	suppressed int // refusals since the last that was written down
	used       time.Time
}

// of returns a caller's account.
func (as *accounts) of(c *caller) *account {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.ofLocked(c)
}

func (as *accounts) ofLocked(c *caller) *account {
	now := time.Now()
	if as.all == nil {
		as.all = map[string]*account{}
	}
	if len(as.all) >= manyAccounts && now.Sub(as.swept) > time.Second {
		as.sweep(now)
	}
	a := as.all[c.account()]
	if a == nil {
		a = &account{refusals: rate.NewLimiter(1, 10)}
		as.all[c.account()] = a
	}
	a.used = now
	return a
}

// sweep forgets the accounts that have nothing.
func (as *accounts) sweep(now time.Time) {
	as.swept = now
	for name, a := range as.all {
		if a.streams == 0 && now.Sub(a.used) > idleAccount && a.ledger.empty(now) {
			delete(as.all, name)
		}
	}
}

// spend takes one request off a caller's account.
func (as *accounts) spend(c *caller, r *rules) error {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.ofLocked(c)
	most := r.limit(c.name, ofRequests)
	if a.requests == nil || a.requests.Burst() != 2*most { // the rules have changed
		a.requests = rate.NewLimiter(rate.Limit(most), 2*most)
	}
	if a.requests.Allow() {
		return nil
	}
	return tooManyRequests(c, most)
}

func ofRequests(l limits) int { return l.Requests }

func tooManyRequests(c *caller, most int) error {
	return exceeded("requests", most, fmt.Sprintf("%s may make %d requests a second", c.account(), most))
}

// enter takes a stream, until leave is called.
func (as *accounts) enter(c *caller, r *rules) (leave func(), err error) {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.ofLocked(c)
	most := r.limit(c.name, func(l limits) int { return l.Streams })
	if a.streams >= most {
		return nil, exceeded("streams", most, fmt.Sprintf("%s may have %d streams at a time on this server", c.account(), most))
	}
	a.streams++
	return func() {
		as.mu.Lock()
		defer as.mu.Unlock()
		a.streams--
		a.used = time.Now()
	}, nil
}

// mayTell takes a refusal that is to be written down, and returns how many were not since the last one.
func (as *accounts) mayTell(c *caller) (suppressed int, may bool) {
	as.mu.Lock()
	defer as.mu.Unlock()
	a := as.ofLocked(c)
	if !a.refusals.Allow() {
		a.suppressed++
		return 0, false
	}
	suppressed, a.suppressed = a.suppressed, 0
	return suppressed, true
}
