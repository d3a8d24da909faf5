//go:build linux

package server

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// BenchmarkWatchEvents is BenchmarkWatchStreams over HTTP, with a connection for each stream: Server-Sent Events, beside the watches of etcd's own HTTP
// gateway, as "raw".
func BenchmarkWatchEvents(b *testing.B) {
	for _, n := range upTo(100, 100, 300, 1_000) {
		b.Run(fmt.Sprintf("N=%d", n), func(b *testing.B) {
			e := startEtcd(b)
			compareStreams(b, e, n, []*listened{serverEvents(b, e, n), rawEvents(b, e, n)})
		})
	}
}

func serverEvents(b *testing.B, e *etcd, n int) *listened {
	e.fill(b, "rollcall", streamService, streamInstances)
	s := startServer(b, e, "rollcall")
	return &listened{name: "rollcall", prefix: "rollcall", host: s.host(), play: func() *process {
		request := fmt.Sprintf("GET /v1/services/%s/watch HTTP/1.1\r\nHost: %s\r\nAccept: text/event-stream\r\n\r\n", streamService, s.http)
		return play(b, "events", eventArgs{s.http, request, "data:", n, 1})
	}}
}

func rawEvents(b *testing.B, e *etcd, n int) *listened {
	e.fill(b, "raw", streamService, streamInstances)
	return &listened{name: "raw", prefix: "raw", host: e.host(), play: func() *process {
		key := instanceKey("raw", streamService, "")
		body := fmt.Sprintf(`{"create_request":{"key":%q,"range_end":%q}}`, base64Of(key), base64Of(clientv3.GetPrefixRangeEnd(key)))
		request := fmt.Sprintf("POST /v3/watch HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", e.addr, len(body), body)
		return play(b, "events", eventArgs{e.addr, request, "{", n, 1})
	}}
}
