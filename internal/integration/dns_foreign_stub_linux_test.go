package integration

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// stubEnv makes this test binary one that has a network of its own, in which our server can have port 53.
const stubEnv = "ROLLCALL_TEST_STUB"

// What most programs find names by asks port 53 only, of the server that a file of the machine names. So the test runs itself once more, where
// it has a network and that file for itself.
func TestTheResolversOfGlibcPythonAndGoThatAskPort53Only(t *testing.T) {
	t.Parallel()
	if os.Getenv(stubEnv) != "" {
		testStubs(t)
		return
	}
	const python = "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		lacking(t, err)
	}
	// getent asks for the kinds of addresses only that the machine has itself, other than loopback's.
	script := fmt.Sprintf("ip link set lo up && ip address add 192.0.2.1/32 dev lo && ip address add 2001:db8:1::1/128 dev lo && mount --bind %s /etc/resolv.conf && mount --bind %s /etc/nsswitch.conf && exec \"$@\"",
		writeFile(t, "resolv.conf", "nameserver 127.0.0.1\nsearch service.rollcall\n"), writeFile(t, "nsswitch.conf", "hosts: files dns\n"))
	alone := []string{"--map-root-user", "--net", "--mount", "sh", "-c", script, "sh"}
	if out, err := exec.CommandContext(within(t, processPatience), "unshare", append(alone, "true")...).CombinedOutput(); err != nil {
		t.Skipf("no network of its own may be made here: %v, %s", err, out)
	}
	cmd := exec.CommandContext(within(t, processPatience), "unshare", append(alone, os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")...)
	cmd.Env = append(os.Environ(), stubEnv+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v, after\n%s", err, out)
	}
}

// testStubs is the test proper.
func testStubs(t *testing.T) {
	w := startForeignDNSWith(t, server.Config{DNSListen: "127.0.0.1:53"})
	w.add("web", rollcall.Instance{Addr: "10.0.0.1:1"}, rollcall.Instance{Addr: "10.0.0.2:1"}, rollcall.Instance{Addr: "[2001:db8::3]:1"})
	w.add("order.v1", rollcall.Instance{Addr: "10.0.0.7:1"})
	big := w.many("big")
	four, six := []string{"10.0.0.1", "10.0.0.2"}, []string{"2001:db8::3"}
	for _, name := range []string{"web.service.rollcall.", "web.service.rollcall", "WEB.Service.rollcall", "web"} { // the last one by what is searched
		mustEqual(t, "getent's IPv4 of "+name, getent(t, "ahostsv4", name), four)
		mustEqual(t, "getent's IPv6 of "+name, getent(t, "ahostsv6", name), six)
		mustEqual(t, "Python's IPv4 of "+name, pythonFinds(t, name, "AF_INET"), four)
		mustEqual(t, "Python's IPv6 of "+name, pythonFinds(t, name, "AF_INET6"), six)
		mustEqual(t, "Python's of "+name, pythonFinds(t, name, "AF_UNSPEC"), slices.Concat(four, six))
		mustEqual(t, "Go's of "+name, lookedUp(t, &net.Resolver{PreferGo: true}, "ip", name), slices.Concat(four, six))
	}
	mustEqual(t, "a service with a dot in its name", pythonFinds(t, "order.v1", "AF_INET"), []string{"10.0.0.7"})
	for what, got := range map[string][]string{
		"getent": getent(t, "ahostsv4", "big"), "Python": pythonFinds(t, "big", "AF_INET"), "Go": lookedUp(t, &net.Resolver{PreferGo: true}, "ip4", "big"),
	} {
		mustEqual(t, what+" finds all, which it is told by TCP", got, big)
	}
	first := map[string]bool{}
	for n := 0; n < 100 && len(first) < 2; n++ {
		first[strings.Fields(run(t, "getent", "ahostsv4", "web"))[0]] = true
	}
	mustEqual(t, "addresses that getent has as the first one now and then", len(first), 2)
	mustEqual(t, "Python's of a name that nobody has", pythonFinds(t, "else.service.rollcall.", "AF_INET"), []string{"EAI_NONAME"})
	mustEqual(t, "Python's IPv6 of one with IPv4 only", pythonFinds(t, "order.v1.service.rollcall.", "AF_INET6"), []string{"EAI_NODATA"})
	if err := exec.CommandContext(within(t, processPatience), "getent", "ahosts", "else.service.rollcall.").Run(); err == nil {
		t.Error("getent finds a name that nobody has")
	}
}

// getent returns what glibc finds, sorted.
func getent(t *testing.T, database, name string) (found []string) {
	t.Helper()
	for line := range strings.Lines(run(t, "getent", database, name)) {
		found = append(found, strings.Fields(line)[0])
	}
	slices.Sort(found)
	return slices.Compact(found) // it names an address once for each kind of socket
}

// pythonFinds returns what Python's own resolver finds, sorted, or the name of its error.
func pythonFinds(t *testing.T, name, family string) (found []string) {
	t.Helper()
	const program = `
import json, socket, sys
try:
    found = {a[4][0] for a in socket.getaddrinfo(sys.argv[1], 80, getattr(socket, sys.argv[2]), socket.SOCK_STREAM)}
except socket.gaierror as e:
    found = {n for n in ("EAI_NONAME", "EAI_NODATA", "EAI_AGAIN", "EAI_FAIL") if getattr(socket, n) == e.errno}
print(json.dumps(sorted(found)))
`
	if err := json.Unmarshal([]byte(run(t, "/usr/bin/python3", "-c", program, name, family)), &found); err != nil {
		t.Fatal(err)
	}
	return found
}
