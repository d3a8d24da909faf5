package simulation

import (
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// disasters are what happens to the store itself: to its history, and to keys and leases by the hand of strangers.
func disasters() []fault {
	return []fault{
		{"wipe", func(w *world) bool {
			w.grow()
			struck := w.anyAlive()
			w.note("wipe")
			w.strike(func() { w.replace(w.cluster.Wipe, 1, nil, nil) })
			return struck
		}},
		{"restore", (*world).restore},
		{"compact", (*world).compact},
		{"revoke", func(w *world) bool {
			id, ok := w.target()
			if !ok {
				return false
			}
			l := w.oracle.era().now[id].lease
			w.note("revoke %x, the lease of %s", l, id)
			w.strike(func() { _ = w.cluster.RevokeLease(l) })
			w.bereave()
			return true
		}},
		{"key deleted", func(w *world) bool {
			id, ok := w.target()
			if !ok {
				return false
			}
			w.note("delete %s", id)
			w.strike(func() { w.cluster.DeleteKey(dir + id) })
			w.bereave()
			return true
		}},
		{"key overwritten, leased", func(w *world) bool {
			return w.overwrite(func() int64 {
				l := w.cluster.GrantLease(int64(5 + w.rnd.IntN(20)))
				w.oracle.strangers[l] = true
				return l
			})
		}},
		{"key overwritten, bare", func(w *world) bool { return w.overwrite(func() int64 { return 0 }) }},
	}
}

// stranger is a value that was written by nobody who knows of incarnations.
const stranger = `{"Op":0,"Addr":"10.66.6.6:1"}`

func (w *world) overwrite(lease func() int64) bool {
	id, ok := w.target()
	if !ok {
		return false
	}
	w.note("overwrite %s", id)
	w.strike(func() { _ = w.cluster.PutKey(dir+id, stranger, lease()) })
	w.bereave()
	return true
}

// target picks a live instance whose key is as it should be.
func (w *world) target() (id string, ok bool) {
	w.check()
	ids := w.alive()
	if len(ids) == 0 {
		return "", false
	}
	return ids[w.rnd.IntN(len(ids))], true
}

// replace puts another store in the place of the present one, and tells the oracle.
func (w *world) replace(do func(), revision int64, base map[string]*mvccpb.KeyValue, ghosts map[int64]bool) {
	w.check()
	do()
	w.oracle.newEra(revision, base, ghosts)
	if w.auth && revision == 1 {
		w.later(w.upTo(3*time.Second), w.setAuth) // somebody remembers that there were passwords
	}
	w.bereave()
}

// grow makes many revisions and lets everybody see some of them, so that a store without them is seen to have gone back.
// Not before everybody can have seen what became of the store before: that would hide that it went back then.
func (w *world) grow() bool {
	if !w.pass(silence - time.Since(later(w.oracle.era().began, w.ledSince))) {
		return false
	}
	w.fill(500)
	return w.pass(5 * time.Second)
}

// restore takes a backup, lets time pass, and plays the backup back.
func (w *world) restore() (struck bool) {
	playBack := w.backup()
	if !w.grow() || !w.pass(w.upTo(10*time.Second)) {
		return false
	}
	w.churn()
	return playBack()
}

// backup takes a backup, and returns what plays it back.
func (w *world) backup() (playBack func() (struck bool)) {
	w.check()
	snapshot, base, leases := w.cluster.Snapshot(), w.cluster.Keys(dir), w.cluster.Leases()
	w.note("backup at revision %d", snapshot.Revision())
	return func() bool {
		w.check()
		ghosts := map[int64]bool{}
		for _, l := range leases {
			ghosts[l] = true
		}
		for _, l := range w.cluster.Leases() {
			delete(ghosts, l)
		}
		struck := w.anyAlive()
		w.note("restore of revision %d at revision %d", snapshot.Revision(), w.cluster.Revision())
		w.strike(func() {
			w.replace(func() { w.cluster.Restore(snapshot, 0) }, snapshot.Revision(), base, ghosts)
		})
		return struck
	}
}

// compact drops the history of a moment in which nobody could see it: all clients are cut off, a key is deleted, and the
// history that tells of it goes.
func (w *world) compact() bool {
	id, ok := w.target()
	if !ok {
		return false
	}
	w.note("cut everybody off, delete %s, compact", id)
	w.ill++
	for _, m := range w.cluster.Members() {
		m.Cut()
	}
	time.Sleep(w.upTo(time.Second)) // nothing else is done meanwhile, that might wait for etcd
	w.strike(func() {
		w.cluster.DeleteKey(dir + id)
		w.fill(2)
		w.cluster.Compact()
	})
	w.bereave()
	time.Sleep(w.upTo(time.Second)) // two seconds in all: of the shortest lease one more is left then, at worst
	for _, m := range w.cluster.Members() {
		m.Heal()
	}
	w.ill--
	w.calmSince = time.Now()
	return true
}

// refusals are what etcd refuses though it is well.
func refusals() []fault {
	return []fault{
		{"no space", func(w *world) bool {
			s := w.someone()
			if s == nil {
				return false
			}
			before := s.of.tap.refusals(noSpace)
			w.note("no space")
			w.ill++
			w.cluster.NoSpace(true)
			s.of.update(s, time.Second)
			w.meanwhile(w.upTo(15 * time.Second))
			w.cluster.NoSpace(false)
			w.ill--
			w.calmSince = time.Now()
			w.note("space again")
			return s.of.tap.refusals(noSpace) > before
		}},
	}
}

// expiry is the end of all tokens.
var expiry = fault{"token expired", func(w *world) bool {
	if !w.auth {
		return false
	}
	before := w.badTokens()
	w.note("tokens expire")
	w.strike(w.cluster.ExpireTokens)
	w.pass(6 * time.Second)
	return w.badTokens() > before
}}

func (w *world) badTokens() int {
	n := 0
	for _, r := range w.registrars {
		if len(r.live) > 0 {
			n += r.tap.refusals(badToken)
		}
	}
	if w.watch != nil {
		n += w.watch.tap.refusals(badToken)
	}
	return n
}

// setAuth lets in only who has a password.
func (w *world) setAuth() {
	if !w.auth {
		return
	}
	w.cluster.AddUser("root", "root")
	w.cluster.AddUser("app", "secret", simetcd.Permission(dir))
	if err := w.cluster.EnableAuth(); err != nil {
		w.t.Error(err)
	}
}
