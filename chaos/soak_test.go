package chaos

import (
	"cmp"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/chaos/world"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

const soakName = "soak"

// soakLeast is how long a soak lasts that nobody has asked for: one that is there to see whether it can fail.
const soakLeast = 3 * time.Minute

// soaks go on for as long as somebody wants: faults of all kinds by chance, with rests in between, and at the end the
// processes must use what they used at the beginning.
func soaks() []scenario {
	return []scenario{{
		name: soakName, ttl: 5 * time.Second, without: "reopen", alone: true,
		fault: "faults by chance, one after another, with rests between them",
		expect: journal.Expect{
			Visible: 20 * time.Second, Back: 12 * time.Second, Converge: 20 * time.Second, Close: 20 * time.Second, Doubts: true,
		},
		play: soak,
	}}
}

func soak(t testing.TB, w *world.World) ([]*world.Process, int) {
	lasts := cmp.Or(*soakFlag, soakLeast)
	w.Instances(5)
	proxies := w.Proxied()
	for i := range 10 {
		w.Register(fmt.Sprintf("p%d", i), "-usage", "5s")
	}
	churn := w.Register("churn", "-id", "c", "-count", "20", "-churn", "5", "-usage", "5s")
	watchers := w.Watchers(3, 35, "-usage", "5s")
	for began, n := time.Now(), 0; time.Since(began) < lasts; n++ {
		d := w.Between(2*time.Second, 10*time.Second)
		what := w.Rand.IntN(7)
		fmt.Fprintf(os.Stderr, "soak: %v of %v, fault %d (%d) for %v\n", time.Since(began).Round(time.Second), lasts, n, what, d.Round(time.Second))
		trouble(w, proxies, what, d)
		w.Last(w.Between(10*time.Second, 15*time.Second))
	}
	churn.Terminate()
	churn.Wait(20 * time.Second)
	w.Last(10 * time.Second)
	return watchers, 15
}

// trouble is one fault of a soak, from its beginning to its end.
func trouble(w *world.World, proxies []*faultproxy.Proxy, what int, d time.Duration) {
	switch what {
	case 0:
		m := w.Cluster.Leader()
		lasting(w, "hung", m.Name, d, m.Hang, m.Continue)
	case 1:
		m := w.Cluster.Followers()[w.Rand.IntN(2)]
		lasting(w, "hung", m.Name, d, m.Hang, m.Continue)
	case 2:
		m := w.Cluster.Leader()
		lasting(w, "killed", m.Name, d, m.Kill, m.Start)
	case 3:
		lasting(w, "outage", world.Etcd, d, w.Cluster.KillAll, w.Cluster.StartAll)
	case 4:
		p := proxies[w.Rand.IntN(len(proxies))]
		do := []func(){p.Cut, p.BlackHole, p.DropReplies, p.DropRequests, p.HalfOpen, p.Reset}
		lasting(w, "network", p.Addr(), d, do[w.Rand.IntN(len(do))], p.Heal)
	case 5:
		id := fmt.Sprintf("i%d", w.Rand.IntN(5))
		w.Meddled(id)
		meddle(w, w.Rand.IntN(3), key(id))
	default:
		w.Compact()
	}
	w.Cluster.Await()
}
