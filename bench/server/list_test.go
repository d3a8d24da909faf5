//go:build linux

package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	listService = "svc"
	listConns   = 4
	listTurns   = 3
)

// BenchmarkList measures what it takes to tell all instances of a service over HTTP: CPU, bytes and allocations for an answer, answers for each second of
// CPU, and the time to an answer, with as many under way as there are connections, four. Beside the server, GET /v1/services/{service}, is "raw",
// the same range of keys from etcd's own HTTP gateway. Both have the same instances from the same etcd. The server answers from its memory; etcd's
// answer is base64 in JSON, and whoever gets it has still to decode the instances.
func BenchmarkList(b *testing.B) {
	e := startEtcd(b)
	s := startServer(b, e, "rollcall")
	for _, n := range upTo(1_000, 10, 1_000, 10_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			e.fill(b, "rollcall", listService, n)
			compareLists(b, []*listed{serverList(b, s, n), rawList(b, e, n)})
		})
	}
}

// listed is a contender with those who ask it.
type listed struct {
	name   string
	host   host // what answers
	askers *process
	sum    asked
	cpu    time.Duration
	bytes  float64 // allocated
	took   []spread
}

func serverList(b *testing.B, s *rollcallServer, n int) *listed {
	b.Helper()
	url := fmt.Sprintf("http://%s/v1/services/%s", s.http, listService)
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) {
		var answer struct{ Instances []json.RawMessage }
		if err := json.Unmarshal(get(b, url), &answer); err != nil {
			b.Fatal(err)
		}
		if len(answer.Instances) == n {
			break
		}
		if time.Now().After(deadline) {
			b.Fatalf("the server tells %d instances of %d", len(answer.Instances), n)
		}
	}
	return &listed{name: "rollcall", host: s.alone(), askers: play(b, "askers", askerArgs{http.MethodGet, url, "", listConns})}
}

func rawList(b *testing.B, e *etcd, n int) *listed {
	b.Helper()
	key, url := instanceKey("rollcall", listService, ""), "http://"+e.addr+"/v3/kv/range"
	body := fmt.Sprintf(`{"key":%q,"range_end":%q}`, base64Of(key), base64Of(clientv3.GetPrefixRangeEnd(key)))
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = resp.Body.Close() }()
	var answer struct{ Count string }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer.Count != fmt.Sprint(n) {
		b.Fatalf("etcd tells %q instances of %d: %v", answer.Count, n, err)
	}
	return &listed{name: "raw", host: e.host(), askers: play(b, "askers", askerArgs{http.MethodPost, url, body, listConns})}
}

func base64Of(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

func compareLists(b *testing.B, all []*listed) {
	window := 250 * time.Millisecond
	if testing.Short() {
		window = 100 * time.Millisecond
	}
	for _, l := range all {
		l.askers.ask(b, time.Duration(0), new(asked)) // connections stand
	}
	for b.Loop() {
		for turn := range listTurns {
			for i := range all {
				all[(turn+i)%len(all)].turn(b, window) // who is first is last in the next turn
			}
		}
	}
	for _, l := range all {
		answers := float64(l.sum.Answers)
		report(b, l.name, "cpu-µs", micros(l.cpu)/answers)
		report(b, l.name, "answers/cpu-s", answers/l.cpu.Seconds())
		report(b, l.name, "p50-µs", middle(l.took, func(s spread) float64 { return micros(s.P50) }))
		report(b, l.name, "p99-µs", middle(l.took, func(s spread) float64 { return micros(s.P99) }))
		report(b, l.name, "max-µs", maximum(l.took, func(s spread) float64 { return micros(s.Max) }))
		report(b, l.name, "allocated-kB", l.bytes/1e3/answers)
		report(b, l.name, "kB", float64(l.sum.Bytes)/1e3/answers)
	}
	b.ReportMetric(0, "ns/op")
}

func (l *listed) turn(b *testing.B, window time.Duration) {
	b.Helper()
	cpu, bytes := l.host.cpu(b), l.host.allocated(b)
	var answer asked
	l.askers.ask(b, window, &answer)
	l.cpu += l.host.cpu(b) - cpu
	l.bytes += l.host.allocated(b) - bytes
	l.sum.Answers, l.sum.Bytes = l.sum.Answers+answer.Answers, l.sum.Bytes+answer.Bytes
	l.took = append(l.took, answer.Took)
}
