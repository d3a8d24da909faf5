// Package result is the raw file of a run: what the benchmarks have printed, in the format of Go's benchmarks that benchstat
// reads, with what else a page has to say about the run. The page can be made from it again at any time.
package result

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Module is what the paths of packages begin with.
const Module = "github.com/rollcall-io/rollcall"

// A Run is what a file holds.
type Run struct {
	Meta    []Fact
	Samples []Sample
	Notes   []string // what went wrong, and what was left out
}

// A Fact is one thing that is to be known about a run, or about where it took place.
type Fact struct{ Key, Value string }

// A Sample is one line of one benchmark in one round.
type Sample struct {
	Package string
	Name    string // without "Benchmark", and without the number of processors at its end
	Round   int
	Metrics map[string]float64 // by unit
}

// Fact returns a fact; "" if it is not there.
func (r *Run) Fact(key string) string {
	for _, f := range r.Meta {
		if f.Key == key {
			return f.Value
		}
	}
	return ""
}

// Add adds what another run has measured, as further rounds. What is known about the run stays.
func (r *Run) Add(other *Run) {
	last := 0
	for _, s := range r.Samples {
		last = max(last, s.Round)
	}
	for _, s := range other.Samples {
		s.Round += last
		r.Samples = append(r.Samples, s)
	}
	for _, note := range other.Notes {
		r.Notes = append(r.Notes, "in the run of "+other.Fact("date")+": "+note)
	}
}

const (
	roundMark = "# round "
	noteMark  = "# note "
)

// procs is what the testing package appends to a name.
var procs = regexp.MustCompile(`-\d+$`)

// Read reads a file.
func Read(from io.Reader) (*Run, error) {
	var run Run
	pkg, round, number := "", 1, 0
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		number++
		line := lines.Text()
		if rest, is := strings.CutPrefix(line, roundMark); is {
			n, err := strconv.Atoi(rest)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", number, err)
			}
			round = n
			continue
		}
		if note, is := strings.CutPrefix(line, noteMark); is {
			run.Notes = append(run.Notes, note)
			continue
		}
		if key, value, is := fact(line); is {
			if key == "pkg" {
				pkg = value
			} else {
				run.Meta = append(run.Meta, Fact{key, value})
			}
			continue
		}
		if s, is := ParseLine(line); is {
			s.Package, s.Round = pkg, round
			run.Samples = append(run.Samples, s)
		}
	}
	return &run, lines.Err()
}

// fact reads "key: value", where the key is of the kind that benchstat takes for one.
func fact(line string) (key, value string, is bool) {
	key, value, is = strings.Cut(line, ":")
	if !is || key == "" || key[0] < 'a' || key[0] > 'z' || strings.ContainsAny(key, " \t") || strings.ToLower(key) != key {
		return "", "", false
	}
	return key, strings.TrimSpace(value), true
}

// ParseLine reads what a benchmark prints: its name, how often it ran, and pairs of a number and a unit. Any other line is
// none.
func ParseLine(line string) (Sample, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || len(fields)%2 != 0 || !strings.HasPrefix(fields[0], "Benchmark") {
		return Sample{}, false
	}
	if _, err := strconv.Atoi(fields[1]); err != nil {
		return Sample{}, false
	}
	s := Sample{Name: procs.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), ""), Metrics: map[string]float64{}}
	for pair := range slices.Chunk(fields[2:], 2) {
		value, err := strconv.ParseFloat(pair[0], 64)
		if err != nil {
			return Sample{}, false
		}
		s.Metrics[pair[1]] = value
	}
	return s, true
}

// A Writer writes a file while the run goes on, so that what is there stays if it ends early.
type Writer struct {
	to    io.Writer
	pkg   string
	round int
}

// NewWriter begins a file with what is known before.
func NewWriter(to io.Writer, meta []Fact) (*Writer, error) {
	w := &Writer{to: to, round: 1}
	for _, f := range meta {
		if _, err := fmt.Fprintf(to, "%s: %s\n", f.Key, oneLine(f.Value)); err != nil {
			return nil, err
		}
	}
	return w, nil
}

// Lines writes what a benchmark of a package has printed in a round. What is no line of a benchmark is left out. It
// returns how many lines there were.
func (w *Writer) Lines(pkg string, round int, output string) (lines int, err error) {
	var text strings.Builder
	for line := range strings.Lines(output) {
		if _, is := ParseLine(line); !is {
			continue
		}
		lines++
		if round != w.round {
			fmt.Fprintf(&text, "%s%d\n", roundMark, round)
			w.round = round
		}
		if pkg != w.pkg {
			fmt.Fprintf(&text, "pkg: %s\n", pkg)
			w.pkg = pkg
		}
		text.WriteString(strings.TrimRight(line, "\r\n") + "\n")
	}
	_, err = io.WriteString(w.to, text.String())
	return lines, err
}

// Note writes a sentence for the page.
func (w *Writer) Note(format string, args ...any) error {
	_, err := fmt.Fprintf(w.to, "%s%s\n", noteMark, oneLine(fmt.Sprintf(format, args...)))
	return err
}

// oneLine keeps what is to be one line from being several.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
