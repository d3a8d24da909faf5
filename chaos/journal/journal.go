// Package journal is what the processes of a chaos run write down while it lasts, and what the judge reads afterwards:
// one JSON object per line, each with the time of one clock that all processes of a machine share. It knows nothing of
// rollcall, so that a judge may use it.
package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what an event tells.
type Kind string

// What a process with instances tells about itself. A call is told when it begins and when it has returned, the latter
// with the error if it failed.
const (
	Started       Kind = "started"       // the process runs
	Registering   Kind = "registering"   // Service, ID: a Register was called
	Registered    Kind = "registered"    // Service, ID, Incarnation where there is one: it has returned; Err if it failed
	Updating      Kind = "updating"      // Service, ID
	Updated       Kind = "updated"       // Service, ID, State as it was written; Err if it failed
	Deregistering Kind = "deregistering" // Service, ID
	Deregistered  Kind = "deregistered"  // Service, ID; Err if it failed
	Ended         Kind = "ended"         // Service, ID: the registration has ended by itself; Err says why
	Listing       Kind = "listing"       // Service: a linearizable list was asked for
	Listed        Kind = "listed"        // Service, Changed: all that there is; Err if it failed
	Closing       Kind = "closing"       // the process was told to end and gives up all that it holds
	Closed        Kind = "closed"        // it has; Err if that failed
	Usage         Kind = "usage"         // Goroutines, Descriptors and Heap of the process now
)

// What a watching process tells.
const (
	// Viewed says that the watcher returned a view: Service, Revision, Size, Stale, Reset, and how it differs from the
	// view that this watcher returned before: Changed (new, or not as before) and Left. The first one lists everybody.
	Viewed Kind = "viewed"
	// Unviewed says that the watcher returned an error instead, or one that no view accompanies; Err.
	Unviewed Kind = "unviewed"
)

// What somebody tells who asks for names by DNS.
const (
	// Answered says what became of a question: Name (what was asked), Service (which that is about), Target (the process that was asked), Took;
	// Text is the code of the answer, TTL for how long it may be kept, Found the ids of the instances in it. Err: there was none.
	Answered Kind = "answered"
)

// What the run itself tells: the faults that it makes, and what its processes cannot tell of themselves.
const (
	Expecting   Kind = "expecting"   // Expect: how the run is to be judged; the run's first event
	Fault       Kind = "fault"       // Name begins on Target
	Returning   Kind = "returning"   // what Name did to Target is taken back from now on, which takes a while
	Healed      Kind = "healed"      // Name is over on Target
	Unreachable Kind = "unreachable" // from now on, the process Target can reach no member, is stopped, or is dead
	Reachable   Kind = "reachable"   // the process Target can reach etcd again
	Meddled     Kind = "meddled"     // Service, ID: the run deletes or overwrites the instance's key now, or ends its lease
	Rewritten   Kind = "rewritten"   // etcd's store is another from now on: Epoch, Name (wipe, restore)
	Quiet       Kind = "quiet"       // there are no more faults and no more changes from now on
	Done        Kind = "done"        // the run is over: what is told after it is the clean-up
	Exited      Kind = "exited"      // the process Target has ended: Code, -1 for a signal; Told says whether it was told to
	Load        Kind = "load"        // Name, Value: a figure that was measured over the run
)

// What the readers of the history tell, when everything else is over.
const (
	Recounting Kind = "recounting" // a reader begins to tell what it knows, from Revision to Value; Reset: it began after the run did, from etcd's past
	Recounted  Kind = "recounted"  // Name happened at Revision; of an instance: Service, ID, Incarnation
)

// What the judge's own watchers of etcd tell.
const (
	Put     Kind = "put"     // Epoch, Revision, Key, Value (its first bytes), Lease; Service, ID, Incarnation, State as the value says
	Deleted Kind = "deleted" // Epoch, Revision, Key; Service and ID
	Leases  Kind = "leases"  // Value: how many leases etcd holds
)

// Member is one instance in a view or a list.
type Member struct {
	ID          string `json:"id"`
	Incarnation string `json:"inc,omitempty"`
	State       string `json:"state,omitempty"` // what the instance says of itself: serving, draining
	Suspect     bool   `json:"suspect,omitempty"`
}

// Event is one line of a journal. What each field says depends on the kind.
type Event struct {
	At   time.Duration `json:"at"` // by the clock of [Now]
	By   string        `json:"by"` // the process, or judge, or nemesis
	What Kind          `json:"what"`

	Service     string   `json:"service,omitempty"`
	ID          string   `json:"id,omitempty"`
	Incarnation string   `json:"inc,omitempty"`
	State       string   `json:"state,omitempty"`
	Err         string   `json:"err,omitempty"`
	Revision    int64    `json:"rev,omitempty"`
	Size        int      `json:"size,omitempty"`
	Stale       bool     `json:"stale,omitempty"`
	Reset       bool     `json:"reset,omitempty"`
	Changed     []Member `json:"changed,omitempty"`
	Left        []string `json:"left,omitempty"`
	Expired     []string `json:"expired,omitempty"` // of those that left, the ones that are marked as expired

	Name        string  `json:"name,omitempty"`
	Target      string  `json:"target,omitempty"`
	Value       float64 `json:"value,omitempty"`
	Code        int     `json:"code,omitempty"`
	Told        bool    `json:"told,omitempty"`
	Epoch       int     `json:"epoch,omitempty"`
	Key         string  `json:"key,omitempty"`
	Text        string  `json:"text,omitempty"` // the first bytes of a key's value
	Lease       int64   `json:"lease,omitempty"`
	Goroutines  int     `json:"goroutines,omitempty"`
	Descriptors int     `json:"descriptors,omitempty"`
	Heap        int64   `json:"heap,omitempty"` // bytes in use after a collection

	Took  time.Duration `json:"took,omitempty"`
	TTL   time.Duration `json:"ttl,omitempty"`
	Found []string      `json:"found,omitempty"`

	Expect *Expect `json:"expect,omitempty"`
}

// Expect is how a run is to be judged. A zero bound means that its invariant is not checked.
type Expect struct {
	Scenario string        `json:"scenario"`
	Seed     int64         `json:"seed"`
	TTL      time.Duration `json:"ttl"`
	// Visible bounds how long after a Register that returned nil every watcher that can reach etcd shows the instance.
	Visible time.Duration `json:"visible,omitempty"`
	// Back bounds how long a live instance may be missing from etcd once its process can reach etcd (again), or after a
	// Rewritten or Healed event.
	Back time.Duration `json:"back,omitempty"`
	// Gone bounds how long the keys of a process that was killed stay.
	Gone time.Duration `json:"gone,omitempty"`
	// Converge bounds how long after Quiet every view equals etcd's content, is fresh and doubts nobody.
	Converge time.Duration `json:"converge,omitempty"`
	// Close bounds how long a process takes to end that was told to.
	Close time.Duration `json:"close,omitempty"`
	// Doubts says that views may show live instances as suspects; else that is a fault.
	Doubts bool `json:"doubts,omitempty"`
	// Unreadable says that there are values in etcd that no reader understands: then views are compared less strictly.
	Unreadable bool `json:"unreadable,omitempty"`
	// Linearizable says that nobody but the processes themselves takes keys away: then every list must see what was
	// registered last.
	Linearizable bool `json:"linearizable,omitempty"`
	// Most bounds the figures that Load events tell, by name.
	Most map[string]float64 `json:"most,omitempty"`
	// Names says how answers by DNS are to be judged.
	Names *Names `json:"names,omitempty"`
}

// Names is what is expected of answers by DNS.
type Names struct {
	// Prompt bounds how long an answer takes.
	Prompt time.Duration `json:"prompt"`
	// Right bounds how long after a Register that returned, or a goodbye, the answers know of it.
	Right time.Duration `json:"right"`
	// TTL is for how long an answer may be kept, Brief for how long one may be that was given without etcd; Old bounds how long after etcd went
	// out of reach answers are of that kind.
	TTL   time.Duration `json:"ttl"`
	Brief time.Duration `json:"brief"`
	Old   time.Duration `json:"old"`
	// TooOld is for how long answers are given without etcd, before there is SERVFAIL instead. 0: for longer than the run.
	TooOld time.Duration `json:"tooOld,omitempty"`
}

// Now is the time by the machine's monotonic clock, which all its processes share and nobody sets.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // every Linux has this clock
	}
	return time.Duration(ts.Nano())
}

// Writer writes events for one process. It may be used concurrently.
type Writer struct {
	by  string
	mu  sync.Mutex
	out io.Writer // guarded by mu
}

// NewWriter writes to out, one Write per event, what by tells.
func NewWriter(out io.Writer, by string) *Writer { return &Writer{by: by, out: out} }

// Tell writes an event, and fills in when and by whom, unless the event says when. An event that cannot be written is lost.
func (w *Writer) Tell(e Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.By = w.by; e.At == 0 {
		e.At = Now()
	}
	line, err := json.Marshal(e)
	if err != nil {
		panic(err) // there is nothing in an event that JSON cannot say
	}
	_, _ = w.out.Write(append(line, '\n'))
}

// Read reads all journals (*.jsonl) in a directory, in the order of their times. A last line that was cut short by the
// death of its process is left out; any other line that cannot be read is an error.
func Read(dir string) ([]Event, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		return nil, err
	}
	var all []Event
	for _, name := range names {
		if all, err = appendFile(all, name); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(all, func(a, b Event) int { return int(a.At - b.At) })
	return all, nil
}

func appendFile(all []Event, name string) ([]Event, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return all, nil // the end, or a line without one
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		all = append(all, e)
	}
}
