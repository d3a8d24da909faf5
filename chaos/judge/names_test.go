package judge

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const who, nobody = "s.service. A", "nobody.service. A"

// answers are those to a question every half a second, in a time, each for a TTL.
func answers(from, to float64, name, code string, ttl time.Duration, ids ...string) []journal.Event {
	service := map[string]string{who: "s", nobody: "nobody"}[name]
	var all []journal.Event
	for at := from; at < to; at += 0.5 {
		all = append(all, journal.Event{
			At: sec(at), By: "asker", What: journal.Answered, Name: name, Service: service, Target: "names", Text: code, TTL: ttl, Found: ids, Took: time.Millisecond,
		})
	}
	return all
}

func TestTheCheckerFindsWhatIsWrongInAnswersByDNS(t *testing.T) {
	t.Parallel()
	const full, brief = 5 * time.Second, time.Second
	fine := func(from, to float64) []journal.Event { return answers(from, to, who, "NOERROR", full, "a", "b") }
	old := func(from, to float64) []journal.Event { return answers(from, to, who, "NOERROR", brief, "b", "a") }
	failing := func(from, to float64) []journal.Event { return answers(from, to, who, "SERVFAIL", 0) }
	denied := func(from, to float64) []journal.Event { return answers(from, to, nobody, "NXDOMAIN", full) }
	outage := func(from, to float64) []journal.Event {
		return []journal.Event{fault(from, journal.Fault, "etcd"), fault(to-2, journal.Returning, "etcd"), fault(to, journal.Healed, "etcd")}
	}
	joins := []journal.Event{call(29, "p", journal.Registering, "c", ""), put(29.5, 5, "c", "c1"), call(30, "p", journal.Registered, "c", "c1")}
	leaves := []journal.Event{call(30, "p", journal.Deregistering, "b", ""), deleted(30.1, 5, "b"), call(30.2, "p", journal.Deregistered, "b", "")}
	never := []string{ruleAnswered}
	for name, c := range map[string]struct {
		told   [][]journal.Event
		tooOld time.Duration
		want   []string // rules
	}{
		"all is well":    {told: [][]journal.Event{fine(5, 70), denied(5, 70)}},
		"nobody asks":    {want: []string{ruleRun}},
		"told too early": {told: [][]journal.Event{answers(1, 2, who, "NXDOMAIN", full), fine(5, 70)}},

		"a service that lives does not exist":  {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "NXDOMAIN", full), fine(31, 70)}, want: never},
		"a service that lives is empty":        {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "NOERROR", full), fine(31, 70)}, want: never},
		"one who lives is missing":             {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "NOERROR", full, "a"), fine(31, 70)}, want: never},
		"an answer is refused":                 {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "REFUSED", 0), fine(31, 70)}, want: never},
		"somebody is there who never was":      {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "NOERROR", full, "a", "b", "z"), fine(31, 70)}, want: never},
		"what nobody has registered exists":    {told: [][]journal.Event{denied(5, 30), answers(30, 30.2, nobody, "NOERROR", full), denied(31, 70)}, want: never},
		"one who lives is missing when stale":  {told: [][]journal.Event{outage(20, 40), fine(5, 21), answers(21, 38, who, "NOERROR", brief, "a"), fine(41, 70)}, want: never},
		"one who lives is missing when wiped":  {told: [][]journal.Event{{rewritten(20)}, fine(5, 20), answers(20.5, 21, who, "NOERROR", full, "a"), fine(21, 70)}, want: never},
		"who joined is never told of":          {told: [][]journal.Event{joins, fine(5, 70)}, want: never},
		"who joined is told of late":           {told: [][]journal.Event{joins, fine(5, 39), answers(39, 70, who, "NOERROR", full, "a", "b", "c")}, want: never},
		"who joined is told of in time":        {told: [][]journal.Event{joins, fine(5, 37), answers(37, 70, who, "NOERROR", full, "a", "b", "c")}},
		"who joined in an outage is told late": {told: [][]journal.Event{joins, outage(20, 40), fine(5, 21), old(21, 40), fine(40, 47), answers(47, 70, who, "NOERROR", full, "a", "b", "c")}},
		"who left is told of for long":         {told: [][]journal.Event{leaves, fine(5, 39), answers(39, 70, who, "NOERROR", full, "a")}, want: never},
		"who left is told of briefly":          {told: [][]journal.Event{leaves, fine(5, 37), answers(37, 70, who, "NOERROR", full, "a")}},

		"kept too long":                          {told: [][]journal.Event{fine(5, 30), answers(30, 30.2, who, "NOERROR", 6*time.Second, "a", "b"), fine(31, 70)}, want: []string{ruleAge}},
		"kept briefly without etcd":              {told: [][]journal.Event{outage(20, 40), fine(5, 29), old(29, 38), fine(38, 70)}},
		"kept too long without etcd":             {told: [][]journal.Event{outage(20, 40), fine(5, 70)}, want: []string{ruleAge}},
		"kept too long by a server cut off":      {told: [][]journal.Event{{told(20, "names", journal.Unreachable), told(40, "names", journal.Reachable)}, fine(5, 70)}, want: []string{ruleAge}},
		"a denial kept too long without etcd":    {told: [][]journal.Event{outage(20, 40), denied(5, 70)}, want: []string{ruleAge}},
		"still brief in the end":                 {told: [][]journal.Event{fine(5, 50), old(50, 70)}, want: []string{ruleAge}},
		"brief once more in the end":             {told: [][]journal.Event{fine(5, 67), old(67, 68), fine(68, 70)}, want: []string{ruleAge}},
		"SERVFAIL":                               {told: [][]journal.Event{fine(5, 30), failing(30, 31), fine(31, 70)}, want: []string{ruleAge}},
		"SERVFAIL without etcd":                  {told: [][]journal.Event{outage(20, 50), fine(5, 21), failing(35, 50), fine(50, 70)}, want: []string{ruleAge}},
		"SERVFAIL when it is too old":            {tooOld: 10 * time.Second, told: [][]journal.Event{outage(20, 50), fine(5, 21), old(21, 31), failing(31, 50), fine(50, 70)}},
		"SERVFAIL too early":                     {tooOld: 10 * time.Second, told: [][]journal.Event{outage(20, 50), fine(5, 21), old(21, 24), failing(24, 50), fine(50, 70)}, want: []string{ruleAge}},
		"SERVFAIL after an outage that is short": {tooOld: 20 * time.Second, told: [][]journal.Event{outage(20, 30), fine(5, 21), old(21, 30), failing(30, 31), fine(31, 70)}, want: []string{ruleAge}},
		"SERVFAIL long after":                    {tooOld: 10 * time.Second, told: [][]journal.Event{outage(20, 40), fine(5, 21), old(21, 31), failing(31, 46), fine(46, 70)}, want: []string{ruleAge}},
		"told though it is too old":              {tooOld: 10 * time.Second, told: [][]journal.Event{outage(20, 50), fine(5, 21), old(21, 50), fine(50, 70)}, want: []string{ruleAge}},

		"an answer that comes late":  {told: [][]journal.Event{fine(5, 30), {with(fine(30, 30.2)[0], func(e *journal.Event) { e.Took = 1100 * time.Millisecond })}, fine(31, 70)}, want: []string{rulePrompt}},
		"no answer":                  {told: [][]journal.Event{fine(5, 30), {with(answers(30, 30.2, who, "", 0)[0], failed)}, fine(31, 70)}, want: []string{rulePrompt}},
		"what is told after the end": {told: [][]journal.Event{fine(5, 70), answers(73, 74, who, "NXDOMAIN", full)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect := bounds()
			expect.Names = &journal.Names{Prompt: time.Second, Right: 8 * time.Second, TTL: full, Brief: brief, Old: 10 * time.Second, TooOld: c.tooOld}
			more := slices.Concat(append(c.told, []journal.Event{{At: 2, By: "nemesis", What: journal.Expecting, Expect: expect}})...)
			var got []string
			for _, v := range Check(story(more)) {
				if (v.Invariant == "names" || v.Invariant == "run") && !slices.Contains(got, v.Rule) {
					got = append(got, v.Rule)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("rules found broken (-want +got):\n%s", diff)
			}
		})
	}
}
