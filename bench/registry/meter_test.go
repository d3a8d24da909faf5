//go:build linux

package registry

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuOf returns for how long the threads of a process have run, to the nanosecond: what getrusage tells of oneself. Those that have ended
// do not count; Go ends none.
func cpuOf(pid int) (time.Duration, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("process %d has no threads", pid)
	}
	var sum time.Duration
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return 0, err
		}
		ran, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += time.Duration(n)
	}
	return sum, nil
}

// memory is what a process has in memory, in bytes.
type memory struct{ Now, Peak int64 }

func memoryOf(pid int) (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return m, err
	}
	for line := range bytes.Lines(status) {
		name, rest, _ := strings.Cut(string(line), ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kB, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
		if err != nil {
			return m, err
		}
		if name == "VmRSS" {
			m.Now = kB << 10
		} else {
			m.Peak = kB << 10
		}
	}
	return m, nil
}

// account is what an etcd says that it has done since it started.
type account struct {
	at       time.Time
	received float64 // messages
	streams  float64 // that are open
	leases   float64 // that there are
}

// reader is for etcd's own account. It is a tenth of a megabyte, which would cost etcd more if it had to compress it.
var reader = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

func accountOf(endpoint string) (a account, err error) {
	resp, err := reader.Get("http://" + endpoint + "/metrics")
	if err != nil {
		return a, err
	}
	defer func() { _ = resp.Body.Close() }()
	a.at = time.Now()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		into, sign := a.counter(name)
		if into == nil {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return a, err
		}
		*into += sign * n
	}
	return a, lines.Err()
}

// counter returns what one of etcd's own counters adds to, or takes from.
func (a *account) counter(name string) (into *float64, sign float64) {
	metric, labels, _ := strings.Cut(name, "{")
	streams := strings.Contains(labels, `grpc_type="bidi_stream"`)
	switch {
	case metric == "grpc_server_msg_received_total":
		return &a.received, 1
	case metric == "grpc_server_started_total" && streams:
		return &a.streams, 1
	case metric == "grpc_server_handled_total" && streams:
		return &a.streams, -1
	case metric == "etcd_debugging_lease_granted_total":
		return &a.leases, 1
	case metric == "etcd_debugging_lease_revoked_total":
		return &a.leases, -1
	}
	return nil, 0
}
