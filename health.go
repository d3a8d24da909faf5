package rollcall

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rollcall-io/rollcall/internal/lease"
)

// Health is what somebody who looked found out about an instance, beside what it says of itself. It belongs to one incarnation: the
// instance's restart begins anew.
type Health struct {
	Failing bool      // it is unhealthy: registered, and not to be called while others are
	Since   time.Time // when that was found
	Detail  string    // what was met, in a few words; at most 253 bytes
	Checker string    // who looked; at most 253 bytes

	Revision int64 // etcd's, of the report; set by rollcall
}

// Healthy reports that nothing is known against the instance. See [Instance.Check].
func (i *Instance) Healthy() bool { return i.Health == nil || !i.Health.Failing }

// healthName is the name of a report's key among those of control, before the id.
const healthName = "health/"

func (l layout) healthKey(service, id string) string {
	return l.controlDir(service) + healthName + escapeID(id)
}

// healthRecord is a report as it lies in etcd. Its own incarnation is for the lease engine, which keeps it as it does instances.
type healthRecord struct {
	Failing     bool      `json:"Failing"`
	Since       time.Time `json:"Since,omitzero"`
	Detail      string    `json:"Detail,omitempty"`
	Checker     string    `json:"Checker,omitempty"`
	Of          string    `json:"Of,omitempty"` // the incarnation that it is about
	Incarnation string    `json:"Incarnation"`
	Holder      string    `json:"Holder"`
	TTL         int64     `json:"TTL"`
}

// finding is a report and whom it is about.
type finding struct {
	Health

	of string
}

func decodeHealth(value []byte) (*finding, error) {
	if len(value) > maxReadLen {
		return nil, errTooLarge
	}
	var r healthRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return nil, err
	}
	return &finding{Health{Failing: r.Failing, Since: r.Since, Detail: r.Detail, Checker: r.Checker}, r.Of}, nil
}

// sameHealth compares what two reports say; their revisions do not count.
func sameHealth(a, b *Health) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Failing == b.Failing && a.Since.Equal(b.Since) && a.Detail == b.Detail && a.Checker == b.Checker
}

func (h *Health) validate() error {
	switch {
	case len(h.Detail) > maxLabelLen || !utf8.ValidString(h.Detail):
		return invalid("Health.Detail", h.Detail, "a detail is at most 253 bytes of UTF-8")
	case len(h.Checker) > maxLabelLen || !utf8.ValidString(h.Checker):
		return invalid("Health.Checker", h.Checker, "a checker is at most 253 bytes of UTF-8")
	}
	return nil
}

// ReportHealth tells all watchers what was found out about an instance's incarnation. The report stays as long as this registry lives,
// unless nil takes it back, or another registry reports on the same instance: the last one counts. It is for programs that check others,
// as servers do; only a registry on etcd can report, another one returns [errors.ErrUnsupported].
//
// When ctx ends before etcd has confirmed the write the error is an [UnreachableError], and what was reported before stands.
func (r *Registry) ReportHealth(ctx context.Context, service, id, incarnation string, h *Health) error {
	err := r.check(service)
	if err == nil {
		err = validateID(id)
	}
	if err == nil && h != nil {
		err = h.validate()
	}
	if err == nil {
		e, ok := r.engine.(*etcd)
		switch {
		case !ok:
			err = errors.ErrUnsupported
		case h == nil:
			err = e.withdrawHealth(ctx, service, id)
		default:
			err = e.reportHealth(ctx, service, id, incarnation, *h)
		}
	}
	if err != nil {
		return fmt.Errorf("report health of %s/%s: %w", service, shorten(id), err)
	}
	return nil
}

// reports are those of a registry that stand, by key.
type reports struct {
	mu    sync.Mutex
	holds map[string]*lease.Hold
}

// take returns a key's hold, and forgets it; nil when there is none.
func (r *reports) take(key string) *lease.Hold {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.holds[key]
	delete(r.holds, key)
	return h
}

func (r *reports) put(key string, h *lease.Hold) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holds == nil {
		r.holds = map[string]*lease.Hold{}
	}
	r.holds[key] = h
}

// reportHealth is for one caller at a time for each instance.
func (r *etcd) reportHealth(ctx context.Context, service, id, incarnation string, h Health) error {
	key := r.layout.healthKey(service, id)
	record := healthRecord{
		Failing: h.Failing, Since: h.Since.UTC(), Detail: h.Detail, Checker: h.Checker, Of: incarnation,
		Incarnation: rand.Text(), Holder: r.holder, TTL: int64(DefaultTTL / time.Second),
	}
	value, err := json.Marshal(record)
	if err != nil {
		return err
	}
	began := time.Now()
	hold, err := r.keeper.Hold(ctx, lease.Spec{Key: key, TTL: record.TTL, Incarnation: record.Incarnation, Value: value})
	if hold != nil {
		r.reports.put(key, hold)
	}
	return r.pending(ctx, began, err)
}

func (r *etcd) withdrawHealth(ctx context.Context, service, id string) error {
	hold := r.reports.take(r.layout.healthKey(service, id))
	if hold == nil {
		return nil
	}
	began := time.Now()
	return r.pending(ctx, began, hold.Release(ctx))
}
