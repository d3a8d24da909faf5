package policy

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Why each module is required directly. A new one needs its line here, and a reason that stands up to the standard
// library and to what is here already.
var requirements = map[string]string{
	"go.etcd.io/etcd/client/v3":                                                   "the store's client",
	"go.etcd.io/etcd/api/v3":                                                      "the raw heartbeat and watch streams speak etcd's own messages",
	"go.etcd.io/etcd/client/pkg/v3":                                               "the lock on a data directory, as etcd itself takes it",
	"go.etcd.io/etcd/server/v3":                                                   "the etcd inside rollcall server and inside the tests",
	"go.etcd.io/etcd/etcdutl/v3":                                                  "restores a backup as etcd itself does, revisions bumped; of its parts the server has all but this one",
	"go.uber.org/zap":                                                             "the etcd client and server log through it and nothing else",
	"google.golang.org/grpc":                                                      "what all this is for",
	"google.golang.org/protobuf":                                                  "tests compare etcd's messages; grpc requires it anyway",
	"google.golang.org/grpc/examples":                                             "the Greeter of the demo, the examples and the tests: a service nobody here wrote",
	"github.com/grpc-ecosystem/grpc-gateway/v2":                                   "JSON over HTTP, generated from the same .proto files; etcd requires it anyway",
	"google.golang.org/genproto/googleapis/api":                                   "the routes in those files are options that Google defined; etcd requires it anyway",
	"google.golang.org/genproto/googleapis/rpc":                                   "the details of errors, as every client of Google's error model reads them; grpc requires it anyway",
	"github.com/prometheus/client_golang":                                         "the server's metrics; etcd requires it anyway",
	"github.com/prometheus/client_model":                                          "the type of what a gatherer returns; the line above requires it anyway",
	"github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus":           "grpc_server_*, the names that every dashboard knows; etcd requires it anyway",
	"go.opentelemetry.io/otel":                                                    "spans: the types that every provider takes; etcd requires it anyway",
	"go.opentelemetry.io/otel/trace":                                              "the same, a module of its own",
	"go.opentelemetry.io/otel/sdk":                                                "the server makes spans, and tests look at them; etcd requires it anyway",
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc":             "the server sends them; etcd requires it anyway",
	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc": "gRPC calls as spans, as everybody names them; etcd requires it anyway",
	"go.opentelemetry.io/proto/otlp":                                              "the collector that tests send spans to speaks it; the line above requires it anyway",
	"github.com/spf13/cobra":                                                      "the command line: help, completion and suggestions as users of kubectl and etcdctl know them",
	"github.com/spf13/pflag":                                                      "the type of cobra's flags, which the server also fills from a file and the environment; cobra requires it anyway",
	"go.yaml.in/yaml/v3":                                                          "operators write policies in YAML; the maintained successor of gopkg.in/yaml.v3, without dependencies",
	"golang.org/x/sys":                                                            "process groups and the terminal, for the programs that rollcall runs; etcd requires it anyway",
	"golang.org/x/term":                                                           "whether output goes to a terminal, how large that is, and single keys from it",
	"golang.org/x/text":                                                           "which characters take two cells of a terminal, for tables; grpc requires it anyway",
	"golang.org/x/time":                                                           "token buckets for the limits of requests; etcd requires it anyway",
	"github.com/envoyproxy/go-control-plane/envoy":                                "xDS: the messages of the protocol, with their own checks; grpc requires it anyway",
	"github.com/cncf/xds/go":                                                      "xDS: a load-balancing policy by its name; the line above requires it anyway",
	"github.com/envoyproxy/go-control-plane":                                      "the cache that benchmarks of xDS are run beside; only tests import it",
	"github.com/miekg/dns":                                                        "DNS as tests ask for it, by a client that nobody here wrote; only tests import it",
	"golang.org/x/net":                                                            "DNS by UDP: an answer leaves from the address that was asked; grpc requires it anyway",
	"github.com/coreos/go-systemd/v22":                                            "systemd is told whether the server is up and answers; etcd requires it anyway",
	"github.com/chromedp/chromedp":                                                "a real browser, in which tests look at the page as people do; only tests import it",
	"github.com/google/go-cmp":                                                    "readable differences in tests",
	"github.com/rogpeppe/go-internal":                                             "testscript: the binary is tested by scripts",
	"go.uber.org/goleak":                                                          "no test leaves a goroutine behind",
	"pgregory.net/rapid":                                                          "random histories against plain models, cut down to the shortest that fails",
}

type goMod struct {
	Go        string
	Toolchain string
	Require   []requirement

	Replace, Exclude []any
}

type requirement struct {
	Path, Version string
	Indirect      bool
}

func readGoMod(t *testing.T, path string) goMod {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(root, path)).Output()
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	var m goMod
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestDirectRequirementsAreThoseWithAReason(t *testing.T) {
	got, want := map[string]bool{}, map[string]bool{}
	for _, r := range readGoMod(t, "go.mod").Require {
		if !r.Indirect {
			got[r.Path] = true
		}
	}
	for path := range requirements {
		want[path] = true
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("direct requirements in go.mod (-allowed +found):\n%s", diff)
	}
}

// `go install …@version` refuses a module with replace or exclude lines; a toolchain line or a go line above 1.26 would
// refuse users of the oldest Go that we promise.
func TestGoModCanBeInstalledFrom(t *testing.T) {
	for _, path := range []string{"go.mod", "tools/go.mod"} {
		m := readGoMod(t, path)
		if len(m.Replace) > 0 || len(m.Exclude) > 0 || m.Toolchain != "" {
			t.Errorf("%s has replace, exclude or toolchain lines: %+v", path, m)
		}
		if m.Go != "1.26.0" {
			t.Errorf("%s asks for go %s, want 1.26.0", path, m.Go)
		}
	}
}
