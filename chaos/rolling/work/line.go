// Package work is what the processes of a rolling restart agree on: the gRPC service that is called, and what they write
// down of it. It knows nothing of rollcall, so that a judge may use it.
package work

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall/chaos/journal"
)

// What is what a line tells.
type What string

// What a server tells of its life, with the time as At, and of each call that reaches it.
const (
	Listening What = "listening" // Addr: it can be connected to
	Ready     What = "ready"     // it is registered, and sees itself in a watch
	Draining  What = "draining"  // it has told etcd that it is to be sent nothing new
	Goodbye   What = "goodbye"   // it has told etcd that it is gone
	Stopped   What = "stopped"   // it serves no more; Message says why, if it was not told to
	Began     What = "began"     // Call, Kind
	Ended     What = "ended"     // Call, Kind; Message if the call was cut off
)

// What a caller tells.
const (
	Called What = "call" // Kind, Begin, End, Code, Message, and Addr if it is known: a call that is over, well or not
)

// What the run itself tells, with the time as At.
const (
	Told    What = "told"    // the server Of is told to end
	Quiet   What = "quiet"   // the callers have ended, and all servers are told to: nothing is restarted any more
	Exited  What = "exited"  // the process Of has ended; Message if not as it should
	Killed  What = "killed"  // Of: a member of etcd, or all of it
	Revived What = "revived" // Of: it runs again
)

// What anybody may tell.
const (
	Stalled What = "stalled" // Begin, End: the machine did not run, in all this time, who only wanted to be woken
)

// Line is one line of a journal. Times are those of the machine's monotonic clock, in nanoseconds.
type Line struct {
	What    What          `json:"what"`
	At      time.Duration `json:"at,omitempty"`
	Kind    Kind          `json:"kind,omitempty"`
	Begin   time.Duration `json:"begin,omitempty"`
	End     time.Duration `json:"end,omitempty"`
	Addr    string        `json:"addr,omitempty"`
	Code    string        `json:"code,omitempty"`
	Message string        `json:"message,omitempty"`
	Call    int64         `json:"call,omitempty"`
	Of      string        `json:"of,omitempty"`

	By string `json:"-"` // the process whose journal it stands in
}

// Journal is what one process writes down. It may be used concurrently.
type Journal struct {
	mu   sync.Mutex
	file *os.File // guarded by mu
}

// Create begins a journal.
func Create(name string) (*Journal, error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	return &Journal{file: f}, nil
}

// Tell writes a line, at once, so that nothing is lost with the process. A line that has no time gets the present one.
func (j *Journal) Tell(l Line) {
	if l.At == 0 && l.End == 0 {
		l.At = journal.Now()
	}
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // there is nothing in a line that JSON cannot say
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.file.Write(append(text, '\n'))
}

// Close closes the file; what is told afterwards is lost.
func (j *Journal) Close() { _ = j.file.Close() }

// Reader reads a journal while it is written.
type Reader struct {
	name string
	file *os.File
	in   *bufio.Reader
	part []byte // of a line that is not complete yet
}

// Next returns the next line, and false if there is none yet.
func (r *Reader) Next() (Line, bool, error) {
	if r.file == nil {
		f, err := os.Open(r.name)
		if err != nil {
			return Line{}, false, nil // its process has not come so far
		}
		r.file, r.in = f, bufio.NewReader(f)
	}
	text, err := r.in.ReadBytes('\n')
	r.part = append(r.part, text...)
	if err != nil {
		return Line{}, false, nil
	}
	l := Line{By: strings.TrimSuffix(filepath.Base(r.name), Extension)}
	if err := json.Unmarshal(r.part, &l); err != nil {
		return Line{}, false, fmt.Errorf("%s: %w in %s", r.name, err, r.part)
	}
	r.part = r.part[:0]
	return l, true, nil
}

// Close closes the file.
func (r *Reader) Close() {
	if r.file != nil {
		_ = r.file.Close()
	}
}

// Extension is how the names of journals end; before it stands whose journal it is.
const Extension = ".jsonl"

// Open prepares to read a journal, which need not exist yet.
func Open(name string) *Reader { return &Reader{name: name} }

// ReadAll reads all journals in a folder. A last line that was cut short by the death of its process is left out.
func ReadAll(dir string) ([]Line, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*"+Extension))
	var all []Line
	for _, name := range names {
		if all, err = appendAll(all, name); err != nil {
			return nil, err
		}
	}
	return all, err
}

func appendAll(all []Line, name string) ([]Line, error) {
	r := Open(name)
	defer r.Close()
	for {
		l, more, err := r.Next()
		if err != nil || !more {
			return all, err
		}
		all = append(all, l)
	}
}
