package endpoints

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// claims tell which of the instances that share an address is at it. They share a connection too, and only the newest
// can be behind it: the others are what processes that died there left behind, under ids of their own. That the newest
// drains therefore counts for all.
type claims struct {
	byAddr map[string][]claim // no order among them; nearly always a single one
	losers map[string]string  // by id, the address of each instance that is not the newest at it

	touched map[string]*rollcall.Instance // who was at the addresses that changed, before they did
	changed map[string]string             // by id, the address of each instance that changed since; "" of one that is gone
}

// claim is what an instance's claim to its address rests on.
type claim struct {
	instance          *rollcall.Instance // as channels know it
	created, revision int64              // of its latest write, which channels need not know
}

func newClaims() claims {
	c := claims{byAddr: map[string][]claim{}, losers: map[string]string{}}
	c.forget()
	return c
}

// forget makes settled what has changed. Clearing maps that were once large would cost as much for ever.
func (c *claims) forget() {
	c.touched, c.changed = map[string]*rollcall.Instance{}, map[string]string{}
}

// change replaces what an instance claims. Shown is the instance as it is at its address, if it is; now is nil when it
// claims nothing any more. One that did not change for channels stays the instance that they know.
func (c *claims) change(id string, shown, now *rollcall.Instance) {
	addr := c.losers[id]
	if shown != nil {
		addr = shown.Addr
	}
	if since, again := c.changed[id]; again {
		addr = since
	}
	known := addr != ""
	if !known && now == nil {
		return
	}
	var latest claim
	if now != nil {
		latest = claim{instance: now, created: now.CreateRevision, revision: now.Revision}
	}
	if known {
		old := c.withdraw(addr, id)
		if now != nil && same(old, now) {
			latest.instance = old
		}
	}
	c.changed[id] = ""
	if now != nil {
		c.changed[id] = now.Addr
		c.touch(now.Addr)
		c.byAddr[now.Addr] = append(c.byAddr[now.Addr], latest)
	}
}

// withdraw takes an instance from its address, and returns it.
func (c *claims) withdraw(addr, id string) *rollcall.Instance {
	c.touch(addr)
	delete(c.losers, id)
	list := c.byAddr[addr]
	n := slices.IndexFunc(list, func(l claim) bool { return l.instance.ID == id })
	old := list[n].instance
	c.byAddr[addr] = slices.Delete(list, n, n+1)
	return old
}

// touch remembers who is at an address that is about to change.
func (c *claims) touch(addr string) {
	if _, already := c.touched[addr]; !already {
		c.touched[addr] = newest(c.byAddr[addr])
	}
}

// settle decides who is at the addresses that were touched, and returns what changed, sorted by id.
func (c *claims) settle() []rollcall.Update {
	updates := make([]rollcall.Update, 0, len(c.touched))
	for addr, was := range c.touched {
		is := c.decide(addr)
		if was != nil && is != nil && was != is && same(was, is) { // it went away and came back
			n := slices.IndexFunc(c.byAddr[addr], func(l claim) bool { return l.instance == is })
			c.byAddr[addr][n].instance = was
			continue
		}
		if was == is {
			continue
		}
		if was != nil {
			updates = append(updates, updateOf(was, nil))
		}
		if is != nil {
			updates = append(updates, updateOf(nil, is))
		}
	}
	c.forget()
	return joined(updates)
}

// decide returns who is at an address, and keeps account of who is not.
func (c *claims) decide(addr string) *rollcall.Instance {
	list := c.byAddr[addr]
	is := newest(list)
	switch len(list) {
	case 0:
		delete(c.byAddr, addr)
	case 1:
		delete(c.losers, is.ID)
	default:
		for _, l := range list {
			c.losers[l.instance.ID] = addr
		}
		delete(c.losers, is.ID)
	}
	return is
}

// joined makes one update of a delete and an add of the same id: an instance that changed or moved.
func joined(updates []rollcall.Update) []rollcall.Update {
	slices.SortFunc(updates, func(a, b rollcall.Update) int {
		return cmp.Or(strings.Compare(a.Instance.ID, b.Instance.ID), -cmp.Compare(a.Op, b.Op)) // the delete first
	})
	n := 0
	for _, u := range updates {
		if n > 0 && updates[n-1].Instance.ID == u.Instance.ID {
			updates[n-1] = updateOf(updates[n-1].Prev, u.Instance)
			continue
		}
		updates[n] = u
		n++
	}
	return updates[:n]
}

// newest returns whose claim is the youngest; nil when there is none.
func newest(list []claim) *rollcall.Instance {
	if len(list) == 0 {
		return nil
	}
	return slices.MinFunc(list, func(a, b claim) int {
		return cmp.Or(-cmp.Compare(a.created, b.created), -cmp.Compare(a.revision, b.revision), strings.Compare(a.instance.ID, b.instance.ID))
	}).instance
}
