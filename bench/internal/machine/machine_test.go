package machine

import (
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/rollcall-io/rollcall/bench/internal/result"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhereAndOfWhatIsKnown(t *testing.T) {
	t.Parallel()
	run := result.Run{Meta: Facts(t.Context(), "../../..")}
	for _, key := range []string{"cpu", "cores", "memory", "go", "commit", "tree", "etcd", "grpc-go", "coredns", "go-zero", "kratos"} {
		if run.Fact(key) == "" {
			t.Errorf("%s is not known: %v", key, run.Meta)
		}
	}
	if v := run.Fact("etcd"); !strings.HasPrefix(v, "v3.") {
		t.Errorf("etcd %q", v)
	}
	for _, f := range run.Meta { // benchstat takes what begins with a capital for something else
		if f.Key != strings.ToLower(f.Key) || strings.Contains(f.Key, " ") || strings.Contains(f.Value, "\n") {
			t.Errorf("%q: %q is no line of a raw file", f.Key, f.Value)
		}
	}
}

func TestWhatCannotBeFoundOutIsSaid(t *testing.T) {
	t.Parallel()
	run := result.Run{Meta: Facts(t.Context(), t.TempDir())}
	if run.Fact("commit") != "unknown" || run.Fact("tree") != "unknown" || run.Fact("etcd") != "" {
		t.Errorf("of an empty folder: %v", run.Meta)
	}
}
