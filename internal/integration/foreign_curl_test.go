package integration

import (
	"bufio"
	"net/url"
	"os/exec"
	"strings"
	"testing"
)

// curl asks a server by HTTP.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(within(t, processPatience), programOf(t, "curl"), append([]string{"-sS", "--fail-with-body"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("curl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// curlEvents is curl that reads Server-Sent Events.
type curlEvents struct {
	*webEvents
	cmd *exec.Cmd
}

// curlWatch reads events from a server, behind the last one of another stream.
func curlWatch(t *testing.T, s *serverProcess, last string) *curlEvents {
	t.Helper()
	args := []string{"-sSN", s.url() + "/v1/services/orders/watch"}
	if last != "" {
		args = append(args, "-H", "Last-Event-ID: "+last)
	}
	cmd := exec.CommandContext(t.Context(), programOf(t, "curl"), args...)
	tie(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := &curlEvents{&webEvents{t: t, lines: bufio.NewScanner(out)}, cmd}
	t.Cleanup(e.end)
	return e
}

// end waits until curl has come to its end, which comes soon.
func (e *curlEvents) end() {
	_ = e.cmd.Process.Kill()
	_ = e.cmd.Wait()
}

func TestCurlRegistersAndFollowsEventsThroughARestart(t *testing.T) {
	t.Parallel()
	reg, etcd := start(t)
	s := serveProcess(t, etcd)
	w := watch(t, reg, "orders")
	instances := s.url() + "/v1/services/orders/instances"
	var registered struct{ Token, HeartbeatInterval string }
	decode(t, curl(t, instances, "-d", `{"instance": {"addr": "10.0.0.1:8080", "zone": "a"}, "ttl": "60s"}`), &registered)
	if registered.HeartbeatInterval != "20s" {
		t.Errorf("heartbeats are wanted every %q", registered.HeartbeatInterval)
	}
	until(t, w, processPatience, "the instance", hasIDs("10.0.0.1:8080"))
	own, token := instances+"/"+url.PathEscape("10.0.0.1:8080"), `{"token": "`+registered.Token+`"}`
	var heard struct{ Healing bool }
	decode(t, curl(t, own+"/heartbeat", "-d", token), &heard)
	if heard.Healing {
		t.Error("an instance that is well is being put back")
	}

	events := curlWatch(t, s, "")
	first := events.next()
	for first.name == "snapshot" && first.updates() == "" {
		first = events.next() // etcd's answer came after the question
	}
	mustEqual(t, "the first event", first.name+": "+first.updates(), "snapshot: ADD 10.0.0.1:8080")
	events.end()
	register(t, reg, "orders", rollcallInstance("10.0.0.2:8080", "b")) // while nobody listens
	events = curlWatch(t, s, first.id)
	missed := events.next()
	mustEqual(t, "what came meanwhile", missed.name+": "+missed.updates(), "update: ADD 10.0.0.2:8080")

	s.stop()
	last := missed.id
	for e := events.next(); e.name != "" && e.name != "end"; e = events.next() {
		last = e.id
	}
	s.start()
	events = curlWatch(t, s, last) // the server has seen none of it come, but knows the same
	if !events.lines.Scan() || !strings.HasPrefix(events.lines.Text(), "retry: ") {
		t.Fatalf("a stream begins with %q", events.lines.Text())
	}
	register(t, reg, "orders", rollcallInstance("10.0.0.3:8080", "b"))
	next := events.next()
	for next.name != "snapshot" && next.updates() == "" {
		next = events.next()
	}
	mustEqual(t, "what came after the restart", next.name+": "+next.updates(), "update: ADD 10.0.0.3:8080")

	decode(t, curl(t, own+"/heartbeat", "-d", token), &heard)
	var list struct{ Services []struct{ Service string } }
	decode(t, curl(t, s.url()+"/v1/services?labels=zone%3Da"), &list)
	if len(list.Services) != 1 || list.Services[0].Service != "orders" {
		t.Errorf("curl lists %+v", list)
	}
	curl(t, own+"/deregister", "-d", token)
	wantGoodbye(t, w, "10.0.0.1:8080")
}
