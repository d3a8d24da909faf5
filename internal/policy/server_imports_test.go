package policy

import (
	"slices"
	"testing"
)

// What a server is told it must neither execute nor read as anything but data: of what others' registries were taken over by, these
// packages are the tools (Consul's script checks; GHSA-v6c8-pwhq-288m and CNVD-2023-45001 of Nacos; CVE-2020-25864 and CVE-2024-10086 of Consul).
var dangerous = map[string]string{
	"os/exec":       "a server starts no programs",
	"plugin":        "a server loads no code",
	"encoding/gob":  "what comes from outside is protobuf or JSON, which say nothing but data",
	"net/rpc":       "it reads gob",
	"html/template": "what is registered is data, and never part of a page",
	"text/template": "what is registered is data, and never part of a page",
}

func TestNoServersRoomCanExecuteWhatItIsTold(t *testing.T) {
	servers := []string{"internal/server", "internal/grpcapi", "internal/httpapi", "internal/authz", "internal/check", "internal/dns", "internal/doctor", "internal/history", "internal/message", "internal/ui", "internal/xds", "gateway"}
	found := 0
	for _, p := range packages(t) {
		if !slices.Contains(servers, p.rel()) {
			continue
		}
		found++
		for _, path := range p.Imports {
			if why, bad := dangerous[path]; bad {
				t.Errorf("%s imports %s: %s", p.rel(), path, why)
			}
		}
	}
	if found != len(servers) {
		t.Errorf("of the rooms %v only %d exist", servers, found)
	}
}
