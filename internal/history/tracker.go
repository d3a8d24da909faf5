package history

import (
	"context"
	"sync"
	"time"
	"unique"

	"github.com/rollcall-io/rollcall"
)

// livePatience is for how long after etcd has said that everything is told what comes next counts as seen when it happens. It says so every
// second.
const livePatience = 2 * time.Second

// serverService is the service that servers register themselves as, and beat the key of its instances' metadata that tells the time.
const (
	serverService = "rollcall.server"
	beat          = "beat"
)

// tracker knows what is there, and turns what changes into events.
type tracker struct {
	h   *History
	ctx context.Context

	mu       sync.Mutex // guards all below; held while etcd is asked; taken before the history's
	begun    bool
	filling  bool      // what is there is being told
	live     bool      // what is told happens now
	caughtUp time.Time // when everything had been told last
	revision int64     // of what was told last
	lower    int64     // the earliest time that the next event of the past can have been; 0: unknown

	here     map[key]*presence
	leases   map[int64]int // how many keys each has
	gone     gone
	decided  map[key]*decision
	policies map[string]*rollcall.Policy
	checked  map[key]*finding
	pending  []vanished // deletes of one revision whose cause is not known yet
	living   living

	former   *former           // after etcd's history broke, until everything was told
	awaiting map[key]*presence // who was there when it broke, and has not come back yet
}

// key names an instance.
type key struct {
	service unique.Handle[string]
	id      string
}

func keyOf(e *rollcall.JournalEntry) key { return key{unique.Make(e.Service), e.ID} }

// presence is an instance that is there.
type presence struct {
	who        *subject
	registered int64 // nanoseconds since 1970
	lease      int64
	created    int64 // the revision at which its key appeared
	beat       int64 // of a server: the time when it wrote that
	weight     int
	leaving    bool // it has said goodbye
	tended     bool // by a server: one that hears nothing of its program takes the key away while its own lease lives
	told       bool // while etcd's broken history is read: that it came
	kept       bool // likewise: the store has not lost it
}

func newTracker(h *History) *tracker {
	t := &tracker{h: h, awaiting: map[key]*presence{}}
	t.gone = gone{most: h.events.most, incarnations: map[key]string{}}
	t.clear()
	return t
}

func (t *tracker) clear() {
	t.here, t.leases = map[key]*presence{}, map[int64]int{}
	t.decided, t.policies, t.checked = map[key]*decision{}, map[string]*rollcall.Policy{}, map[key]*finding{}
	t.pending, t.living = nil, living{}
}

// take is told the registry's journal.
func (t *tracker) take(e rollcall.JournalEntry) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch e.Kind {
	case rollcall.JournalBegin:
		t.begin(&e)
	case rollcall.JournalPresent:
		t.present(&e)
	case rollcall.JournalChange:
		t.filled()
		if e.Revision > t.revision {
			t.decide()
		}
		t.revision = e.Revision
		t.change(&e)
		t.h.read(e.Revision)
	case rollcall.JournalCaughtUp:
		t.filled()
		t.revision = max(t.revision, e.Revision)
		t.decide()
		t.reached(e.Revision)
	case rollcall.JournalTrouble:
		t.live = false
		t.h.logger.Debug("history cannot read etcd, trying again", "err", e.Err)
	}
	return t.ctx.Err() == nil
}

// begin begins anew: at first, or because something was lost.
func (t *tracker) begin(e *rollcall.JournalEntry) {
	again := t.filling // the same, after a list that failed
	t.live, t.filling = false, true
	switch {
	case again || !t.begun:
	case e.Reset:
		t.broke(e)
	default:
		t.decide()
		t.note(Gap, e.Revision, subjectOf("", "", nil), nil, span{})
		t.h.logger.Warn("history has a gap: etcd compacted away what was not read yet", "revision", e.Revision)
	}
	if !again {
		t.h.beginAt(e.Revision, e.Reset)
	}
	t.begun, t.revision = true, e.Revision
	t.clear()
}

// present notes what is there, without a word.
func (t *tracker) present(e *rollcall.JournalEntry) {
	switch k := keyOf(e); {
	case e.After.Instance != nil:
		p := presenceOf(e)
		p.kept = t.former != nil && t.former.keeps(k, p)
		t.here[k] = p
		t.leases[p.lease]++
	case e.After.Override != nil:
		t.decided[k] = &decision{Override: *e.After.Override}
	case e.After.Policy != nil:
		t.policies[e.Service] = e.After.Policy
	case e.After.Health != nil:
		t.leases[e.After.Lease]++
		t.checked[k] = &finding{of: e.After.Of, failing: e.After.Health.Failing, lease: e.After.Lease, since: e.After.Health.Since}
	}
}

// filled takes from what was there at the beginning when that was: nothing of it was written later.
func (t *tracker) filled() {
	if !t.filling {
		return
	}
	t.filling = false
	if t.former != nil {
		return
	}
	now := t.h.now().UnixNano()
	for _, p := range t.here {
		if p.registered <= now {
			t.lower = max(t.lower, p.registered)
		}
		if p.beat <= now {
			t.lower = max(t.lower, p.beat)
		}
	}
	if t.lower > 0 {
		t.h.beganAt(t.revision, t.lower)
		t.endDecisions(true)
	}
}

func presenceOf(e *rollcall.JournalEntry) *presence {
	i := e.After.Instance
	return &presence{
		who: subjectOf(e.Service, e.ID, i), registered: nanoOf(i.Registered), lease: e.After.Lease,
		created: i.CreateRevision, weight: i.Weight, leaving: e.After.Leaving, tended: e.After.Tended, beat: beatOf(e.Service, i),
	}
}

// reached says that everything was told up to a revision.
func (t *tracker) reached(revision int64) {
	now := t.h.now()
	t.rebase()
	first := t.h.reached(revision, now)
	t.live, t.caughtUp, t.lower = true, now, now.UnixNano()
	t.living = living{}
	t.endDecisions(first)
}

// change turns a change into events.
func (t *tracker) change(e *rollcall.JournalEntry) {
	switch e.About {
	case rollcall.AboutInstance:
		t.instance(e)
	case rollcall.AboutOverride:
		t.override(e)
	case rollcall.AboutPolicy:
		t.policy(e)
	case rollcall.AboutHealth:
		t.health(e)
	case rollcall.AboutAccept:
		if a := e.After.Accepted; a != nil && t.former == nil {
			t.dated(e.Revision, a.Since)
			t.note(Accepted, e.Revision, subjectOf(e.Service, "", nil), causeOf(a.Author, a.Reason, ""), span{})
		}
	}
}

// tick does what is due by the clock alone.
func (t *tracker) tick() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.h.now(); t.seen(now) {
		t.lower = now.UnixNano()
		t.endDecisions(false)
		t.missed()
	}
}

// seen reports whether what is told now happens now.
func (t *tracker) seen(now time.Time) bool { return t.live && now.Sub(t.caughtUp) <= livePatience }

// span is since when something was, and until when something counts; nanoseconds since 1970, 0: not set.
type span struct{ since, until int64 }

// note adds an event.
func (t *tracker) note(kind Kind, revision int64, who *subject, why *cause, s span) {
	e := record{kind: kind, revision: revision, who: who, why: why, since: s.since, until: s.until, within: t.lower}
	if now := t.h.now(); t.seen(now) {
		e.at, e.exact = now.UnixNano(), true
	}
	t.h.add(e)
}

// dated says when a revision was that is about to be told, by the clock of whoever wrote it: then or a moment later. Of what was seen our own
// clock tells.
func (t *tracker) dated(revision int64, at time.Time) {
	nano, now := nanoOf(at), t.h.now()
	if t.former != nil || t.seen(now) || nano <= t.lower || nano > now.UnixNano() {
		return
	}
	first := t.lower == 0
	t.lower = nano
	if nano%int64(time.Second) == 0 { // written in whole seconds
		nano = min(nano+int64(time.Second), now.UnixNano())
	}
	t.h.mark(revision, nano)
	t.endDecisions(first)
}

// gone remembers the incarnations of those who went, to know them again. It is bounded.
type gone struct {
	most         int
	incarnations map[key]string
	order        []key
}

func (g *gone) add(k key, incarnation string) {
	if incarnation == "" {
		return
	}
	if _, known := g.incarnations[k]; !known {
		g.order = append(g.order, k)
	}
	g.incarnations[k] = incarnation
	for len(g.order) > g.most || len(g.order) > 64 && len(g.order) > 2*len(g.incarnations) {
		delete(g.incarnations, g.order[0])
		g.order = g.order[1:]
	}
}

// back reports whether it is one of those, and forgets it.
func (g *gone) back(k key, incarnation string) bool {
	was, known := g.incarnations[k]
	if !known {
		return false
	}
	delete(g.incarnations, k)
	return was == incarnation
}
