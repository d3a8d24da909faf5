package simulation

import (
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// A lease of an override is renewed in full when etcd's leader changes, so that its key outlives its end: then those who follow the
// service clear it up.
func TestAnOverrideThatEtcdKeepsTooLongIsClearedUp(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		const lasting = 10 * time.Minute
		r, other := w.join(), w.join()
		for _, who := range []*registrant{r, other} {
			who.follow(service)
		}
		ctx, cancel := within(patience)
		defer cancel()
		if _, err := r.registry().SetOverride(ctx, service, "a", rollcall.Override{Drain: true, Until: time.Now().Add(lasting)}); err != nil {
			t.Fatal(err)
		}
		kept := func() bool { return len(w.cluster.Keys("rollcall/control/")) == 1 }
		w.pass(lasting - time.Minute)
		w.strike(w.cluster.Restart)
		w.pass(90 * time.Second)
		if !kept() {
			t.Error("it is gone at its end already: to clear up what a lease will is nobody's business")
		}
		w.pass(2 * time.Minute)
		if kept() {
			t.Error("two minutes later it is there still")
		}
		w.pass(lasting) // its lease goes only now
	})
}
