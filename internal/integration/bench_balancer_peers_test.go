package integration

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
)

// programEnv makes this test binary a program of the benchmarks instead: "peers", or the description of a channel.
const programEnv = "ROLLCALL_TEST_PROGRAM"

// What both ends of an HTTP/2 connection say first.
const (
	http2Preface      = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	http2Settings     = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // none
	http2Acknowledged = "\x00\x00\x00\x04\x01\x00\x00\x00\x00"
)

// program is such a process. It ends when its input does.
type program struct {
	in  *json.Encoder
	out *json.Decoder
}

// startProgram starts a program and leaves it running until the benchmark ends.
func startProgram(b *testing.B, test, spec string) *program {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), programEnv+"="+spec)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &program{in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

// startPeers starts a process that takes any number of connections, and returns where it listens.
func startPeers(b *testing.B) []string {
	b.Helper()
	var addrs []string
	if err := startProgram(b, "TestPeersProgram", "peers").out.Decode(&addrs); err != nil {
		b.Fatal("the peers say nothing: ", err)
	}
	return addrs
}

// TestPeersProgram is no test: it is the program of startPeers. To a client it is as many gRPC servers as it has
// connections, each of which is never called: it says what HTTP/2 wants said at the start, and nothing more. So many
// real servers would take more of the machine than the clients that are measured.
func TestPeersProgram(t *testing.T) {
	if os.Getenv(programEnv) != "peers" {
		return
	}
	var addrs []string
	var accepting sync.WaitGroup
	defer accepting.Wait()
	for range 4 { // a burst of connections would overflow the queue of one
		lis, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lis.Close() }()
		addrs = append(addrs, lis.Addr().String())
		accepting.Go(func() {
			for conn, err := lis.Accept(); err == nil; conn, err = lis.Accept() {
				go beSilentPeer(conn)
			}
		})
	}
	_ = json.NewEncoder(os.Stdout).Encode(addrs)
	_, _ = io.Copy(io.Discard, os.Stdin)
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

// ask sends an order and waits for what comes of it.
func (p *program) ask(b *testing.B, o order) reading {
	b.Helper()
	var r reading
	if err := p.in.Encode(o); err != nil {
		b.Fatal(fmt.Errorf("%s: %w", o.Do, err))
	}
	if err := p.out.Decode(&r); err != nil {
		b.Fatal(fmt.Errorf("%s: %w", o.Do, err))
	}
	if r.Failed != "" {
		b.Fatal(o.Do + ": " + r.Failed)
	}
	return r
}
