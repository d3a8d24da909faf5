package simulation

import (
	"slices"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// fault is a kind of fault. Strike lets it happen once, from its beginning to its end, and reports whether it struck
// something alive.
type fault struct {
	kind   string
	strike func(*world) (struck bool)
}

// illness is a fault of one member, that begins and ends. The others are a quorum throughout.
func illness(kind string, begin, end func(*world, *simetcd.Member)) fault {
	return fault{kind, func(w *world) bool {
		m, lasts := w.victim(), time.Second+w.upTo(25*time.Second)
		struck := w.hits(m, lasts)
		w.note("%s %s for %v", kind, m.Name(), lasts)
		w.ill++
		begin(w, m)
		w.meanwhile(lasts)
		end(w, m)
		w.ill--
		w.calmSince = time.Now()
		w.note("%s %s over", kind, m.Name())
		return struck
	}}
}

func of(do func(*simetcd.Member)) func(*world, *simetcd.Member) {
	return func(_ *world, m *simetcd.Member) { do(m) }
}

func slow(w *world, m *simetcd.Member) { m.Slow(50*time.Millisecond + w.upTo(1500*time.Millisecond)) }

// illnesses are all faults of one member.
func illnesses() []fault {
	return []fault{
		illness("hang", of((*simetcd.Member).Hang), of((*simetcd.Member).Resume)),
		illness("cut", of((*simetcd.Member).Cut), of((*simetcd.Member).Heal)),
		illness("requests lost", of((*simetcd.Member).LoseRequests), of((*simetcd.Member).Heal)),
		illness("replies lost", of((*simetcd.Member).LoseReplies), of((*simetcd.Member).Heal)),
		illness("slow", slow, of((*simetcd.Member).Heal)),
		illness("lag", of((*simetcd.Member).Lag), of((*simetcd.Member).Rejoin)),
		illness("isolate", of((*simetcd.Member).Isolate), of((*simetcd.Member).Rejoin)),
		illness("kill", of((*simetcd.Member).Kill), of((*simetcd.Member).Start)),
		{"restart one", func(w *world) bool {
			m := w.victim()
			struck := w.hits(m, time.Hour) // it loses its streams at once
			w.note("restart %s", m.Name())
			w.strike(m.Restart)
			return struck
		}},
	}
}

// absences take the whole cluster away and bring it back with its data.
func absences() []fault {
	return []fault{
		{"restart all", func(w *world) bool {
			w.note("restart all")
			w.strike(w.cluster.Restart)
			return w.anyAlive()
		}},
		{"no leader", func(w *world) bool {
			lasts := time.Second + w.upTo(10*time.Second)
			w.note("no leader for %v", lasts)
			w.ill++
			w.cluster.NoLeader(lasts)
			w.meanwhile(lasts)
			w.ill--
			return w.anyAlive()
		}},
		{"outage", func(w *world) bool {
			lasts := time.Second + w.upTo(40*time.Second)
			if w.rnd.IntN(8) == 0 {
				lasts += w.upTo(80 * time.Second)
			}
			w.note("all down for %v", lasts)
			w.dark(lasts, (*simetcd.Member).Kill, (*simetcd.Member).Start)
			w.note("all up")
			return w.anyAlive()
		}},
	}
}

// mute is an etcd of which nothing is heard, though connections stand. It is for watchers only: no lease lives through
// it that is longer than its TTL.
var mute = fault{"mute", func(w *world) bool {
	lasts := time.Second + w.upTo(30*time.Second)
	begin, end := (*simetcd.Member).LoseReplies, (*simetcd.Member).Heal
	if w.rnd.IntN(2) == 0 {
		begin, end = (*simetcd.Member).Hang, (*simetcd.Member).Resume
	}
	w.note("all mute for %v", lasts)
	w.dark(lasts, begin, end)
	w.note("all heard again")
	return lasts > silence && w.anyAlive()
}}

// dark has all members fail for a while.
func (w *world) dark(lasts time.Duration, begin, end func(*simetcd.Member)) {
	w.ill++
	w.darkSince = time.Now()
	for _, m := range w.cluster.Members() {
		begin(m)
	}
	w.pass(lasts)
	for _, m := range w.cluster.Members() {
		end(m)
	}
	w.ill--
	w.calmSince, w.darkSince = time.Now(), time.Time{}
}

// meanwhile lets an illness last, and at times has something else happen in its middle.
func (w *world) meanwhile(lasts time.Duration) {
	if w.rnd.IntN(2) == 0 {
		w.pass(lasts)
		return
	}
	first := w.upTo(lasts)
	if !w.pass(first) {
		return
	}
	began := time.Now()
	if w.rnd.IntN(2) == 0 {
		w.churn()
	} else {
		sudden := slices.DeleteFunc(slices.Clone(w.faults), func(f fault) bool { return !slices.Contains(suddenKinds, f.kind) })
		if len(sudden) > 0 {
			f := sudden[w.rnd.IntN(len(sudden))]
			w.strikes.count(f.kind, f.strike(w))
		}
	}
	w.pass(lasts - first - time.Since(began))
}

// suddenKinds are those that happen at once, so that they fit into the middle of others.
var suddenKinds = []string{"wipe", "revoke", "key deleted", "key overwritten, leased", "key overwritten, bare"}

// victim picks a member: often one that matters.
func (w *world) victim() *simetcd.Member {
	var matter []string
	for _, r := range w.registrars {
		matter = append(matter, r.tap.where(keepAliveMethod))
	}
	if w.watch != nil {
		matter = append(matter, w.watch.tap.where(watchMethod))
	}
	pick, who := w.rnd.IntN(10), w.rnd.IntN(max(1, len(matter)))
	random := w.cluster.Member(w.rnd.IntN(len(w.cluster.Members())))
	switch leader := w.cluster.Leader(); {
	case pick < 5 && len(matter) > 0:
		for _, m := range w.cluster.Members() {
			if m.Endpoint() == matter[who] {
				return m
			}
		}
	case pick < 8 && leader != nil:
		return leader
	}
	return random
}

// hits reports whether a fault of a member strikes something alive: the heartbeats of a live instance go through it, or
// it leads, and a heartbeat falls into that time; or a watcher's stream is on it, and a probe falls into that time.
func (w *world) hits(m *simetcd.Member, lasts time.Duration) bool {
	for _, r := range w.registrars {
		if w.cluster.Leader() != m && r.tap.where(keepAliveMethod) != m.Endpoint() {
			continue
		}
		for _, s := range r.live {
			if lasts > s.ttl*11/30 {
				return true
			}
		}
	}
	return w.watch != nil && w.watch.tap.where(watchMethod) == m.Endpoint() && lasts > 4*time.Second && w.anyAlive()
}

// anyAlive reports whether there is a live instance.
func (w *world) anyAlive() bool { return len(w.alive()) > 0 }

// alive returns the ids of all live instances whose keys are as they should be, in order.
func (w *world) alive() []string {
	var ids []string
	for _, r := range w.registrars {
		for id, s := range r.live {
			if w.oracle.asWanted(s) {
				ids = append(ids, id)
			}
		}
	}
	for _, p := range w.processes {
		for id, i := range p.instances {
			if f, there := w.oracle.era().now[id]; there && f.Incarnation == i.incarnation {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}
