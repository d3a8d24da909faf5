package simulation

import (
	"maps"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// oracle reads the cluster's own history and judges by it. It uses nothing of the library.
type oracle struct {
	w     *world
	read  int // revisions of the history
	eras  []*era
	stays map[string][]*stay // of each id, all there ever were

	blind     bool               // does not look at the present of views: it is known that something is lacking
	amiss     map[string]absence // live instances whose key is not theirs now
	strangers map[int64]bool     // leases that are no registrar's
}

// era is the history of the store between two wipes or restores.
type era struct {
	began    time.Time
	revision int64           // of the store when the era began
	base     map[string]fact // what it held then
	ghosts   map[int64]bool  // leases that had ended before, and came back with a backup
	now      map[string]fact // what the store holds at the end of changes
	changes  []change
}

// change is one revision that touched the service.
type change struct {
	revision int64
	at       time.Time
	cause    string
	puts     map[string]fact
	deletes  []string
}

func (c *change) apply(facts map[string]fact) {
	for _, id := range c.deletes {
		delete(facts, id)
	}
	maps.Copy(facts, c.puts)
}

func newOracle(w *world) *oracle {
	o := &oracle{w: w, stays: map[string][]*stay{}, amiss: map[string]absence{}, strangers: map[int64]bool{}}
	o.newEra(0, nil, nil)
	return o
}

// newEra notes that the store was replaced by one that holds base.
func (o *oracle) newEra(revision int64, base map[string]*mvccpb.KeyValue, ghosts map[int64]bool) {
	e := &era{began: time.Now(), revision: revision, base: factsOf(base), ghosts: ghosts}
	e.now = maps.Clone(e.base)
	o.eras = append(o.eras, e)
	clear(o.amiss)
	for id := range o.stays {
		o.notice(id, e.began)
	}
}

func (o *oracle) era() *era { return o.eras[len(o.eras)-1] }

// look reads what has happened since it looked last, and holds it and the present against the invariants.
func (o *oracle) look() {
	for _, r := range o.w.cluster.HistorySince(o.read) {
		o.read++
		o.take(r)
	}
	o.judgeStays()
	if o.w.watch != nil {
		for _, r := range o.w.watch.readers {
			r.judge()
		}
	}
}

// take reads one revision.
func (o *oracle) take(r simetcd.Revision) {
	e := o.eras[r.Era]
	c := change{revision: r.Revision, at: r.At, cause: r.Cause, puts: map[string]fact{}}
	for _, event := range r.Events {
		id, ours := strings.CutPrefix(string(event.Kv.Key), dir)
		switch {
		case !ours:
		case event.Type == mvccpb.Event_DELETE:
			o.judgeDeletion(e, r, id)
			delete(e.now, id)
			c.deletes = append(c.deletes, id)
		default:
			f := factOf(event.Kv)
			e.now[id], c.puts[id] = f, f
		}
	}
	if len(c.puts)+len(c.deletes) == 0 {
		return
	}
	e.changes = append(e.changes, c)
	if e != o.era() {
		return
	}
	for id := range c.puts {
		o.notice(id, r.At)
	}
	for _, id := range c.deletes {
		o.notice(id, r.At)
	}
}
