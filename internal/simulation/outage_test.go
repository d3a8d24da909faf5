package simulation

import (
	"fmt"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall/internal/simetcd"
)

// However many services a process follows, and keys it keeps, it has a few ways to etcd: all wait for them together.
func TestAnOutageIsNoLoopOfConnectionsHoweverMuchIsFollowedAndKept(t *testing.T) {
	outage := time.Duration(fewer(10)) * time.Minute
	services := fewer(50)
	for how, member := range map[string]struct{ begin, end func(*simetcd.Member) }{
		"refused": {(*simetcd.Member).Kill, (*simetcd.Member).Start},
		"hung":    {(*simetcd.Member).Hang, (*simetcd.Member).Resume},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			scene(t, secured, func(w *world) {
				w.allowAll()
				var reads, writes meter
				reader, writer := w.join(through(reads.options(w)...)), w.join(through(writes.options(w)...))
				writer.provide(other, numbered(services)...)
				for n := range services {
					reader.follow(fmt.Sprint("s", n))
				}
				w.pass(time.Minute)
				reads.read()
				writes.read()
				w.dark(outage, member.begin, member.end)
				w.holdTries("a process that follows", reads.read(), outage, 10)
				w.holdTries("a process that registers", writes.read(), outage, 10)
				asked := w.bill("the 20 s after it", func() { w.pass(20 * time.Second) })
				w.hold("after an outage", asked, bill{"Range": 6*services + 60, "WatchCreate": 6 * services, "Authenticate": 200, rest: 60})
				w.settled(reader)
			})
		})
	}
}

// holdTries holds how often a process tried to connect, and to log in, against a limit for each second.
func (w *world) holdTries(what string, tried bill, while time.Duration, limit float64) {
	w.t.Helper()
	w.t.Logf("%s, in %v: %v", what, while, tried)
	for _, kind := range []string{dialled, "Authenticate"} {
		if often := float64(tried[kind]) / while.Seconds(); often > limit {
			w.t.Errorf("%s: %.1f × %s a second, want at most %v", what, often, kind, limit)
		}
	}
}
