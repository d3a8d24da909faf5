package simulation

import (
	"fmt"
	"time"
)

// process writes instances without the library, all under one lease, as a program in another language would. When the
// store forgets them it writes them again, after a while.
type process struct {
	w         *world
	name      string
	lease     int64
	held      map[int64]bool       // leases, this one and those before
	instances map[string]*instance // that live, by id
	lives     int                  // counts incarnations
}

type instance struct {
	incarnation string
	weight      int
}

// forever is a TTL that no schedule outlasts: leases of processes end only on purpose.
const forever = 24 * 60 * 60

func (w *world) addProcess(n int) {
	p := &process{w: w, name: fmt.Sprint("p", n), held: map[int64]bool{}, instances: map[string]*instance{}}
	p.grant()
	for range 1 + w.rnd.IntN(3) {
		p.join()
	}
	w.processes = append(w.processes, p)
}

func (p *process) grant() {
	p.lease = p.w.cluster.GrantLease(forever)
	p.held[p.lease], p.w.oracle.strangers[p.lease] = true, true
}

// join registers one instance more.
func (p *process) join() {
	p.lives++
	i := &instance{incarnation: fmt.Sprintf("%s.%d", p.name, p.lives), weight: 1 + p.w.rnd.IntN(1000)}
	id := fmt.Sprint(p.name, "-", p.lives%4)
	p.instances[id] = i
	p.write(id)
}

func (p *process) put(id, state string) {
	i := p.instances[id]
	value := fmt.Sprintf(`{"Op":0,"Addr":"10.0.0.1:1","ID":%q,"Incarnation":%q,"Holder":%q,"State":%q,"Weight":%d,"TTL":15}`,
		id, i.incarnation, p.name, state, i.weight)
	_ = p.w.cluster.PutKey(dir+id, value, p.lease)
}

func (p *process) write(id string) { p.put(id, "serving") }

// heal writes again what the store has forgotten or others have written over: under the lease that there is, or, if it
// is gone, under a new one.
func (p *process) heal() {
	p.w.check()
	for id, f := range p.w.oracle.era().now {
		if p.held[f.lease] && p.instances[id] == nil {
			p.w.cluster.DeleteKey(dir + id) // a backup brought it back, perhaps under a lease that the process had before
		}
	}
	for _, id := range sortedKeys(p.instances) {
		f, there := p.w.oracle.era().now[id]
		if there && f.Incarnation == p.instances[id].incarnation && f.lease == p.lease && f.Weight == p.instances[id].weight {
			continue
		}
		if !p.leased() {
			p.grant()
		}
		p.write(id)
	}
}

func (p *process) leased() bool {
	for _, l := range p.w.cluster.Leases() {
		if l == p.lease {
			return true
		}
	}
	return false
}

// act does one thing that processes do.
func (p *process) act() {
	ids := sortedKeys(p.instances)
	switch what := p.w.rnd.IntN(10); {
	case len(ids) == 0 || what < 2:
		p.w.note("%s joins with one more", p.name)
		p.heal()
		if !p.leased() {
			p.grant()
		}
		p.join()
	case what < 7:
		id := ids[p.w.rnd.IntN(len(ids))]
		p.instances[id].weight = 1 + p.w.rnd.IntN(1000)
		p.w.note("%s changes %s", p.name, id)
		p.heal()
	case what < 9:
		p.leave(ids[p.w.rnd.IntN(len(ids))])
	default:
		p.crash()
	}
}

// leave says goodbye for one instance, and takes it away.
func (p *process) leave(id string) {
	p.w.note("%s leaves", id)
	f, there := p.w.oracle.era().now[id]
	if there && f.Incarnation == p.instances[id].incarnation {
		p.put(id, "leaving")
		p.w.cluster.DeleteKey(dir + id)
	}
	delete(p.instances, id)
}

// crash ends the process with all its instances, at once.
func (p *process) crash() {
	p.w.note("%s crashes", p.name)
	clear(p.instances)
	_ = p.w.cluster.RevokeLease(p.lease)
}

// bereave has every process look for what it has lost, each at a moment of its own, and has leases that came back with
// a backup and are nobody's run out.
func (w *world) bereave() {
	for _, p := range w.processes {
		w.later(w.upTo(6*time.Second), p.heal)
	}
	if len(w.processes) > 0 {
		w.later(15*time.Second, w.bury)
	}
}

// bury ends what came back with a backup and is nobody's.
func (w *world) bury() {
	w.check()
	for _, l := range w.cluster.Leases() {
		if w.oracle.strangers[l] && !w.writes(l) {
			_ = w.cluster.RevokeLease(l)
		}
	}
}

// writes reports whether a lease is that of a process that lives.
func (w *world) writes(lease int64) bool {
	for _, p := range w.processes {
		if p.lease == lease && len(p.instances) > 0 {
			return true
		}
	}
	return false
}
