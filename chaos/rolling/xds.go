package rolling

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// announced is where a rollcall server that is up says that it serves gRPC.
var announced = regexp.MustCompile(`(?m)^ +gRPC +(\S+)$`)

// startXds starts a rollcall server on the run's etcd, by which callers find the servers.
func (r *run) startXds() {
	r.t.Helper()
	r.xds = launch(r.t, r.Dir, "xds", nil, r.Xds, "server", "--etcd", strings.Join(r.Cluster.Endpoints(), ","),
		"--canary", "0", "--grpc-listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--dns-listen", "")
	var told [][]byte
	if !r.xds.await(patience, func() bool { told = announced.FindSubmatch(r.xds.said()); return told != nil }) {
		r.t.Fatalf("the server of xDS is not up within %v; it has said:\n%s", patience, r.xds.said())
	}
	r.xds.addr = string(told[1])
}

// bootstrap is what the environment of a caller must say for it to find the server of xDS, if there is one.
func (r *run) bootstrap(caller string) []string {
	r.t.Helper()
	if r.xds == nil {
		return nil
	}
	text, err := exec.Command(r.Xds, "xds", "bootstrap", "--server", r.xds.addr, "--node-id", caller).Output()
	if err != nil {
		r.t.Fatal(err)
	}
	file := filepath.Join(r.Dir, caller+".bootstrap.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		r.t.Fatal(err)
	}
	return []string{"GRPC_XDS_BOOTSTRAP=" + file}
}
