package figure

import (
	"github.com/rollcall-io/rollcall/bench/internal/result"
	"github.com/rollcall-io/rollcall/bench/internal/stat"
)

// A Bar is what is to be reached: a limit for a figure at one size, as a ratio of two contenders' numbers, or as a number.
type Bar struct {
	What, Against, Reach string
	Figure               string // id
	N                    float64
	Of                   string // contender; "rollcall" if empty
	To                   string // contender by whose number it is divided; if empty, the number itself counts
	Floor                string // contender whose number is taken from both before: what either needs anyway; or from the first only
	FloorOfBoth          bool
	Limit                float64
	AtLeast              bool
}

// A Verdict is what came of a bar.
type Verdict struct {
	Bar
	Measured stat.Spread // of ratios, or of numbers; without rounds if it was not measured
	Unit     string      // of numbers; empty for ratios
}

// Met says whether the median is within the limit; what was not measured is not.
func (v Verdict) Met() bool {
	switch {
	case v.Measured.Rounds == 0:
		return false
	case v.AtLeast:
		return v.Measured.Median >= v.Limit
	}
	return v.Measured.Median <= v.Limit
}

// Missed is by how many times the limit was missed, at the median; 1 is just met.
func (v Verdict) Missed() float64 {
	if v.AtLeast {
		return v.Limit / v.Measured.Median
	}
	return v.Measured.Median / v.Limit
}

// Judge holds the samples to the bars.
func Judge(bars []Bar, figures []Figure, samples []result.Sample) []Verdict {
	var verdicts []Verdict
	for _, bar := range bars {
		for _, f := range figures {
			if f.ID == bar.Figure {
				verdicts = append(verdicts, bar.judge(f, samples))
			}
		}
	}
	return verdicts
}

func (b Bar) judge(f Figure, samples []result.Sample) Verdict {
	all := f.Read(samples)
	who := b.Of
	if who == "" {
		who = "rollcall"
	}
	ours, its := all[who][b.N], all[b.To][b.N]
	if b.Floor != "" {
		floor := all[b.Floor][b.N]
		ours = stat.Without(ours, floor)
		if b.FloorOfBoth {
			its = stat.Without(its, floor)
		}
	}
	if b.To != "" {
		return Verdict{Bar: b, Measured: stat.Of(stat.Ratios(ours, its))}
	}
	var values []float64
	for _, value := range ours {
		values = append(values, value)
	}
	return Verdict{Bar: b, Measured: stat.Of(values), Unit: f.Unit()}
}
