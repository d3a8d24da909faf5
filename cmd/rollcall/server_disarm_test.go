package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

// runHere runs rollcall, in this process, and returns its exit code and what it said.
func runHere(ctx context.Context, args ...string) (code int, said string) {
	var out bytes.Buffer
	code = run(ctx, args, strings.NewReader(""), &out, &out)
	return code, out.String()
}

// fullServer runs a server whose store is full.
func fullServer(t *testing.T) (endpoint string) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	endpoint = l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	running.Go(func() {
		_ = run(ctx, []string{
			"server", "--data-dir", filepath.Join(t.TempDir(), "data"), "--client-url", "http://" + endpoint,
			"--quota", "16MiB", "--grpc-listen", "", "--http-listen", "", "--dns-listen", "",
		}, strings.NewReader(""), io.Discard, io.Discard)
	})
	client, err := clientv3.New(rollcall.ClientConfig(endpoint))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	bounded, cancelPuts := context.WithTimeout(t.Context(), 4*patience) // a disk may be slow
	defer cancelPuts()
	for {
		if _, err := client.Put(bounded, "waste", strings.Repeat("x", 256<<10)); err != nil {
			if err != rpctypes.ErrNoSpace {
				t.Fatal(err)
			}
			return endpoint
		}
	}
}

func TestAFullServerIsBroughtBackByOneCommand(t *testing.T) {
	t.Parallel()
	endpoint := fullServer(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, step := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"register", "web", "127.0.0.1:50051", "--timeout", "500ms"}, exitFailure, "out of space"},
		{[]string{"server", "disarm"}, exitFailure, `(?m)^rollcall: disarm: the store of member rollcall has no room: 1\d(\.\d)? MiB of 16 MiB; .*--compact$`},
		{
			[]string{"server", "disarm", "--compact", "-o", "json"},
			exitDone,
			`(?m)^{"alarms":\[{"member":"rollcall","id":"[0-9a-f]+","alarm":"NOSPACE"}\],"disarmed":\[{"member":"rollcall","id":"[0-9a-f]+","alarm":"NOSPACE"}\],"compacted":\d+,"defragmented":\[{"member":"rollcall",`,
		},
		{[]string{"server", "disarm"}, exitDone, "(?m)^no alarms$"},
	} {
		code, said := runHere(ctx, append(step.args, "--etcd", endpoint)...)
		if code != step.code || !regexp.MustCompile(step.says).MatchString(said) {
			t.Errorf("%v exits with %d, want %d, and says:\n%s", step.args, code, step.code, said)
		}
	}
	registered, leave := context.WithCancel(ctx)
	defer leave()
	out, in := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(registered, []string{"register", "web", "127.0.0.1:50051", "--etcd", endpoint}, strings.NewReader(""), in, os.Stderr)
		_ = in.Close()
	}()
	line := make([]byte, 10)
	if _, err := io.ReadFull(out, line); err != nil || string(line) != "registered" {
		t.Errorf("afterwards register says %q, %v", line, err)
	}
	leave()
	_, _ = io.Copy(io.Discard, out)
	if got := <-code; got != exitDone {
		t.Errorf("register exits with %d", got)
	}
}
