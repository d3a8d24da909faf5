package channel

import (
	"encoding/json"
	"io"
	"net"
	"os"
	"sync"
)

// What both ends of an HTTP/2 connection say first.
const (
	http2Preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	http2Settings     = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // none
	http2Acknowledged = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
)

// Silent is a process that takes any number of connections, and writes where it listens on standard output. To a client it
// is as many gRPC servers as it has connections, each of which is never called: it says what HTTP/2 wants said at the start,
// and nothing more. So many real servers would take more of the machine than the clients that are measured.
func Silent() {
	var addrs []string
	var accepting sync.WaitGroup
	for range 4 { // a burst of connections would overflow the queue of one
		lis, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			panic(err)
		}
		addrs = append(addrs, lis.Addr().String())
		accepting.Go(func() {
			for conn, err := lis.Accept(); err == nil; conn, err = lis.Accept() {
				go beSilentPeer(conn)
			}
		})
	}
	_ = json.NewEncoder(os.Stdout).Encode(addrs)
	_, _ = io.Copy(io.Discard, os.Stdin) // until whoever started it has gone
	os.Exit(0)
}

// beSilentPeer answers a client's preface with empty settings, acknowledges its settings, and then reads until it goes.
func beSilentPeer(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	got := make([]byte, len(http2Preface))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != http2Preface {
		return
	}
	if _, err := conn.Write([]byte(http2Settings + http2Acknowledged)); err != nil {
		return
	}
	for buf := make([]byte, 64); ; {
		if _, err := conn.Read(buf); err != nil {
			return
		}
	}
}
