package work

import (
	"context"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

const (
	nap     = 5 * time.Millisecond
	tooLate = 20 * time.Millisecond
)

// NoteStalls takes down, until ctx ends, when a process was not run in time that only wanted to be woken: each Go process of
// a run does it, and the run itself. All that it had to do waited then, too, for a processor that was not to be had, and
// how long a call took meanwhile says nothing about rollcall; what is lost so is added to the bounds of the calls that it was
// lost for, and of no others. Nor does it hide what is rollcall's: code that waits, or that is busy on one processor, keeps
// nobody else in its process from waking up.
func NoteStalls(ctx context.Context, j *Journal) {
	for ctx.Err() == nil {
		due := journal.Now() + nap
		time.Sleep(nap)
		if now := journal.Now(); now-due > tooLate {
			j.Tell(Line{What: Stalled, Begin: due, End: now})
		}
	}
}
