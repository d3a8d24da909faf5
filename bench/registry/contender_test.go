//go:build linux

package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// job is what a contender is to do.
type job struct {
	Do       string // list, hold, watch, shown, renewed, profile
	Endpoint string // etcd's

	Prefix  string // list: where all services lie
	Service string // list: which one; "" is all

	Clients int           // hold, watch: programs, each with a client of its own
	Each    int           // hold: instances of each program
	Groups  int           // watch: services that there are
	TTL     time.Duration // hold
	Over    time.Duration // hold, watch: in which the programs start, each at a moment of its own; 0 is at once
	Since   time.Time     // renewed
	Limit   time.Duration // shown, renewed: how long those are waited for that are not back yet; 10 s if it is 0
	File    string        // profile: where to; "" ends it
}

// programs calls a function for each program: for 64 of them at a time, or each at a moment of its own.
func (j job) programs(begin func(client int) error) error {
	if j.Over == 0 {
		return each(j.Clients, 64, begin)
	}
	return each(j.Clients, j.Clients, func(client int) error {
		<-time.After(rand.N(j.Over))
		return begin(client)
	})
}

func (j job) limit() time.Time { return time.Now().Add(cmp.Or(j.Limit, 10*time.Second)) }

// answer is what became of it. Times are those of the machine's clock, which all its processes share.
type answer struct {
	Err       string
	Instances int           // list
	Took, CPU time.Duration // list
	Base      memory        // list: before it, warm
	Full      memory        // list: after it
	Heap      int64         // list: what is alive after it, less what was before

	Missing      int       // shown, renewed: who is left
	Median, Last time.Time // shown: when clients had the marker. renewed: when nobody was left, or it was given up; zero: not known
}

// contender is a library, used as its users do. It has one process to itself, and is asked for one thing at a time.
type contender interface {
	// list returns how many instances there are, and all of them, so that they stay in memory.
	list(ctx context.Context, j job) (n int, held any, err error)
	// hold registers instances, and returns when all are registered.
	hold(ctx context.Context, j job) error
	// watch has every client follow one service, and returns when all have a first view. It calls seen when a client's view has the
	// marker, any number of times.
	watch(ctx context.Context, j job, seen func(client int)) error
	// unrenewed returns how many leases that are held have not been renewed after a moment, fewer and fewer, or an error if the library
	// does not tell.
	unrenewed(since time.Time) (int, error)
}

var contenders = map[string]func() contender{
	"rollcall": func() contender { return &ours{} },
	"raw":      func() contender { return &raw{} },
	"etcd-rr":  func() contender { return &naming{} },
	"gozero":   func() contender { return &goZero{} },
	"kratos":   func() contender { return &kratos{} },
}

var errNotMeasured = errors.New("is not measured of this contender")

// contend is the program of a contender's process.
func contend(name string) {
	s := &stage{contender: contenders[name]()}
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.NewFile(answersFD, "answers"))
	for {
		var j job
		if err := in.Decode(&j); err != nil {
			if !errors.Is(err, io.EOF) {
				fmt.Fprintln(os.Stderr, err)
			}
			return
		}
		a, err := s.do(j)
		if err != nil {
			a.Err = err.Error()
		}
		if err := out.Encode(a); err != nil {
			return
		}
	}
}

// stage is where a contender is asked.
type stage struct {
	contender
	shown []atomic.Int64 // by client: when its view had the marker, since 1970
}

func (s *stage) do(j job) (a answer, err error) {
	ctx := context.Background()
	switch j.Do {
	case "list":
		return s.measureList(ctx, j)
	case "hold":
		return a, s.hold(ctx, j)
	case "watch":
		s.shown = make([]atomic.Int64, j.Clients)
		return a, s.watch(ctx, j, func(client int) { s.shown[client].CompareAndSwap(0, time.Now().UnixNano()) })
	case "profile":
		return a, profileTo(j.File)
	case "shown":
		return s.untilShown(j.limit()), nil
	case "renewed":
		a, err := s.untilRenewed(j.Since, j.limit())
		if errors.Is(err, errNotMeasured) {
			a, err = answer{}, nil
		}
		return a, err
	}
	return a, fmt.Errorf("no such job: %q", j.Do)
}

// profileTo writes what the process spends its CPU on, from now on, until it is called with "".
func profileTo(file string) error {
	if file == "" {
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

// untilShown waits until all clients have had the marker, or a moment has come.
func (s *stage) untilShown(limit time.Time) (a answer) {
	var times []time.Time
	for tick := time.Tick(20 * time.Millisecond); ; <-tick {
		times = times[:0]
		for n := range s.shown {
			if at := s.shown[n].Load(); at != 0 {
				times = append(times, time.Unix(0, at))
			}
		}
		if len(times) == len(s.shown) || time.Now().After(limit) {
			break
		}
	}
	a.Missing = len(s.shown) - len(times)
	if len(times) > 0 {
		slices.SortFunc(times, time.Time.Compare)
		a.Median, a.Last = times[(len(times)-1)/2], times[len(times)-1]
	}
	return a
}

// untilRenewed does so for leases. It does not look often, which has its price.
func (s *stage) untilRenewed(since, limit time.Time) (a answer, err error) {
	for tick := time.Tick(100 * time.Millisecond); ; <-tick {
		a.Missing, err = s.unrenewed(since)
		if err != nil || a.Missing == 0 || time.Now().After(limit) {
			a.Last = time.Now()
			return a, err
		}
	}
}

// each calls a function for all numbers below n, so many at a time, and returns an error if there was any.
func each(n, atOnce int, call func(n int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range min(n, atOnce) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failed.Load() == nil; i = int(next.Add(1)) - 1 {
				if err := call(i); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}
