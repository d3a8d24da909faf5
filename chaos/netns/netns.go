// Package netns makes networks that can be partitioned: network namespaces on one bridge, and nftables in each of them
// that drop what comes from another. A process in a namespace is a machine as far as its network is concerned.
//
//	n := netns.New(t, 3)
//	member := n.Host(0).Command("etcd", "--listen-client-urls", "http://"+n.Host(0).Addr()+":2379")
//	n.Cut(0, 1)
//	n.Heal()
//
// It needs Linux, root, ip (Debian package iproute2) and nft (nftables), and a kernel that lets root make namespaces;
// [Available] tells what is missing.
package netns

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// Outside is the test process itself, and whatever else runs on the machine, where a number of a host is asked for.
const Outside = -1

// most is how many hosts a network can have.
const most = 200

// Net is a network 10.77.x.0/24 of its own: no packet of it goes anywhere else. It has a bridge, which lies in a namespace
// too, so that what the machine filters between its own networks does not matter. All methods fail the test that made
// the network when they cannot do what they say.
type Net struct {
	t     testing.TB
	name  string // see prefix
	octet int
	hosts []*Host
}

// Host is a namespace with one address.
type Host struct {
	namespace, addr string
}

// New makes a network of n hosts, which is gone when t ends, like those that dead test processes have left behind. Where
// none can be made the test is skipped, or fails when the variable CI is true.
func New(t testing.TB, n int) *Net {
	t.Helper()
	if err := Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if n < 1 || n > most {
		t.Fatalf("a network of %d hosts, want 1 to %d", n, most)
	}
	sweep()
	net, err := build(n)
	if net != nil {
		t.Cleanup(func() {
			if err := remove(net.name); err != nil {
				t.Errorf("remove a network: %v", err)
			}
		})
	}
	if err != nil {
		t.Fatalf("make a network: %v", err)
	}
	net.t = t
	return net
}

// build makes a network. With an error it returns the network as far as it was made, if at all.
func build(hosts int) (*Net, error) {
	name, octet, err := claim()
	if err != nil {
		return nil, err
	}
	n := &Net{name: name, octet: octet}
	bridge := name + "-bridge"
	err = ip(
		"-n "+bridge+" link add bridge type bridge",
		"-n "+bridge+" link set bridge up",
		"link add "+name+" type veth peer name outside netns "+bridge,
		"-n "+bridge+" link set outside master bridge up",
		"addr add "+n.Addr()+"/24 dev "+name,
		"link set "+name+" up",
	)
	for i := 0; i < hosts && err == nil; i++ {
		h := &Host{fmt.Sprintf("%s-host%d", name, i), n.addr(i)}
		n.hosts = append(n.hosts, h)
		err = h.plug(bridge, fmt.Sprintf("host%d", i))
	}
	return n, err
}

// plug makes a host's namespace and connects it to a port of the bridge.
func (h *Host) plug(bridge, port string) error {
	err := ip(
		"netns add "+h.namespace,
		"-n "+h.namespace+" link set lo up",
		"-n "+h.namespace+" link add eth0 type veth peer name "+port+" netns "+bridge,
		"-n "+bridge+" link set "+port+" master bridge up",
		"-n "+h.namespace+" addr add "+h.addr+"/24 dev eth0",
		"-n "+h.namespace+" link set eth0 up",
	)
	if err != nil {
		return err
	}
	return h.nft(filters)
}

// Addr is the test process's own address in the network.
func (n *Net) Addr() string { return n.addr(Outside) }

func (n *Net) addr(host int) string {
	if host == Outside {
		return fmt.Sprintf("10.77.%d.254", n.octet)
	}
	return fmt.Sprintf("10.77.%d.%d", n.octet, host+1)
}

// Host returns one of the hosts, which count from 0.
func (n *Net) Host(i int) *Host {
	n.t.Helper()
	if i < 0 || i >= len(n.hosts) {
		n.t.Fatalf("there is no host %d among %d", i, len(n.hosts))
	}
	return n.hosts[i]
}

// Addr is the host's address, which all hosts and the test process reach until it is cut off.
func (h *Host) Addr() string { return h.addr }

// Command returns the command to run a program on the host: it is the program's own process that it starts, under the
// same user. The kernel kills it when this process is gone, however it ended. Nothing else ends it: a caller who starts
// it also waits for it.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command("ip", append([]string{"netns", "exec", h.namespace, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// ip runs commands of ip until one fails.
func ip(commands ...string) error {
	for _, command := range commands {
		if err := run("", "ip", strings.Fields(command)...); err != nil {
			return err
		}
	}
	return nil
}

// run runs a command, whose error has what it printed.
func run(input, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
