package integration

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatIsMonitoredIsWhatTheDocumentationSays(t *testing.T) {
	t.Parallel()
	ofServer, ofLibrary := readTable(t)
	t.Run("by a program with the library", func(t *testing.T) {
		t.Parallel()
		if diff := cmp.Diff(ofLibrary, scrapeProgram(t).ours(), cmp.AllowUnexported(family{})); diff != "" {
			t.Errorf("metrics (-documented +told):\n%s", diff)
		}
	})
	t.Run("by a server", func(t *testing.T) {
		t.Parallel()
		p := scrapeServer(t)
		if diff := cmp.Diff(ofServer, p.ours(), cmp.AllowUnexported(family{})); diff != "" {
			t.Errorf("metrics (-documented +told):\n%s", diff)
		}
		for _, series := range []string{`grpc_service="etcdserverpb.KV",grpc_type="unary"} `, `grpc_service="rollcall.v1.RegistrationService",grpc_type="unary",listener="api"} 1`} {
			if !strings.Contains(p.text, series) {
				t.Errorf("the page has no series %s…: calls of etcd and of the API are in the same families", series)
			}
		}
		wantTold(t, p, "rules.yaml", expressionsOfRules(t))
		wantTold(t, p, "rollcall-dashboard.json", expressionsOfDashboard(t))
	})
}
