//go:build linux

package registry

import (
	"slices"
	"time"
)

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// median returns the median of a value of some things.
func median[T any](all []T, value func(T) float64) float64 {
	values := make([]float64, 0, len(all))
	for _, one := range all {
		values = append(values, value(one))
	}
	slices.Sort(values)
	return values[len(values)/2]
}
