package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/rollcallgrpc"
)

// webServer is an HTTP server in this process, of the same service as the greeters. Its answer is its address.
type webServer struct {
	addr  string
	lis   net.Listener
	srv   *http.Server
	calls rollcallgrpc.Calls
	stop  func()          // ends the context of ServeWith
	ended <-chan struct{} // ServeWith has returned
	err   error           // with this; read when ended is closed
}

// newWebServer makes a server that listens and does not serve yet. Each request takes it the given time.
func newWebServer(t *testing.T, work time.Duration) *webServer {
	t.Helper()
	lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &webServer{addr: lis.Addr().String(), lis: lis}
	w.srv = &http.Server{ReadHeaderTimeout: grpcPatience, Handler: w.calls.Handler(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(work):
			_, _ = io.WriteString(out, w.addr)
		case <-r.Context().Done():
		}
	}))}
	return w
}

// serve has ServeWith run the server, until the test ends at the latest.
func (w *webServer) serve(t *testing.T, reg *rollcall.Registry, opts ...rollcallgrpc.ServeOption) *webServer {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	w.stop, w.ended = stop, ended
	go func() {
		defer close(ended)
		w.err = rollcallgrpc.ServeWith(ctx, w.srv, w.lis, reg, grpcService, append([]rollcallgrpc.ServeOption{rollcallgrpc.WithCalls(&w.calls)}, opts...)...)
	}()
	t.Cleanup(func() {
		stop()
		_ = w.wait(t)
	})
	return w
}

// wait waits until ServeWith returns.
func (w *webServer) wait(t *testing.T) error {
	t.Helper()
	awaitClosed(t, w.ended, "ServeWith does not return")
	return w.err
}

// hearsay is how late a webClient hears of a change: a server that does not wait for its callers must fail some of their calls.
const hearsay = 50 * time.Millisecond

// webClient calls the instances of the newest view in turn, over connections that it keeps. No request is ever sent twice: Go's
// transport does that only with what it may send again.
type webClient struct {
	client *http.Client
	view   atomic.Pointer[rollcall.View]
	turn   atomic.Int64
}

func newWebClient(t *testing.T, reg *rollcall.Registry, ready func(*rollcall.View) bool) *webClient {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	c := &webClient{client: &http.Client{Transport: transport}}
	w := watch(t, reg, grpcService)
	c.view.Store(until(t, w, grpcPatience, "the first servers", ready))
	ctx, cancel := context.WithCancel(context.Background())
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		for view, err := range w.Views(ctx) {
			if err != nil {
				return
			}
			<-time.After(hearsay)
			c.view.Store(view)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-followed
		transport.CloseIdleConnections()
	})
	return c
}

// call makes one request of a kind that is not repeated.
func (c *webClient) call(ctx context.Context, body string) (string, error) {
	var addrs []string
	for i := range c.view.Load().Ready() {
		addrs = append(addrs, i.Addr)
	}
	if len(addrs) == 0 {
		return "", fmt.Errorf("nobody is there")
	}
	addr := addrs[int(c.turn.Add(1))%len(addrs)]
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/hello", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.GetBody = nil
	reply, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = reply.Body.Close() }()
	text, err := io.ReadAll(reply.Body)
	if err == nil && (reply.StatusCode != http.StatusOK || string(text) != addr) {
		err = fmt.Errorf("%s answers %s %q", addr, reply.Status, text)
	}
	return addr, err
}

// restartWeb replaces one of three HTTP servers under load, and returns the calls that failed.
func restartWeb(t *testing.T, work time.Duration, opts ...rollcallgrpc.ServeOption) []error {
	t.Helper()
	etcd := etcdtest.Start(t)
	serve := func(opts ...rollcallgrpc.ServeOption) *webServer {
		return newWebServer(t, work).serve(t, grpcRegistry(t, etcd), opts...)
	}
	brief := rollcallgrpc.WithStopTimeout(time.Second) // net/http waits for up to 5 s for connections without a request
	a, b, leaver := serve(brief), serve(brief), serve(opts...)
	c := newWebClient(t, grpcRegistry(t, etcd), func(v *rollcall.View) bool { return holds(v, a.addr, b.addr, leaver.addr) })

	l := startLoad(t, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), grpcPatience)
		defer cancel()
		_, err := c.call(ctx, "hello")
		return err
	})
	l.more(t, 200)
	leaver.stop()
	if err := leaver.wait(t); err != nil {
		t.Errorf("ServeWith of the server that left: %v", err)
	}
	l.more(t, 200)
	joiner := serve(brief)
	eventually(t, grpcPatience, "calls to the server that joined", func() bool { return joiner.calls.Begun() >= 20 })
	return l.failures()
}

func TestARestartOfAnHTTPServerUnderLoadFailsNoCall(t *testing.T) {
	t.Parallel()
	if failed := restartWeb(t, 10*time.Millisecond); len(failed) != 0 {
		t.Errorf("%d calls failed, the first with %v", len(failed), failed[0])
	}
}

// The control of the test above.
func TestARestartOfAnHTTPServerThatStopsAtOnceFailsCalls(t *testing.T) {
	t.Parallel()
	for range 3 { // callers hear of it within milliseconds, and with luck all of them in time
		if failed := restartWeb(t, 100*time.Millisecond, rollcallgrpc.WithDrainDelay(0), rollcallgrpc.WithStopTimeout(0)); len(failed) > 0 {
			return
		}
	}
	t.Error("no call failed though the server stopped at once: this load could not tell a good restart from a bad one")
}

func TestAServerIsSaidToServeNoLongerBeforeItDrains(t *testing.T) {
	t.Parallel()
	etcd := etcdtest.Start(t)
	reg, leaving := grpcRegistry(t, etcd), newHalt(t)
	var told []bool
	w := newWebServer(t, 0).serve(t, reg, rollcallgrpc.WithServing(func(is bool) {
		told = append(told, is)
		if !is {
			_ = leaving.wait(context.Background())
		}
	}))
	t.Cleanup(leaving.goOn)
	c := newWebClient(t, reg, func(v *rollcall.View) bool { return holds(v, w.addr) })

	w.stop()
	leaving.await(t)
	register(t, reg, "other", rollcall.Instance{Addr: "10.0.0.1:1"}) // a drain that had begun before would be in etcd after this
	if found := keys(t, etcd.Client(t), "rollcall/services/"+grpcService+"/"); len(found) != 1 || strings.Contains(fmt.Sprint(found), string(rollcall.StateDraining)) {
		t.Errorf("before it is said to serve no longer, etcd has %v", found)
	}
	if _, err := c.call(t.Context(), "hello"); err != nil {
		t.Errorf("a call to the server that is about to drain: %v", err)
	}
	leaving.goOn()
	if err := w.wait(t); err != nil {
		t.Errorf("ServeWith: %v", err)
	}
	mustEqual(t, "whether it serves", told, []bool{true, false})
}

func TestAServerThatSomebodyElseEndsIsNoErrorAndLeaves(t *testing.T) {
	t.Parallel()
	reg := grpcRegistry(t, etcdtest.Start(t))
	for name, end := range map[string]func(*http.Server) error{
		"shut down": func(s *http.Server) error { return s.Shutdown(context.Background()) },
		"closed":    (*http.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWebServer(t, 0).serve(t, reg)
			awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, w.addr) })
			if err := end(w.srv); err != nil {
				t.Fatal(err)
			}
			if err := w.wait(t); err != nil {
				t.Errorf("ServeWith: %v, want nil", err)
			}
			awaitGreeters(t, reg, func(v *rollcall.View) bool { return !holds(v, w.addr) })
		})
	}
}

func TestAnHTTPServerBehindTLSIsServedLikeAnyOther(t *testing.T) {
	t.Parallel()
	reg, authority := grpcRegistry(t, etcdtest.Start(t)), etcdtest.NewAuthority(t)
	w := newWebServer(t, 0)
	w.lis = tls.NewListener(w.lis, &tls.Config{
		Certificates: []tls.Certificate{authority.Issue(t, "server").Certificate}, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS13,
	})
	w.serve(t, reg)
	awaitGreeters(t, reg, func(v *rollcall.View) bool { return holds(v, w.addr) })

	transport := &http.Transport{TLSClientConfig: authority.Client(t, "client"), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+w.addr+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close()
	if reply.TLS == nil || reply.ProtoMajor != 2 || reply.StatusCode != http.StatusOK {
		t.Errorf("it answers %s, %s", reply.Proto, reply.Status)
	}
	w.stop()
	if err := w.wait(t); err != nil {
		t.Errorf("ServeWith: %v", err)
	}
}
