package rollcall

import (
	"maps"
	"slices"
	"time"
)

// verdict is the guard's rule, told the plainest way: a diary of every loss there ever was, read anew each time.
type verdict struct {
	suspicion time.Duration
	alive     map[string]fact
	suspects  map[string]doubted
	diary     []entry
	expired   map[string]bool // how the ones that are gone went
}

type doubted struct {
	fact  fact
	until time.Time
}

type entry struct {
	fact    fact
	at      time.Time
	settled bool // it spoke since, or was taken back as a suspect
}

// hear takes what one change says, and notes in lost what went without a word.
func (v *verdict) hear(e event, lost map[string]fact) {
	id := e.fact.ID
	switch e.says {
	case rubbish:
		return
	case deletion:
		if f, here := v.alive[id]; here {
			lost[id], v.expired[id] = f, true
			delete(v.alive, id)
		}
		return
	case farewell:
		v.expired[id] = false
		delete(v.alive, id)
	case good:
		v.alive[id] = e.fact
	}
	delete(lost, id)
	delete(v.suspects, id)
	for n := range v.diary {
		v.diary[n].settled = v.diary[n].settled || v.diary[n].fact.ID == id
	}
}

// batch hears a batch out and then judges what was lost in it.
func (v *verdict) batch(events []event, reset bool) {
	now := time.Now()
	inView := map[string]bool{}
	for _, id := range slices.Concat(slices.Collect(maps.Keys(v.alive)), slices.Collect(maps.Keys(v.suspects))) {
		inView[id] = true
	}
	lost := map[string]fact{}
	for _, e := range events {
		v.hear(e, lost)
	}
	// Nobody saw what came and went within the batch, and what lay under no lease was removed by somebody.
	maps.DeleteFunc(lost, func(id string, f fact) bool { return !inView[id] || f.Lease == 0 })
	for _, f := range lost {
		v.diary = append(v.diary, entry{fact: f, at: now})
	}
	window := v.window(now)
	all := len(window) + len(v.suspects)
	if len(lost) == 0 || !reset && (all < 3 || all <= len(v.alive)) {
		return
	}
	for _, n := range window {
		e := &v.diary[n]
		e.settled, e.fact.Suspect = true, true
		v.suspects[e.fact.ID] = doubted{e.fact, now.Add(v.suspicion)}
	}
}

// window returns the losses that are no older than their TTL, of instances that have not been heard of since.
func (v *verdict) window(now time.Time) (entries []int) {
	for n, e := range v.diary {
		if !e.settled && now.Sub(e.at) <= time.Duration(ttlOf(e.fact.Weight))*time.Second {
			entries = append(entries, n)
		}
	}
	return entries
}

func (v *verdict) pass() {
	maps.DeleteFunc(v.suspects, func(id string, d doubted) bool {
		over := !d.until.After(time.Now())
		v.expired[id] = v.expired[id] || over
		return over
	})
}

// acquit believes the loss of the suspects among some ids whose lease turned out to live.
func (v *verdict) acquit(lease int64, ids []string) {
	for _, id := range ids {
		if d, suspect := v.suspects[id]; suspect && d.fact.Lease == lease {
			delete(v.suspects, id)
			v.expired[id] = false
		}
	}
}

func (v *verdict) view() map[string]fact {
	all := maps.Clone(v.alive)
	for id, d := range v.suspects {
		all[id] = d.fact
	}
	return all
}
