//go:build linux

package registry

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// long asks for the sizes that take minutes.
var long = os.Getenv("ROLLCALL_BENCH_LONG") != ""

func TestMain(m *testing.M) {
	switch name, dir := os.Getenv(contenderEnv), os.Getenv(storeEnv); {
	case name != "":
		contend(name)
	case dir != "":
		beStore(dir, os.Getenv(storePortEnv))
	default:
		goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // go-zero has goroutines before any test
	}
}

// sizes are those of a benchmark: the last is left out by -short.
func sizes(all ...int) []int {
	if testing.Short() {
		return all[:len(all)-1]
	}
	return all
}
