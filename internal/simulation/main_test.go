package simulation

import (
	"runtime/debug"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(400) // worlds are small and short: a quarter of the time would go into collecting them
	goleak.VerifyTestMain(m)
}
