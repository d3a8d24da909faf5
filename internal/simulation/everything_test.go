package simulation

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
)

// Anybody who may ask a server may ask it for any name.
func TestNamesThatNobodyRegistersAreSoonForgottenByWhoFollowsEverything(t *testing.T) {
	t.Parallel()
	scene(t, family{}, func(w *world) {
		r := w.join()
		r.provide("there", "a")
		all, err := rollcall.Open(w.config(newTap()), rollcall.WithFollowAll())
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			ctx, cancel := within(patience)
			defer cancel()
			if err := all.Close(ctx); err != nil {
				t.Error(err)
			}
		}()
		for n := range 1000 {
			watcher := all.Watch(fmt.Sprint("name", n))
			w.next(watcher)
			watcher.Close()
		}
		if n := len(all.Status().Services); n != 1001 {
			t.Errorf("%d names are known, want those that were asked for and the one that is there", n)
		}
		w.pass(time.Minute)
		if known := all.Status().Services; len(known) != 1 || known[0].Service != "there" {
			t.Errorf("a minute later %d names are known", len(known))
		}
	})
}
