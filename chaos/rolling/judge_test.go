package rolling

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rollcall-io/rollcall/chaos/rolling/work"
)

const ms = time.Millisecond

// good is a run in which one of two servers was restarted at 1 s and nothing is wrong: two calls of each kind.
func good() []work.Line {
	lines := []work.Line{
		{By: "run", What: work.Told, Of: "s1", At: 1000 * ms},
		{By: "run", What: work.Exited, Of: "c", At: 8900 * ms},
		{By: "run", What: work.Quiet, At: 9000 * ms},
		{By: "run", What: work.Told, Of: "s2", At: 9000 * ms},
		{By: "run", What: work.Exited, Of: "s1"},
		{By: "run", What: work.Exited, Of: "s2"},
		{By: "s1", What: work.Listening, Addr: "a1", At: 1 * ms},
		{By: "s1", What: work.Ready, At: 2 * ms},
		{By: "s1", What: work.Began, Kind: work.Quick, At: 999 * ms},
		{By: "s1", What: work.Draining, At: 1001 * ms},
		{By: "s1", What: work.Goodbye, At: 1300 * ms},
		{By: "s1", What: work.Stopped, At: 1400 * ms},
		{By: "s2", What: work.Listening, Addr: "a2", At: 500 * ms},
		{By: "s2", What: work.Began, Kind: work.Slow, At: 1500 * ms},
	}
	for _, k := range work.Kinds {
		for _, addr := range []string{"a1", "a2"} {
			lines = append(lines, work.Line{By: "c", What: work.Called, Kind: k, Begin: 900 * ms, End: 901*ms + k.Lasts(), Addr: addr, Code: work.OK})
		}
	}
	return lines
}

// without leaves out the lines that a process has told of a kind.
func without(by string, what work.What) func([]work.Line) []work.Line {
	return func(lines []work.Line) []work.Line {
		return slices.DeleteFunc(lines, func(l work.Line) bool { return l.By == by && l.What == what })
	}
}

func with(more ...work.Line) func([]work.Line) []work.Line {
	return func(lines []work.Line) []work.Line { return append(lines, more...) }
}

func called(begin, end time.Duration, code string) work.Line {
	return work.Line{By: "c", What: work.Called, Kind: work.Quick, Begin: begin, End: end, Addr: "a1", Code: code, Message: "EOF"}
}

// answered is a quick call of a caller that a server answered.
func answered(caller, addr string) work.Line {
	return work.Line{By: caller, What: work.Called, Kind: work.Quick, Begin: 600 * ms, End: 620 * ms, Addr: addr, Code: work.OK}
}

func stalled(begin, end time.Duration) work.Line {
	return work.Line{By: "run", What: work.Stalled, Begin: begin, End: end}
}

func began(by string, at time.Duration) work.Line {
	return work.Line{By: by, What: work.Began, Kind: work.Quick, At: at}
}

func TestTheJudgeSeesWhatIsWrongAndNothingElse(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func([]work.Line) []work.Line
		expect Expect
		want   []string // the faults, each by its name and what it says
	}{
		"a good run": {with(), Expect{Calls: 6, Restarts: 1}, nil},
		"a call that failed": {
			with(called(1350*ms, 1360*ms, "Unavailable")),
			Expect{},
			[]string{"failed: c's quick call Unavailable: EOF, by a1, s1; told to end -350 ms, draining -349 ms, goodbye -50 ms, stopped +50 ms, end of the call +10 ms"},
		},
		"a call within its time":                   {with(called(1000*ms, 1519*ms, work.OK)), Expect{}, nil},
		"a call that was late":                     {with(called(1000*ms, 1520*ms, work.OK)), Expect{}, []string{"late: c's quick call OK"}},
		"a call that the machine was late for":     {with(called(1000*ms, 1600*ms, work.OK), stalled(900*ms, 1100*ms)), Expect{}, nil},
		"a call that was late without the machine": {with(called(1000*ms, 1600*ms, work.OK), stalled(1550*ms, 1700*ms)), Expect{}, []string{"late: c's quick call OK"}},
		"a stall that two have noted":              {with(called(1000*ms, 1600*ms, work.OK), stalled(1000*ms, 1070*ms), stalled(1000*ms, 1070*ms)), Expect{}, []string{"late: c's quick call OK"}},
		"another call's stall":                     {with(called(1000*ms, 1600*ms, work.OK), stalled(2000*ms, 9000*ms)), Expect{}, []string{"late: c's quick call OK"}},
		"a call soon after the goodbye":            {with(began("s1", 1800*ms)), Expect{}, nil},
		"a call long after the goodbye":            {with(began("s1", 1801*ms)), Expect{}, []string{"after goodbye: a call began at s1 501ms after it"}},
		"a caller that stood still till then":      {with(began("s1", 1901*ms), stalled(1300*ms, 1500*ms)), Expect{}, nil},
		"a server that said no goodbye":            {without("s1", work.Goodbye), Expect{}, []string{"untold: 1 servers"}},
		"one that could say none":                  {without("s1", work.Goodbye), Expect{Untold: 1}, nil},
		"a server that nobody called":              {without("s2", work.Began), Expect{}, []string{"idle: s2"}},
		"a server that ended by itself": {
			with(work.Line{By: "s3", What: work.Listening, Addr: "a3", At: 1 * ms}, began("s3", 2*ms), answered("c", "a3"), work.Line{By: "s3", What: work.Stopped, At: 700 * ms}),
			Expect{},
			[]string{"ended: s3 ended, though nobody"},
		},
		"a caller that crashed":   {with(work.Line{By: "run", What: work.Exited, Of: "c2", Message: "exit status 2"}), Expect{}, []string{"ended: c2 ended badly: exit status 2"}},
		"fewer calls than wanted": {with(), Expect{Calls: 7}, []string{"few: 6 calls"}},
		"fewer restarts":          {with(), Expect{Restarts: 2}, []string{"few: 1 restarts"}},
		"no calls at all":         {without("c", work.Called), Expect{}, []string{"few: no quick", "few: no slow", "few: no stream"}},
		"a caller that makes no slow calls nor streams": {
			with(answered("c2", "a1"), answered("c2", "a2"), work.Line{By: "run", What: work.Exited, Of: "c2", At: 8900 * ms}),
			Expect{},
			[]string{"few: no slow call of c2", "few: no stream call of c2"},
		},
		"a caller that does not reach a server": {
			func(lines []work.Line) []work.Line {
				return slices.DeleteFunc(lines, func(l work.Line) bool { return l.What == work.Called && l.Addr == "a2" })
			},
			Expect{},
			[]string{"idle: s2 was never called by c"},
		},
		"a caller that reached only who had the address before": {
			with(work.Line{By: "s3", What: work.Listening, Addr: "a1", At: 2000 * ms}, began("s3", 2001*ms), work.Line{By: "run", What: work.Told, Of: "s3", At: 9000 * ms}),
			Expect{},
			[]string{"idle: s3 was never called by c"},
		},
		"a caller that does not say whom it reaches": {
			func(lines []work.Line) []work.Line {
				for i := range lines {
					if lines[i].What == work.Called {
						lines[i].Addr = ""
					}
				}
				return lines
			},
			Expect{},
			nil,
		},
		"a call before there was a server":   {with(called(0, 20*ms, work.OK)), Expect{}, []string{"clock: a call of c"}},
		"a call that ended after its caller": {with(called(8890*ms, 8901*ms, work.OK)), Expect{}, []string{"clock: a call of c"}},
		"a call that ended before it began":  {with(called(900*ms, 899*ms, work.OK)), Expect{}, []string{"clock: a call of c"}},
		"a caller with a clock of another kind": {
			with(called(1_700_000_000*time.Second, 1_700_000_001*time.Second, "Unavailable")),
			Expect{},
			[]string{"failed: ", "clock: a call of c"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := Judge(tc.expect, tc.change(good()))
			for i, f := range v.Faults {
				if i >= len(tc.want) || !strings.HasPrefix(f.Name+": "+f.Text, tc.want[i]) {
					t.Errorf("fault %d is %q", i, f)
				}
			}
			if len(v.Faults) != len(tc.want) {
				t.Errorf("%d faults, want %q", len(v.Faults), tc.want)
			}
		})
	}
}

func TestTheJudgeDoesNotUseWhatItJudges(t *testing.T) {
	t.Parallel()
	const module, own = "github.com/rollcall-io/rollcall", "github.com/rollcall-io/rollcall/chaos/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if len(deps) < 10 {
		t.Fatalf("%d dependencies: has the list been read?", len(deps))
	}
	for _, dep := range deps {
		if strings.HasPrefix(dep, module) && !strings.HasPrefix(dep, own) && dep != module+"/internal/faultproxy" {
			t.Errorf("it depends on %s", dep)
		}
	}
}

func TestTheVerdictHasFiguresOfAllCalls(t *testing.T) {
	t.Parallel()
	v := Judge(Expect{}, append(good(), called(1350*ms, 1360*ms, "Unavailable"), called(0, 5*time.Second, work.OK),
		began("s1", 1350*ms), stalled(500*ms, 600*ms), stalled(100*ms, 350*ms), stalled(200*ms, 400*ms), stalled(210*ms, 220*ms)))
	got := v
	got.Faults = nil
	want := Verdict{
		Calls: map[work.Kind]int{work.Quick: 4, work.Slow: 2, work.Stream: 2}, Failed: 1,
		Worst: map[work.Kind]time.Duration{work.Quick: 5 * time.Second, work.Slow: 1001 * ms, work.Stream: 301 * ms},
		By:    map[string]Tally{"c": {Calls: map[work.Kind]int{work.Quick: 4, work.Slow: 2, work.Stream: 2}, Failed: 1}},
		After: 50 * ms, Restarts: 1, Stalls: 400 * ms, Longest: 300 * ms,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("verdict (-want +got):\n%s", diff)
	}
	if report := v.Report(); !strings.Contains(report, "failed: ") || !strings.Contains(report, "late: ") {
		t.Errorf("the report leaves something out:\n%s", report)
	}
}

func TestAReportStaysShort(t *testing.T) {
	t.Parallel()
	var many []work.Line
	for range 100 {
		many = append(many, called(1350*ms, 1360*ms, "Unavailable"))
	}
	report := Judge(Expect{}, append(good(), many...)).Report()
	if n := strings.Count(report, "\n"); n != 6 || !strings.Contains(report, "failed: 95 more") {
		t.Errorf("%d lines:\n%s", n, report)
	}
}
