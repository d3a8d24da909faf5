package rollcall

import (
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/rollcall-io/rollcall/internal/follow"
)

// judging is a feed with its guard, and the plain rule beside it.
type judging struct {
	feed    *feed
	store   *store
	rule    *verdict
	prompt  *reader // reads after every step
	slow    *reader // reads when it pleases
	pending []question
}

// question is one that was put to etcd and not answered yet.
type question struct {
	lease int64
	ids   []string
}

var judged = rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g"})

func newJudging(t *rapid.T) *judging {
	suspicion := rapid.SampledFrom([]time.Duration{25 * time.Second, time.Minute, DefaultSuspicion}).Draw(t, "suspicion")
	j := &judging{
		feed: newFeed("svc", testDir, newSettings([]Option{WithSuspicion(suspicion)})), store: newStore(),
		rule: &verdict{suspicion: suspicion, alive: map[string]fact{}, suspects: map[string]doubted{}, expired: map[string]bool{}},
		slow: &reader{}, prompt: &reader{},
	}
	j.feed.doubt = func() {}
	j.batch(t, rapid.SliceOfDistinct(judged, rapid.ID).Draw(t, "first"), []word{good})
	return j
}

// batch is one in which each of some ids says something.
func (j *judging) batch(t *rapid.T, ids []string, words []word) {
	var events []event
	for _, id := range ids {
		says := rapid.SampledFrom(words).Draw(t, "says")
		if old, there := j.store.keys[id]; says == deletion && !there || says == farewell && (!there || old.says != good) {
			continue // nobody deletes what is not there, or says goodbye for it
		}
		j.store.rev++
		weight := rapid.IntRange(1, 9).Draw(t, "weight")
		events = append(events, j.store.write(id, says, weight, int64(weight%4)))
	}
	j.store.told()
	j.apply(events, false)
}

func (j *judging) apply(events []event, reset bool) {
	j.feed.Apply(follow.Batch{
		Header: follow.Header{Revision: j.store.rev}, Changes: changesOf(events), Relisted: reset, Reset: reset,
	})
	j.rule.batch(events, reset)
}

func (j *judging) Anything(t *rapid.T) {
	j.batch(t, rapid.SliceOfN(judged, 1, 6).Draw(t, "ids"), []word{good, farewell, deletion, deletion, rubbish})
}

func (j *judging) Register(t *rapid.T) {
	j.batch(t, rapid.SliceOfNDistinct(judged, 1, 5, rapid.ID).Draw(t, "ids"), []word{good})
}

func (j *judging) Expire(t *rapid.T) {
	j.batch(t, rapid.SliceOfNDistinct(judged, 1, 7, rapid.ID).Draw(t, "ids"), []word{deletion})
}

func (j *judging) Reset(t *rapid.T) {
	s := newStore()
	s.known = j.store.known
	s.rev = rapid.SampledFrom([]int64{1, j.store.rev}).Draw(t, "revision")
	for _, id := range slices.Sorted(maps.Keys(j.store.keys)) {
		if e := j.store.keys[id]; e.says == good && rapid.Bool().Draw(t, "restored") {
			s.keys[id] = e
		}
	}
	j.store = s
	j.apply(s.relist(true), true)
}

func (j *judging) Pass(t *rapid.T) {
	seconds := rapid.SampledFrom([]int{1, 5, 9, 10, 11, 19, 20, 21, 25, 60, 300}).Draw(t, "seconds")
	time.Sleep(time.Duration(seconds) * time.Second)
	synctest.Wait()
	j.rule.pass()
}

func (j *judging) Ask(*rapid.T) {
	asked := j.feed.suspectsByLease()
	for _, lease := range slices.Sorted(maps.Keys(asked)) {
		slices.Sort(asked[lease])
		j.pending = append(j.pending, question{lease, asked[lease]})
	}
}

func (j *judging) Answer(t *rapid.T) {
	if len(j.pending) == 0 {
		return
	}
	q := j.pending[0]
	j.pending = j.pending[1:]
	if rapid.Bool().Draw(t, "alive") {
		j.rule.acquit(q.lease, q.ids)
		j.feed.acquit(q.lease, q.ids)
	}
}

func (j *judging) Read(t *rapid.T) { j.slow.next(t, j.feed) }

func (j *judging) check(t *rapid.T) {
	v := j.prompt.next(t, j.feed)
	if v == nil {
		v = j.prompt.last
	}
	for _, u := range v.Updates {
		if u.Op == Delete && u.Expired != j.rule.expired[u.Instance.ID] {
			t.Fatalf("%s: expired %v, by the rule %v", u.Instance.ID, u.Expired, j.rule.expired[u.Instance.ID])
		}
	}
	if got, want := facts(v), j.rule.view(); !maps.Equal(got, want) {
		t.Fatalf("view %s\nrule %s", factText(got), factText(want))
	}
	if marked := suspects(v); len(marked) != len(j.rule.suspects) {
		t.Fatalf("suspects %v, by the rule %v", marked, j.rule.suspects)
	}
}

// The guard against its rule, told plainly, over minutes of losses, returns, goodbyes, wipes and answers from etcd.
func TestTheGuardDoubtsByItsRuleAndNothingElse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rapid.SyncTest(t, func(t *rapid.T) {
			j := newJudging(t)
			defer j.feed.end()
			t.Repeat(map[string]func(*rapid.T){
				"": j.check, "anything": j.Anything, "register": j.Register, "expire": j.Expire, "expire again": j.Expire,
				"reset": j.Reset, "pass": j.Pass, "ask": j.Ask, "answer": j.Answer, "read": j.Read,
			})
			j.Read(t)
			for _, k := range slices.Concat(j.slow.kept, j.prompt.kept) {
				k.intact(t)
			}
		})
	})
}
