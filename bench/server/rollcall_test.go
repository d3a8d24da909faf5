//go:build linux

package server

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// programEnv, if set, is the program rollcall; otherwise it is built.
const programEnv = "ROLLCALL_BENCH_PROGRAM"

// program is `rollcall`, of the sources beside it. It stays where it is for the next time, when there may be nothing to do.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(programEnv); path != "" {
		return path, nil
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, "bin", "bench", "rollcall")
	if out, err := exec.Command("go", "-C", root, "build", "-buildvcs=false", "-o", path, "./cmd/rollcall").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build rollcall: %w\n%s", err, out)
	}
	return path, nil
})

// rollcallServer is `rollcall server` in front of an etcd.
type rollcallServer struct {
	*process
	etcd              *etcd
	grpc, http, pprof string // host:port
}

func startServer(b *testing.B, e *etcd, prefix string) *rollcallServer {
	b.Helper()
	path, err := program()
	if err != nil {
		b.Fatal(err)
	}
	s := &rollcallServer{etcd: e}
	s.process = start(b, "rollcall", exec.Command(path, "server", "--etcd", e.addr, "--prefix", prefix, "--canary", "0", "--grpc-listen", "127.0.0.1:0",
		"--http-listen", "127.0.0.1:0", "--dns-listen", "", "--pprof-listen", "127.0.0.1:0"))
	late := time.AfterFunc(patience, func() { _ = s.out.Close() })
	defer late.Stop()
	said := bufio.NewScanner(s.out)
	for said.Scan() && (s.grpc == "" || s.http == "" || s.pprof == "") {
		for word, addr := range map[string]*string{"gRPC": &s.grpc, "HTTP": &s.http, "pprof": &s.pprof} {
			if rest, is := strings.CutPrefix(strings.TrimSpace(said.Text()), word+" "); is {
				*addr = host4(rest)
			}
		}
	}
	if s.pprof == "" {
		b.Fatalf("the server says no more where it is: %v", said.Err())
	}
	go func() { _, _ = io.Copy(io.Discard, s.out) }() // whatever else it says, until the process ends
	return s
}

// host4 is host:port of what may be a URL.
func host4(text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "http://")
	text, _, _ = strings.Cut(text, "/")
	return text
}

// host is all that works for the server's clients, with etcd.
func (s *rollcallServer) host() host {
	return host{[]int{s.pid, s.etcd.pid}, []string{s.pprof, s.etcd.addr}}
}

// alone is the process of the server.
func (s *rollcallServer) alone() host { return host{[]int{s.pid}, []string{s.pprof}} }

var encodingsMade = regexp.MustCompile(`(?m)^rollcall_watch_encodings_total (\S+)$`)

// encodings is how many messages the server has encoded for streams; how many streams each went to does not count.
func (s *rollcallServer) encodings(b *testing.B) float64 {
	b.Helper()
	return number(b, encodingsMade, get(b, "http://"+s.http+"/metrics"))
}
