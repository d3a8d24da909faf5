// Package figure is the list of what is measured: which benchmarks are run, what is read from what they print, beside whom it
// stands, and which bars there are. To add a figure, add it to the list of its suite.
package figure

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall/bench/internal/result"
)

// A Benchmark is what is run as one process in each round.
type Benchmark struct {
	Package string        // its folder, from the root of the repository
	Pattern string        // of go test's -bench
	Time    string        // of go test's -benchtime; 1x if empty
	Short   string        // the same in a quick run, if it is another
	Limit   time.Duration // until it is taken for stuck; five minutes if zero
}

// A Figure is what people want to know.
type Figure struct {
	ID, Section, Title string
	Text               string // what it means, and how it is measured
	Package            string // of the benchmark: its folder, from the root of the repository
	// Benchmark matches names without "Benchmark" and in full. Its group "n", if it has one, is the size; otherwise that is
	// what follows "N=". Its group "who" is the contender, where each has a line of its own.
	Benchmark string
	// Metric is the unit in which a contender's number is printed, behind its key and a dash: "cpu-µs" for "rollcall-cpu-µs".
	Metric     string
	Contenders []Contender
	Baseline   string // key of the contender that the others are divided by
	Axis       string // what the size counts
}

// A Contender is who is measured.
type Contender struct {
	Key    string // in what benchmarks print
	Title  string // for people
	Metric string // the whole unit, where it is not the key, a dash and the figure's
}

// A Series is what was measured of a contender: by size, and then by round.
type Series map[float64]map[int]float64

var size = regexp.MustCompile(`(?:^|/)N=(\d+)`)

// Read finds the figure in samples, by contender.
func (f Figure) Read(samples []result.Sample) map[string]Series {
	pattern := regexp.MustCompile(`^(?:` + f.Benchmark + `)$`)
	all := map[string]Series{}
	for _, s := range samples {
		match := pattern.FindStringSubmatch(s.Name)
		if match == nil || s.Package != path.Join(result.Module, f.Package) {
			continue
		}
		n, who := sizeOf(s.Name, pattern, match), group(pattern, match, "who")
		for _, c := range f.Contenders {
			unit := cmp.Or(c.Metric, c.Key+"-"+f.Metric)
			if who != "" {
				if who != c.Key {
					continue
				}
				unit = cmp.Or(c.Metric, f.Metric)
			}
			value, measured := s.Metrics[unit]
			if !measured {
				continue
			}
			if all[c.Key] == nil {
				all[c.Key] = Series{}
			}
			if all[c.Key][n] == nil {
				all[c.Key][n] = map[int]float64{}
			}
			all[c.Key][n][s.Round] = value
		}
	}
	return all
}

func sizeOf(name string, pattern *regexp.Regexp, match []string) float64 {
	text := group(pattern, match, "n")
	if text == "" {
		if found := size.FindStringSubmatch(name); found != nil {
			text = found[1]
		}
	}
	n, _ := strconv.ParseFloat(text, 64)
	return n
}

func group(pattern *regexp.Regexp, match []string, name string) string {
	if i := pattern.SubexpIndex(name); i >= 0 {
		return match[i]
	}
	return ""
}

// Unit is what the figure's numbers are of: what comes after the last dash of the metric, but for those after a stroke, as in
// "answers/cpu-s".
func (f Figure) Unit() string {
	metric := f.Metric
	if metric == "" && len(f.Contenders) > 0 {
		metric = f.Contenders[0].Metric
	}
	base, per, divided := strings.Cut(metric, "/")
	base = base[strings.LastIndex(base, "-")+1:]
	if divided {
		base += "/" + per
	}
	return base
}

// Contender returns a contender by its key.
func (f Figure) Contender(key string) Contender {
	if i := slices.IndexFunc(f.Contenders, func(c Contender) bool { return c.Key == key }); i >= 0 {
		return f.Contenders[i]
	}
	return Contender{Key: key, Title: key}
}

// Of returns the figures whose id, or whose benchmark's name, matches, and the benchmarks that they need.
func Of(figures []Figure, benchmarks []Benchmark, pattern *regexp.Regexp) ([]Figure, []Benchmark) {
	var wanted []Figure
	var needed []Benchmark
	for _, f := range figures {
		if pattern.MatchString(f.ID) || pattern.MatchString(f.Benchmark) {
			wanted = append(wanted, f)
		}
	}
	for _, b := range benchmarks {
		if slices.ContainsFunc(wanted, func(f Figure) bool { return b.Package == f.Package && b.Name() == f.Function() }) {
			needed = append(needed, b)
		}
	}
	return wanted, needed
}

var word = regexp.MustCompile(`^\w+`)

// Name is the function that the benchmark runs, without "Benchmark".
func (b Benchmark) Name() string { return word.FindString(strings.TrimPrefix(b.Pattern, "^Benchmark")) }

// Function is the benchmark that the figure is of.
func (f Figure) Function() string { return word.FindString(f.Benchmark) }

// has says whether a contender is in the figure.
func (f Figure) has(key string) bool {
	return slices.ContainsFunc(f.Contenders, func(c Contender) bool { return c.Key == key })
}
