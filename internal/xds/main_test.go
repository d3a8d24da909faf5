package xds

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if addr := os.Getenv(callersEnv); addr != "" {
		playCallers(addr)
		return
	}
	goleak.VerifyTestMain(m)
}
