package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// The house: which room may import which, and what from outside (the standard library is everybody's). Only imports in
// the code itself count here, not those in tests. A new room gets a line, an arrow that points up gets none.
var rooms = map[string]struct {
	own     []string // folders of this module
	outside []string // import paths, each with all that lies below it; those with a "!" are exceptions
}{
	".":                    {own: []string{"internal/lease", "internal/follow", "internal/wire", "internal/without"}, outside: engine},
	"internal/lease":       {own: []string{"internal/wire", "internal/without"}, outside: engine},
	"internal/follow":      {own: []string{"internal/wire", "internal/without"}, outside: engine},
	"internal/wire":        {own: []string{"internal/without"}, outside: engine},
	"internal/without":     {},
	"internal/endpoints":   {own: []string{"."}, outside: []string{"google.golang.org/grpc"}},
	"naming":               {own: []string{"."}, outside: []string{"go.etcd.io/etcd/client/v3", "google.golang.org/grpc/codes", "google.golang.org/grpc/status"}},
	"resolver":             {own: []string{".", "internal/endpoints"}, outside: []string{"google.golang.org/grpc"}},
	"balancer":             {own: []string{".", "internal/endpoints"}, outside: []string{"google.golang.org/grpc"}},
	"rollcallgrpc":         {own: []string{".", "resolver", "balancer"}, outside: []string{"google.golang.org/grpc"}},
	"internal/server":      {own: []string{".", "internal/authz", "internal/check", "internal/dns", "internal/doctor", "internal/grpcapi", "internal/history", "internal/httpapi", "internal/message", "internal/ui", "internal/xds", "metrics", "tracing", "api/rollcall/v1"}, outside: []string{"go.etcd.io", "go.uber.org/zap", "google.golang.org/grpc", "github.com/prometheus/client_golang/prometheus", "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus", "go.opentelemetry.io", "google.golang.org/protobuf/types/known/durationpb"}},
	"metrics":              {own: []string{"."}, outside: []string{"github.com/prometheus/client_golang/prometheus"}},
	"tracing":              {own: []string{"."}, outside: []string{"go.opentelemetry.io/otel/attribute", "go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/trace"}},
	"internal/authz":       {own: []string{"api/rollcall/v1"}, outside: []string{"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc/errdetails", "go.yaml.in/yaml/v3", "golang.org/x/time/rate"}},
	"gateway":              {own: []string{".", "api/rollcall/v1", "internal/message"}, outside: []string{"google.golang.org/grpc", "google.golang.org/protobuf/types/known/durationpb", "google.golang.org/genproto/googleapis/rpc/errdetails"}},
	"internal/message":     {own: []string{".", "api/rollcall/v1"}, outside: []string{"google.golang.org/protobuf"}},
	"internal/grpcapi":     {own: []string{".", "api/rollcall/v1", "internal/doctor", "internal/history", "internal/message"}, outside: []string{"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc/errdetails"}},
	"internal/httpapi":     {own: []string{"api", "api/rollcall/v1"}, outside: []string{"google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/api/annotations", "github.com/grpc-ecosystem/grpc-gateway/v2/runtime", "github.com/grpc-ecosystem/grpc-gateway/v2/utilities", "github.com/prometheus/client_golang", "github.com/prometheus/client_model"}},
	"internal/history":     {own: []string{"."}},
	"internal/xds":         {own: []string{"."}, outside: []string{"github.com/envoyproxy/go-control-plane/envoy", "github.com/cncf/xds/go", "google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/googleapis/rpc/status"}},
	"internal/ui":          {},
	"internal/dns":         {own: []string{"."}, outside: []string{"golang.org/x/net/ipv4", "golang.org/x/net/ipv6"}},
	"internal/check":       {own: []string{"."}, outside: []string{"google.golang.org/grpc/codes", "google.golang.org/grpc/health/grpc_health_v1", "google.golang.org/protobuf/proto"}},
	"internal/doctor":      {own: []string{"."}, outside: []string{"go.etcd.io/etcd/api/v3", "go.etcd.io/etcd/client/v3", "google.golang.org/grpc"}},
	"internal/demo":        {own: []string{".", "rollcallgrpc", "internal/server"}, outside: []string{"google.golang.org/grpc"}},
	"internal/etcdtest":    {own: []string{"."}, outside: []string{"go.etcd.io", "go.uber.org/goleak", "go.uber.org/zap", "google.golang.org/grpc"}},
	"internal/faultproxy":  {},
	"internal/channeltest": {own: []string{"."}, outside: []string{"google.golang.org/grpc"}},
	"internal/simetcd":     {outside: []string{"go.etcd.io/etcd/api/v3", "go.etcd.io/etcd/client/v3", "go.uber.org/zap", "google.golang.org/grpc"}},
	"internal/integration": {},
	"internal/simulation":  {},
	"internal/policy":      {},
	"cmd/rollcall":         {own: []string{".", "api/rollcall/v1", "gateway", "internal/demo", "internal/doctor", "internal/grpcapi", "internal/history", "internal/message", "internal/server"}, outside: []string{"golang.org/x/sys", "golang.org/x/term", "golang.org/x/text/width", "github.com/coreos/go-systemd/v22/daemon", "github.com/spf13/cobra", "github.com/spf13/pflag", "go.yaml.in/yaml/v3", "go.etcd.io/etcd/api/v3/v3rpc/rpctypes", "go.etcd.io/etcd/client/v3", "google.golang.org/genproto/googleapis/rpc/errdetails", "google.golang.org/grpc", "google.golang.org/protobuf"}},
	"api":                  {},
	"api/rollcall/v1":      {outside: []string{"github.com/grpc-ecosystem/grpc-gateway/v2", "google.golang.org/genproto/googleapis/api/annotations", "google.golang.org/grpc", "google.golang.org/protobuf"}},
	"api/internal/openapi": {},
	"examples/client":      {own: []string{".", "rollcallgrpc"}, outside: []string{"google.golang.org/grpc"}},
	"examples/server":      {own: []string{".", "rollcallgrpc"}, outside: []string{"google.golang.org/grpc"}},
}

// engine is what the root and the rooms below it may import from outside: the etcd client, what it hands out, and of
// gRPC what a client connection is made of. How gRPC finds and picks is for the adapters above.
var engine = []string{
	"go.etcd.io/etcd/api/v3", "go.etcd.io/etcd/client/pkg/v3", "go.etcd.io/etcd/client/v3", "go.uber.org/zap",
	"google.golang.org/grpc", "!google.golang.org/grpc/resolver", "!google.golang.org/grpc/balancer", "!google.golang.org/grpc/xds",
}

// library is what a program links that registers and discovers.
var library = []string{".", "internal/lease", "internal/follow", "internal/wire", "internal/without", "internal/endpoints", "naming", "resolver", "balancer", "rollcallgrpc", "examples/client", "examples/server"}

// What may not be linked, however many imports away.
var bans = []struct {
	rooms     []string
	forbidden []string // import paths, each with all that lies below it
	why       string
}{
	{library, []string{"go.etcd.io/etcd/server/v3", module + "/internal/server", module + "/internal/demo"}, "users of the library do not pay for a server"},
	{library, []string{module + "/api"}, "the API is for those who speak to a server"},
	{library, []string{"github.com/spf13/cobra"}, "a library has no command line"},
	{library, []string{"github.com/prometheus/client_golang/prometheus", "go.opentelemetry.io/otel/sdk"}, "who wants metrics or spans imports metrics or tracing"},
	{library, []string{"google.golang.org/grpc/xds", "github.com/envoyproxy/go-control-plane"}, "xDS would double the size of a client program"},
	{append([]string{"cmd/rollcall", "internal/server", "internal/demo"}, library...), []string{"testing", module + "/internal/etcdtest", module + "/internal/faultproxy", module + "/internal/channeltest"}, "test support stays in tests"},
}

func TestEveryRoomImportsOnlyWhatItMay(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range packages(t) {
		room, known := rooms[p.rel()]
		if !known {
			t.Errorf("%s: a new room, which has no line in the table of rooms", p.rel())
		}
		seen[p.rel()] = true
		for _, path := range p.Imports {
			switch {
			case path == module || strings.HasPrefix(path, module+"/"):
				if !slices.Contains(room.own, relative(path)) {
					t.Errorf("%s may not import %s: see the table of rooms", p.rel(), relative(path))
				}
			case standard(path):
			case !below(path, room.outside):
				t.Errorf("%s may not import %s: see the table of rooms", p.rel(), path)
			}
		}
	}
	for _, rel := range slices.Sorted(maps.Keys(rooms)) {
		if !seen[rel] {
			t.Errorf("%s is in the table of rooms but does not exist", rel)
		}
	}
}

func TestNothingLinksWhatItMustNot(t *testing.T) {
	for _, p := range packages(t) {
		for _, ban := range bans {
			if slices.Contains(ban.rooms, p.rel()) {
				refuse(t, p.rel(), p.Deps, ban.forbidden, ban.why)
			}
		}
	}
}

// `go mod tidy` of a library's user records what the tests of the packages he imports need.
func TestTestsOfPublicPackagesDoNotLinkTheEmbeddedEtcd(t *testing.T) {
	public := map[string]bool{}
	for _, p := range packages(t) {
		public[p.ImportPath] = p.public()
	}
	for _, p := range testBinaries(t) {
		if tested := strings.TrimSuffix(p.ImportPath, ".test"); public[tested] {
			refuse(t, "a test of "+relative(tested), p.Deps, []string{"go.etcd.io/etcd/server/v3", module + "/internal/etcdtest"},
				"its go.sum lines become those of every user: tests that need an etcd live in internal/integration")
		}
	}
}

// A ban on a package that was renamed bans nothing.
func TestWhatIsForbiddenStillExists(t *testing.T) {
	for _, ban := range bans {
		for _, path := range ban.forbidden {
			if importer, indirect := importers[path]; indirect {
				if !slices.ContainsFunc(imports(t, importer), func(i string) bool { return below(i, []string{path}) }) {
					t.Errorf("%s is forbidden but %s no longer imports it", path, importer)
				}
				continue
			}
			find(t, path)
		}
	}
	for _, path := range engine {
		if path, exception := strings.CutPrefix(path, "!"); exception {
			find(t, path)
		}
	}
}

// importers names, for what is forbidden and is no package itself, a package that imports something below it.
var importers = map[string]string{
	"github.com/envoyproxy/go-control-plane": "google.golang.org/grpc/xds",
	"go.etcd.io/etcd/server/v3":              module + "/internal/server",
}

func find(t *testing.T, path string) pkg {
	t.Helper()
	pkgs, err := goList("-find", "-json=Dir,GoFiles", path)
	if err != nil || len(pkgs) != 1 {
		t.Fatalf("find %s: %v", path, err)
	}
	return pkgs[0]
}

// imports reads what a package imports, whether or not that can be found.
func imports(t *testing.T, path string) []string {
	t.Helper()
	var paths []string
	for _, source := range find(t, path).sources() {
		paths = slices.AppendSeq(paths, maps.Values(importNames(parse(t, source))))
	}
	return paths
}

// refuse reports each of the deps that lies at or below one of the forbidden paths.
func refuse(t *testing.T, who string, deps, forbidden []string, why string) {
	t.Helper()
	var found []string
	for _, dep := range deps {
		dep, _, _ = strings.Cut(dep, " ") // without the " [p.test]" of a package compiled for a test
		if below(dep, forbidden) {
			found = append(found, dep)
		}
	}
	if len(found) > 0 {
		t.Errorf("%s links %s: %s", who, abbreviate(found), why)
	}
}

func abbreviate(names []string) string {
	if len(names) <= 2 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s, %s and %d more", names[0], names[1], len(names)-2)
}

// below reports whether path is one of the roots or lies below one, and at none of the exceptions marked by "!".
func below(path string, roots []string) bool {
	in := false
	for _, root := range roots {
		root, exception := strings.CutPrefix(root, "!")
		if path == root || strings.HasPrefix(path, root+"/") {
			if exception {
				return false
			}
			in = true
		}
	}
	return in
}

// standard reports whether path is the standard library's: the first element of all others is a domain.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !strings.Contains(first, ".")
}
