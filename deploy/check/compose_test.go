package check

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"
)

func TestComposeRunsAServerAndTwoInstances(t *testing.T) {
	file, err := filepath.Abs("../compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	project, err := loader.LoadWithContext(t.Context(), types.ConfigDetails{
		WorkingDir:  filepath.Dir(file),
		ConfigFiles: []types.ConfigFile{{Filename: file}},
		Environment: types.Mapping{},
	}, func(o *loader.Options) { o.Profiles = []string{"*"} })
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, s := range stages(t) {
		targets[s.Name] = true
	}
	for name, s := range project.Services {
		if !targets[s.Build.Target] {
			t.Errorf("%s is built from the stage %q, which is none", name, s.Build.Target)
		}
		if addr := s.Networks["registry"]; addr != nil && addr.Ipv4Address != "" {
			subnet := netip.MustParsePrefix(project.Networks["registry"].Ipam.Config[0].Subnet)
			if !subnet.Contains(netip.MustParseAddr(addr.Ipv4Address)) {
				t.Errorf("%s: %s is not in %s", name, addr.Ipv4Address, subnet)
			}
			if i := slices.Index(s.Command, "-listen"); i >= 0 && !strings.HasPrefix(s.Command[i+1], addr.Ipv4Address+":") {
				t.Errorf("%s registers %s and is at %s", name, s.Command[i+1], addr.Ipv4Address)
			}
		}
		for _, p := range s.Ports {
			if p.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to other machines at port %s", name, p.Published)
			}
		}
		least := 37 * time.Second
		if name == "rollcall" {
			least = 16 * time.Second
		}
		if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) < least {
			t.Errorf("%s is killed after %v, and a stop may take %v", name, s.StopGracePeriod, least)
		}
	}
	if len(project.Services) != 4 {
		t.Errorf("there are %d services: %v", len(project.Services), project.ServiceNames())
	}
}
