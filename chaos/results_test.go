package chaos

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rollcall-io/rollcall/chaos/rolling/work"
	"github.com/rollcall-io/rollcall/chaos/world"
)

// results is what all runs of one start of the suite found, for the page.
type results struct {
	mu       sync.Mutex
	outcomes []outcome     // guarded by mu
	rolls    []rollOutcome // guarded by mu
	peers    []peerCell    // guarded by mu
	versions []string      // of the peers; guarded by mu
}

func (r *results) add(o outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes = append(r.outcomes, o)
}

func (r *results) addRoll(o rollOutcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rolls = append(r.rolls, o)
}

// write writes the page.
func (r *results) write(name string, took time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var page bytes.Buffer
	fmt.Fprintf(&page, "# What the chaos suite found on %s\n\n", time.Now().UTC().Format("2006-01-02"))
	r.writeMachine(&page, took)
	r.writeScenarios(&page)
	r.writeWithout(&page)
	r.writeRolls(&page)
	r.writePeers(&page)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, page.Bytes(), 0o644)
}

func (r *results) writeMachine(page *bytes.Buffer, took time.Duration) {
	fmt.Fprintf(page, "| what | |\n|---|---|\n")
	fmt.Fprintf(page, "| command | `make chaos` |\n")
	fmt.Fprintf(page, "| commit | %s |\n", output("git", "describe", "--always", "--dirty"))
	fmt.Fprintf(page, "| machine | %d processors, Linux %s, %s |\n", runtime.NumCPU(), kernel(), runtime.Version())
	fmt.Fprintf(page, "| etcd | %s |\n", etcdVersion())
	fmt.Fprintf(page, "| took | %s |\n\n", took.Round(time.Second))
}

func (r *results) writeScenarios(page *bytes.Buffer) {
	fmt.Fprint(page, "## Scenarios\n\nLost: live instances that were deleted from etcd. Missing: the longest that a live instance was not in etcd while etcd\n"+
		"was there. Behind: the longest that a view did not show what etcd held.\n\n"+
		"| scenario | what is done | broken promises | lost | missing | behind | measured | seed | took |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, o := range r.sorted(false) {
		fmt.Fprintf(page, "| %s | %s | %s | %d of %d | %s | %s | %s | %d | %s |\n", o.name, o.fault, o.broken(),
			o.figures.Deleted, o.figures.Alive, seconds(o.figures.Absent), seconds(o.figures.Wrong), o.loads(), o.seed, o.took.Round(time.Second))
	}
	fmt.Fprintln(page)
}

func (r *results) writeWithout(page *bytes.Buffer) {
	fmt.Fprint(page, "## The same without its protection\n\nEach scenario must find something broken when what it is about is taken out.\n\n"+
		"| scenario | without | broken promises | lost | missing | behind | seed |\n|---|---|---|---|---|---|---|\n")
	for _, o := range r.sorted(true) {
		fmt.Fprintf(page, "| %s | %s | %s | %d of %d | %s | %s | %d |\n", o.name, o.without, o.broken(),
			o.figures.Deleted, o.figures.Alive, seconds(o.figures.Absent), seconds(o.figures.Wrong), o.seed)
	}
	fmt.Fprintln(page)
}

// writeRolls is left out where no restart was played: of a part of the suite.
func (r *results) writeRolls(page *bytes.Buffer) {
	if len(r.rolls) == 0 {
		return
	}
	fmt.Fprint(page, "## Rolling restarts\n\nHow long the longest call of each kind took, of which 20 ms, 1 s and 300 ms were work. Calls of the controls must fail.\n\n"+
		"| variant | what is done | restarts | calls | failed | quick | slow | stream | took |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, o := range r.rolls {
		fmt.Fprintf(page, "| %s | %s | %d | %d | %d |", o.name, o.about, o.verdict.Restarts, o.verdict.All(), o.verdict.Failed)
		for _, k := range work.Kinds {
			fmt.Fprintf(page, " %v |", o.verdict.Worst[k].Round(time.Millisecond))
		}
		fmt.Fprintf(page, " %s |\n", o.took.Round(time.Second))
	}
	fmt.Fprintln(page)
}

// sorted returns the outcomes with everything in place, or those without, in the order of the scenarios.
func (r *results) sorted(without bool) []outcome {
	order := map[string]int{}
	for n, s := range scenarios() {
		order[s.name] = n
	}
	all := slices.DeleteFunc(slices.Clone(r.outcomes), func(o outcome) bool { return (o.without != "") != without })
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(order[a.name], order[b.name]) })
	return all
}

// broken names the invariants that a run broke, and how often.
func (o outcome) broken() string {
	counts := map[string]int{}
	for _, v := range o.violations {
		counts[v.Invariant]++
	}
	if len(counts) == 0 {
		return "none"
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%s × %d", name, counts[name]))
	}
	return strings.Join(all, ", ")
}

// loads are the figures that a scenario measured beside those of every run.
func (o outcome) loads() string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(o.figures.Load)) {
		if o.figures.Load[name] == 0 && (name == world.Unregistered || name == world.Unviewed) {
			continue
		}
		all = append(all, fmt.Sprintf("%s: %.3g", name, o.figures.Load[name]))
	}
	return strings.Join(all, "; ")
}

func seconds(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < 50*time.Millisecond:
		return "< 0.1 s"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func output(name string, args ...string) string {
	out, err := exec.Command(name, args...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return string(u.Release[:bytes.IndexByte(u.Release[:], 0)])
}

func etcdVersion() string {
	p, err := programs.Current()
	if err != nil {
		return "unknown"
	}
	first, _, _ := strings.Cut(output(p.Etcd, "--version"), "\n")
	return first
}
