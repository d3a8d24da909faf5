package history

import (
	"testing"

	"github.com/rollcall-io/rollcall"
)

// report tells of a check's report under a lease, at the next revision; nil: of its key's end.
func (s *story) report(id, of string, lease int64, h *rollcall.Health) {
	s.t.Helper()
	s.rev++
	e := rollcall.JournalEntry{Kind: rollcall.JournalChange, About: rollcall.AboutHealth, Revision: s.rev, Service: "svc", ID: id}
	if e.Deleted = h == nil; !e.Deleted {
		e.After = rollcall.Fact{Health: h, Of: of, Lease: lease}
	}
	s.tell(e)
}

func TestAServerThatGoesTakesItsReportsAlongAndTheNextOneIsNoNews(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	failing := &rollcall.Health{Failing: true, Checker: "s1", Detail: "refused"}
	s.put("a", nil, instance("a", "1"), false)
	s.report("a", "1", 70, failing)
	s.report("a", "1", 70, nil) // with its lease: nothing else is under that
	s.report("a", "1", 7, failing)
	s.report("a", "1", 7, nil) // the instance's lease is the same, and it stands
	s.caughtUp()
	mustEqual(t, "told", s.all(Filter{Service: "svc"}), []string{"joined a", "unhealthy a", "healthy a"})
}

func TestARestartOfAnInstanceForgetsWhatAllChecksSaid(t *testing.T) {
	t.Parallel()
	s := begin(t, Config{})
	failing := &rollcall.Health{Failing: true, Checker: "s1", Detail: "refused"}
	one := instance("a", "1")
	s.put("a", nil, one, false)
	s.report("a", "1", 7, failing)
	s.put("a", one, instance("a", "2"), false)
	s.report("a", "1", 7, nil)
	s.report("a", "2", 7, failing)
	s.report("a", "2", 7, &rollcall.Health{Checker: "s1"})
	s.caughtUp()
	mustEqual(t, "told", s.all(Filter{Service: "svc"}), []string{"joined a", "unhealthy a", "replaced a", "unhealthy a", "healthy a"})
}
