package simulation

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// A fault costs etcd what it takes to begin anew: for each key and each followed service a read or two and a watch.
func TestAFaultCostsEtcdNoMoreThanToBeginAnew(t *testing.T) {
	t.Parallel()
	const services = 20
	each := fewer(20)
	keys := services * each
	scene(t, secured, func(w *world) {
		w.allowAll()
		var m meter
		r := w.join(through(m.options(w)...))
		for n := range services {
			r.provide(fmt.Sprint("s", n), numbered(each)...)
			r.follow(fmt.Sprint("s", n))
		}
		w.pass(time.Minute)
		anew := bill{
			"Range": 6*services + 60, "WatchCreate": 3 * (keys + services), "LeaseKeepAlive": 60, "Txn": 60 + keys/10,
			"Authenticate": 60, dialled: 200, rest: 30,
		}
		for _, f := range r.troubles() {
			m.read()
			asked := w.bill(f.what, func() {
				f.strike()
				w.pass(time.Minute)
			})
			asked[dialled] = m.read()[dialled]
			w.hold(f.what, asked, anew)
		}
		idle := w.bill("an idle minute", func() { w.pass(time.Minute) })
		idle[dialled] = m.read()[dialled]
		w.hold("an idle minute", idle, bill{"Range": 60, "LeaseKeepAlive": 30, rest: 20})
		w.settled(r)
		if n := w.expired(); n > 0 {
			t.Errorf("%d live instances were deleted", n)
		}
	})
}

type trouble struct {
	what   string
	strike func()
}

// troubles are what etcd goes through now and then.
func (r *registrant) troubles() []trouble {
	for10s := func(m *simetcd.Member, begin, end func(*simetcd.Member)) {
		begin(m)
		r.w.pass(10 * time.Second)
		end(m)
	}
	sim := r.w.cluster
	return []trouble{
		{"the leader dies", func() { for10s(sim.Leader(), (*simetcd.Member).Kill, (*simetcd.Member).Start) }},
		{"the leader hangs", func() { for10s(sim.Leader(), (*simetcd.Member).Hang, (*simetcd.Member).Resume) }},
		{"the registry's member dies", func() { for10s(r.member(), (*simetcd.Member).Kill, (*simetcd.Member).Start) }},
		{"the registry's member hangs", func() { for10s(r.member(), (*simetcd.Member).Hang, (*simetcd.Member).Resume) }},
		{"all members restart", sim.Restart},
		{"all tokens die", sim.ExpireTokens},
		{"somebody else's permissions change", func() { sim.SetPermission("stranger", simetcd.Permission("elsewhere/")) }},
	}
}
