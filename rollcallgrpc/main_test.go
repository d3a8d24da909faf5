package rollcallgrpc

import (
	"context"
	"testing"

	"github.com/rollcall-io/rollcall"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unreachable returns a registry whose etcd is down, and always will be.
func unreachable(t *testing.T) *rollcall.Registry {
	t.Helper()
	reg, err := rollcall.Open(rollcall.ClientConfig("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close(context.Background()) })
	return reg
}
