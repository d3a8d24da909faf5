//go:build unix

package channel

import (
	"os"
	"testing"

	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// silent in the environment makes this test binary the peers' process instead of a channel's.
const silent = "silent"

func TestMain(m *testing.M) {
	switch text := os.Getenv(Env); text {
	case "":
		etcdtest.Main(m)
	case silent:
		Silent()
	default:
		Main(text, nil)
	}
}
