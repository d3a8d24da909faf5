package server_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/server"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// loopbackOf is where this machine reaches a listener on every interface.
func loopbackOf(t *testing.T, addr string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// members lays out a cluster of three, whose peers know one another by certificates.
func members(t *testing.T) []server.Config {
	t.Helper()
	authority := etcdtest.NewAuthority(t)
	var all []server.Member
	for _, name := range []string{"a", "b", "c"} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		all = append(all, server.Member{Name: name, PeerURL: "https://" + l.Addr().String()})
	}
	var cfgs []server.Config
	for _, m := range all {
		cfg := serving(filepath.Join(t.TempDir(), "data"))
		cfg.Cluster, cfg.Name = all, m.Name
		cfg.PeerTLS = files(t, t.TempDir(), authority, authority.Issue(t, m.Name))
		cfgs = append(cfgs, cfg)
	}
	return cfgs
}

// startAll starts servers side by side: none is up before a majority is.
func startAll(t *testing.T, cfgs []server.Config) (infos []server.Info, stops []func() error) {
	t.Helper()
	type up struct {
		i    int
		info server.Info
	}
	ready := make(chan up, len(cfgs))
	for i, cfg := range cfgs {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx, cfg, func(info server.Info) { ready <- up{i, info} }) }()
		stops = append(stops, func() error {
			cancel()
			select {
			case err := <-ended:
				ended <- err
				return err
			case <-time.After(timeout):
				return fmt.Errorf("server %s does not end", cfg.Name)
			}
		})
		t.Cleanup(func() { _ = stops[i]() })
	}
	infos = make([]server.Info, len(cfgs))
	for range cfgs {
		select {
		case u := <-ready:
			infos[u.i] = u.info
		case <-time.After(timeout):
			t.Fatal("the servers do not make a cluster")
		}
	}
	return infos, stops
}

func statusOf(t *testing.T, client *clientv3.Client, info server.Info) *clientv3.StatusResponse {
	t.Helper()
	st, err := client.Status(bounded(t), info.Endpoints[0])
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestAMemberIsReplacedByAnEmptyOne(t *testing.T) {
	t.Parallel()
	cfgs := members(t)
	infos, stops := startAll(t, cfgs)
	conn := dial(t, infos[0].GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")

	if err := stops[2](); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(cfgs[2].DataDir); err != nil {
		t.Fatal(err)
	}
	lost := refused(t, cfgs[2])
	wantText(t, lost, "its data is lost", "member c", "--cluster-state existing")

	client := connect(t, infos[0])
	for range 2 { // the second time there is nothing left to do
		if err := server.ReplaceMember(bounded(t), client, cfgs[2].Cluster[2]); err != nil {
			t.Fatal(err)
		}
	}
	cfgs[2].Join = true
	if err := os.RemoveAll(cfgs[2].DataDir); err != nil {
		t.Fatal(err)
	}
	again, _ := start(t, cfgs[2])
	awaitHealth(t, dial(t, again.GRPC, nil), "")
	wantGet(t, again.HTTP+"/v1/services/jie-test", 200, "127.0.0.1:50051")
	list, err := client.MemberList(bounded(t))
	if err != nil || len(list.Members) != 3 {
		t.Errorf("the members are %v, %v, want three", list.Members, err)
	}
}

func TestALeaderThatStopsHasAnotherLeadBeforeItIsGone(t *testing.T) {
	t.Parallel()
	cfgs := members(t)
	for i := range cfgs {
		cfgs[i].StopTimeout = 5 * time.Second // held up by a call below; leadership must not wait for that
	}
	infos, stops := startAll(t, cfgs)
	client, err := clientv3.New(rollcall.ClientConfig(infos[0].Endpoints[0], infos[1].Endpoints[0], infos[2].Endpoints[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	leader := 0
	for i, info := range infos {
		if st := statusOf(t, client, info); st.Leader == st.Header.MemberId {
			leader = i
		}
	}
	was, other := statusOf(t, client, infos[leader]).Leader, infos[(leader+1)%3]
	conn := dial(t, infos[leader].GRPC, nil)
	awaitHealth(t, conn, "")
	call := held(t, conn)

	stopped := make(chan error, 1)
	go func() { stopped <- stops[leader]() }()
	for deadline := time.Now().Add(timeout); statusOf(t, client, other).Leader == was; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody else leads")
		}
	}
	if len(stopped) > 0 || len(call) > 0 {
		t.Error("another leads only after the end, or after a call was broken off")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	<-call
}

func TestAServerThatWasAloneTakesInAnother(t *testing.T) {
	t.Parallel()
	cfgs := members(t)
	dir := filepath.Join(t.TempDir(), "alone")
	info, stop := start(t, serving(dir))
	conn := dial(t, info.GRPC, nil)
	awaitHealth(t, conn, "")
	register(t, conn, "127.0.0.1:50051")
	if err := stop(); err != nil {
		t.Fatal(err)
	}

	// That several who were alone become several clusters of the same names is what nobody wants.
	first := cfgs[0]
	first.DataDir = dir
	wantText(t, refused(t, first), dir, "a server that was alone", "--cluster a=https://127.0.0.1:")

	first.Cluster = first.Cluster[:1]
	info, stop = start(t, first)
	if err := stop(); err != nil { // and again, now that it is a member
		t.Fatal(err)
	}
	info, _ = start(t, first)
	second := cfgs[1]
	second.Cluster, second.Join = second.Cluster[:2], true
	if err := server.ReplaceMember(bounded(t), connect(t, info), second.Cluster[1]); err != nil {
		t.Fatal(err)
	}
	info, _ = start(t, second)
	awaitHealth(t, dial(t, info.GRPC, nil), "")
	wantGet(t, info.HTTP+"/v1/services/jie-test", 200, "127.0.0.1:50051")
}
