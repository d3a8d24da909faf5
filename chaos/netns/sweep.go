package netns

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// A network's name is prefix, the number of the process that made it, "-", and the third number of its addresses; that
// of a namespace has "-" and which one it is besides. The network's name is an interface's too, and those have at most
// 15 letters. In directory the names of namespaces are files.
const (
	prefix    = "rcn"
	directory = "/var/run/netns"
)

// claims counts the numbers this process has tried, from a random one: two of its own networks never try the same one at
// the same time, nor one that is still being removed.
var claims atomic.Uint32

func init() { claims.Store(rand.Uint32N(octets)) }

// octets is how many third numbers there are: 1 to 254.
const octets = 254

// claim finds a third number for the addresses that no other network of ours has, and makes the first namespace, which
// takes it: of two processes that do so at the same time, at least one sees the other's, and tries another number.
func claim() (name string, octet int, err error) {
	for {
		octet := 1 + int(claims.Add(1)%octets)
		name := fmt.Sprintf("%s%d-%d", prefix, os.Getpid(), octet)
		others := fmt.Sprintf("%s*-%d-bridge", prefix, octet)
		if len(namespaces(others)) > 0 {
			continue
		}
		if err := ip("netns add " + name + "-bridge"); err != nil {
			return "", 0, err
		}
		if len(namespaces(others)) == 1 {
			return name, octet, nil
		}
		if err := remove(name); err != nil {
			return "", 0, err
		}
	}
}

// remove removes all that a network has, however far it was made.
func remove(name string) error {
	_ = ip("link del " + name) // which may be gone, or never have been
	var errs []error
	for _, namespace := range namespaces(name + "-*") {
		errs = append(errs, ip("netns del "+namespace))
	}
	return errors.Join(errs...)
}

// sweep removes the networks of processes that are dead. Another process may be at it too.
func sweep() {
	for _, bridge := range namespaces(prefix + "*-*-bridge") {
		name := strings.TrimSuffix(bridge, "-bridge")
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		owner, err := strconv.Atoi(pid)
		if err == nil && errors.Is(syscall.Kill(owner, 0), syscall.ESRCH) {
			_ = remove(name)
		}
	}
}

func namespaces(pattern string) []string {
	paths, _ := filepath.Glob(filepath.Join(directory, pattern))
	for i := range paths {
		paths[i] = filepath.Base(paths[i])
	}
	return paths
}
