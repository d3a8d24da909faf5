package chaos

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/cluster"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// namesTold is what docs/dns.md promises of answers.
var namesTold = journal.Names{Prompt: time.Second, TTL: 5 * time.Second, Brief: time.Second, Old: 10 * time.Second, Right: 8 * time.Second}

// A server answers DNS, and somebody asks it all the time: whatever becomes of etcd, he is told who lives.
func lookups() []scenario {
	bounds := journal.Expect{
		Visible: 12 * time.Second, Back: 6 * time.Second, Converge: 8 * time.Second, Close: 15 * time.Second, Names: &namesTold,
	}
	return []scenario{
		dnsOutage("dns-outage", 8*time.Second, 0, bounds),
		dnsOutage("dns-outage-90s", 90*time.Second, time.Minute, bounds),
		{
			name: "dns-wipe", ttl: 5 * time.Second, without: "guard", names: true, expect: bounds,
			fault: "all members lose their data and start again, while the network of all instances is cut for 12 s",
			play:  dnsWipe,
		},
		{
			name: "dns-hung", ttl: 5 * time.Second, without: "watchdog,probe,relist", names: true, expect: bounds,
			fault: "one member after another, the leader first, is stopped (SIGSTOP) for 17 s, while an instance joins and another one leaves",
			play:  dnsHung,
		},
		{
			name: "dns-silence", ttl: 5 * time.Second, without: "watchdog,probe,relist", names: true, expect: bounds,
			fault: "between the server and all members every byte takes 300 ms longer, for 12 s, and then everything is swallowed, for 25 s",
			play:  dnsSilence,
		},
	}
}

// named starts instances with names of their own, and waits until all are registered.
func named(w *world.World, from, to int) []*world.Process {
	var all []*world.Process
	for n := from; n <= to; n++ {
		all = append(all, w.Named(n))
	}
	w.Await("everybody is registered", time.Minute, func() bool {
		for _, p := range all {
			if p.Seen(journal.Registered) == 0 {
				return false
			}
		}
		return true
	})
	return all
}

// dnsOutage takes all of etcd away, for so long perhaps that what was known is not told any more.
func dnsOutage(name string, lasts, tooOld time.Duration, bounds journal.Expect) scenario {
	told, without := namesTold, "probe,relist"
	fault := fmt.Sprintf("all members are killed and started again after %.0f s", lasts.Seconds())
	var args []string
	if told.TooOld = tooOld; tooOld > 0 {
		args, without = append(args, "--dns-max-stale", tooOld.String()), "backoff"
		fault += fmt.Sprintf("; what is older than %.0f s may not be told", tooOld.Seconds())
	} else {
		told.Old = 3 * time.Second // connections are refused at once
	}
	bounds.Names = &told
	return scenario{
		name: name, ttl: 15 * time.Second, quick: tooOld == 0, without: without, names: true, expect: bounds, fault: fault,
		play: func(_ testing.TB, w *world.World) ([]*world.Process, int) {
			named(w, 1, 4)
			w.Names(4, args...)
			w.Last(500 * time.Millisecond)
			lasting(w, "outage", world.Etcd, lasts, w.Cluster.KillAll, func() {
				w.Returning("outage", world.Etcd)
				w.Cluster.StartAll()
			})
			w.Named(5)
			return nil, 0
		},
	}
}

// dnsWipe keeps the instances from being back before the server has seen that the store is empty.
func dnsWipe(_ testing.TB, w *world.World) ([]*world.Process, int) {
	proxies := w.Proxied()
	all := named(w, 1, 4)
	w.Endpoints = w.Cluster.Endpoints()
	w.Names(4)
	w.Last(2 * time.Second)
	for _, p := range proxies {
		p.Cut()
	}
	for _, p := range all {
		w.Lost(p)
	}
	w.Fault("wipe", world.Etcd)
	w.Cluster.Wipe()
	w.Judge.Rewritten("wipe")
	w.Healed("wipe", world.Etcd)
	w.Last(6 * time.Second)
	w.Named(5)
	w.Last(6 * time.Second)
	for _, p := range proxies {
		p.Heal()
	}
	for _, p := range all {
		w.Found(p)
	}
	w.Last(2 * time.Second)
	w.Named(6)
	return nil, 0
}

// dnsHung has every member hang once, so also the one that the server hears of all changes from.
func dnsHung(_ testing.TB, w *world.World) ([]*world.Process, int) {
	all := named(w, 1, 4)
	w.Names(4)
	for n, m := range append([]*cluster.Member{w.Cluster.Leader()}, w.Cluster.Followers()...) {
		w.Last(w.Between(0, 2*time.Second))
		w.Fault("hung", m.Name)
		m.Hang()
		w.Named(5 + n)
		w.Last(6 * time.Second) // whoever leaves in the first seconds may be unable to say so
		all[n].Terminate()
		w.Last(11 * time.Second)
		m.Continue()
		w.Healed("hung", m.Name)
		w.Cluster.Await()
	}
	return nil, 0
}

// dnsSilence makes the server's own way to etcd slow, and then takes it away without a word.
func dnsSilence(_ testing.TB, w *world.World) ([]*world.Process, int) {
	named(w, 1, 4)
	proxies := w.Proxied()
	server := w.Names(4)
	w.Endpoints = w.Cluster.Endpoints()
	w.Fault("delay", "the server's network")
	for _, p := range proxies {
		p.Delay(300 * time.Millisecond)
	}
	w.Named(5)
	w.Last(12 * time.Second)
	w.Healed("delay", "the server's network")
	w.Lost(server)
	lasting(w, "black-hole", "the server's network", 25*time.Second, func() {
		for _, p := range proxies {
			p.BlackHole()
		}
		w.Named(6)
	}, func() {
		for _, p := range proxies {
			p.Heal()
		}
	})
	w.Found(server)
	return nil, 0
}
