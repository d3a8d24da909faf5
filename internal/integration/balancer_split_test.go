package integration

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"google.golang.org/grpc"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/metadata"
)

func TestAHeaderSticksToAVersionWhileServersComeAndGo(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	v1, v2, another := newGreeter(t), newGreeter(t), newGreeter(t)
	v1.register(t, reg, rollcall.Instance{Version: "v1"})
	v2.register(t, reg, rollcall.Instance{Version: "v2"})
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 2 })
	conn := dial(t, reg, configured(reg, policyConfig("rollcall", `{"split":{"v2":30},"splitHeader":"x-user"}`)))
	tallyUntil(t, conn, 100, "3 of 10 calls to v2", func(counts map[string]int) bool { return counts[v2.addr] == 30 && counts[v1.addr] == 70 })

	version := func(user string) string {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-user", user)
		reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{}, grpc.WaitForReady(true))
		if err != nil {
			t.Fatal(err)
		}
		if reply.GetMessage() == v1.addr {
			return "v1"
		}
		return "v2"
	}
	before, of2 := map[string]string{}, 0
	for n := range 200 {
		user := fmt.Sprint("user-", n)
		if before[user] = version(user); before[user] == "v2" {
			of2++
		}
	}
	if of2 < 30 || of2 > 90 {
		t.Errorf("%d of 200 users go to v2, want about 60", of2)
	}
	another.register(t, reg, rollcall.Instance{Version: "v2"})
	tallyUntil(t, conn, 40, "calls to the server that joins", func(counts map[string]int) bool { return counts[another.addr] > 0 })
	for user, want := range before {
		if got := version(user); got != want {
			t.Errorf("%s goes to %s, and went to %s before another server of v2 joined", user, got, want)
		}
	}
}

func TestAServerThatResetsEveryStreamIsLeftOut(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg := grpcRegistry(t, etcd)
	good := newGreeter(t)
	good.register(t, reg, rollcall.Instance{})
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	bad := &http.Server{Protocols: &http.Protocols{}, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })}
	bad.Protocols.SetUnencryptedHTTP2(true)
	ended := make(chan error, 1)
	go func() { ended <- bad.Serve(lis) }()
	t.Cleanup(func() {
		_ = bad.Close()
		<-ended
	})
	if _, err := reg.Register(t.Context(), grpcService, rollcall.Instance{Addr: lis.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return len(v.Instances) == 2 })
	conn := dial(t, reg)
	failed := 0
	for range 2000 {
		if _, err := greet(t, conn, grpc.WaitForReady(true)); err != nil {
			failed++
		}
	}
	if failed == 0 || failed > 50 { // 5 in a row, and each time that its 10 s are over
		t.Errorf("%d of 2,000 calls failed, want a few before it is left out", failed)
	}
}
