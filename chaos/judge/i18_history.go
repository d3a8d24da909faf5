package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const ruleHistory = "the history tells every coming and going of the record once, with its cause, also to who reads it later"

// What a history tells of comings and goings.
const (
	joined, replaced, returned = "joined", "replaced", "returned"
	left, expired, removed     = "left", "expired", "removed"
	historyReset               = "etcd_reset"
)

// reader is somebody who told the history.
type reader struct {
	by    string
	late  bool  // it came when everything was over
	begin int64 // the revision behind which nothing is missing
	upTo  int64 // how far it has read, in the last epoch
	told  []*journal.Event
}

// checkHistory: I18. Each reader's comings and goings of every key are those of the record.
func checkHistory(r *run) {
	for _, h := range r.readers() {
		if h.late || len(r.rewrites) == 0 {
			r.checkTold(h, r.store.last().number)
		} else {
			r.checkAcross(h)
		}
	}
}

func (r *run) readers() []*reader {
	byName := map[string]*reader{}
	var all []*reader
	for n := range r.events {
		switch e := &r.events[n]; e.What {
		case journal.Recounting:
			byName[e.By] = &reader{by: e.By, late: e.Reset, begin: e.Revision, upTo: int64(e.Value)}
			all = append(all, byName[e.By])
		case journal.Recounted:
			if h := byName[e.By]; h != nil {
				h.told = append(h.told, e)
			}
		}
	}
	for _, h := range all {
		h.cut()
	}
	return all
}

// cut leaves out what it tells of later than how far it is sure to have read.
func (h *reader) cut() {
	last := 0
	for n, e := range h.told {
		if e.Name == historyReset {
			last = n
		}
	}
	h.told = append(h.told[:last:last], slices.DeleteFunc(slices.Clone(h.told[last:]), func(e *journal.Event) bool { return e.Revision > h.upTo })...)
}

// of returns what a reader tells of a key, each as it is compared.
func (h *reader) of(k slot) (told []string) {
	for _, e := range h.told {
		if e.Service == k.service && e.ID == k.id && slices.Contains([]string{joined, replaced, returned, left, expired, removed}, e.Name) {
			told = append(told, happening(e.Name, e.Incarnation, e.Revision))
		}
	}
	return told
}

func happening(what, incarnation string, revision int64) string {
	return fmt.Sprintf("%s %s at revision %d", what, incarnation, revision)
}

// slots are all keys that the record or a reader knows of.
func (r *run) slots(h *reader) []slot {
	all := map[slot]bool{}
	for k := range r.store.keys {
		all[k] = true
	}
	for _, e := range h.told {
		if e.ID != "" {
			all[slot{e.Service, e.ID}] = true
		}
	}
	for k := range r.store.odd {
		delete(all, k)
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b slot) int {
		return strings.Compare(a.service+"/"+a.id, b.service+"/"+b.id)
	})
}

// checkTold compares what a reader tells with the record of an epoch, which it must have read whole.
func (r *run) checkTold(h *reader, epoch int) {
	for _, k := range r.slots(h) {
		told, n := h.of(k), 0
		for _, want := range r.comings(k, epoch, max(h.begin, r.store.epochs[epoch].floor), h.upTo) {
			if n < len(told) && slices.Contains(want.any, told[n]) {
				n++
				continue
			}
			got := "nothing more"
			if n < len(told) {
				got = told[n]
			}
			r.reportHistory(h, k, want.change, fmt.Sprintf("it tells %s, and in the record is %s", got, strings.Join(want.any, " or ")))
			n = len(told)
			break
		}
		if n < len(told) {
			r.reportHistory(h, k, nil, fmt.Sprintf("it tells %s, which is not in the record", told[n]))
		}
	}
}

// coming is a coming or going in the record, and what a reader may tell of it.
type coming struct {
	change *change
	any    []string
}

// comings returns those of a key in an epoch, behind a revision and up to another one.
func (r *run) comings(k slot, epoch int, behind, upTo int64) (all []coming) {
	there, present, ended := "", false, int64(0)
	seen := map[string]bool{}
	changes := r.store.keys[k]
	for n := range changes {
		c := &changes[n]
		if c.epoch != epoch {
			continue
		}
		var names []string
		who := c.incarnation
		switch {
		case c.there && !present:
			names = []string{joined}
			if seen[who] {
				names = []string{returned}
			}
			if seen[who] && ended <= behind { // whoever begins behind its end does not know it
				names = append(names, joined)
			}
		case c.there && who != there:
			names = []string{replaced}
		case c.there: // it says something else, if anything
		case present && c.event.What != journal.Deleted:
			names = []string{left}
		case present:
			who = there
			names = []string{expired}
			if r.meddled(k, c.at) || r.saidGoodbye(k, who, c) {
				names = append(names, removed)
			}
		}
		if present && !c.there {
			ended = c.revision
		}
		present = c.there
		if c.there {
			there = c.incarnation
			seen[there] = true
		}
		if len(names) == 0 || c.revision <= behind || c.revision > upTo {
			continue
		}
		want := coming{change: c}
		for _, name := range names {
			want.any = append(want.any, happening(name, who, c.revision))
		}
		all = append(all, want)
	}
	return all
}

// saidGoodbye reports whether a process had said goodbye for an incarnation before its key was deleted: then it may have deleted that
// itself, when etcd had no room for a farewell.
func (r *run) saidGoodbye(k slot, incarnation string, c *change) bool {
	return slices.ContainsFunc(r.stays[k], func(s *stay) bool { return s.is(incarnation) && s.goodbye <= c.at })
}

// checkAcross compares what a reader tells that has seen etcd's history break with the record, one incarnation after the other: it may have
// been told of the new store's beginning as a whole.
func (r *run) checkAcross(h *reader) {
	resets := 0
	for _, e := range h.told {
		if e.Name == historyReset {
			resets++
		}
	}
	if resets != len(r.rewrites) {
		r.reportHistory(h, slot{}, nil, fmt.Sprintf("it tells of %d breaks of etcd's history, and there were %d", resets, len(r.rewrites)))
	}
	for _, k := range r.slots(h) {
		told := map[string]int{}
		for _, e := range h.told {
			if e.Service == k.service && e.ID == k.id {
				told[e.Name+" "+e.Incarnation]++
			}
		}
		came, farewells := r.livesOf(k, h.upTo)
		for incarnation := range came {
			if n := told[joined+" "+incarnation] + told[replaced+" "+incarnation]; n != 1 {
				r.reportHistory(h, k, nil, fmt.Sprintf("it tells %d times that %s came", n, incarnation))
			}
			if n := told[left+" "+incarnation]; n != farewells[incarnation] {
				r.reportHistory(h, k, nil, fmt.Sprintf("it tells %d times that %s said goodbye, which it did %d times", n, incarnation, farewells[incarnation]))
			}
		}
	}
}

// livesOf returns which incarnations of a key there were in all epochs, the last one up to a revision, and which of them said goodbye.
func (r *run) livesOf(k slot, upTo int64) (came map[string]bool, farewells map[string]int) {
	came, farewells = map[string]bool{}, map[string]int{}
	for _, c := range r.store.keys[k] {
		switch {
		case c.epoch == r.store.last().number && c.revision > upTo:
		case c.there:
			came[c.incarnation] = true
		case c.state == leaving && c.event.What == journal.Put && !c.backup:
			farewells[c.incarnation] = 1
		}
	}
	return came, farewells
}

func (r *run) reportHistory(h *reader, k slot, c *change, detail string) {
	at := r.end
	if c != nil {
		at = c.at
	}
	r.report(Violation{Invariant: "I18", Rule: ruleHistory, At: at, Service: k.service, ID: k.id, Process: h.by, Detail: detail})
}
