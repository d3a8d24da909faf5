package integration

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pb "google.golang.org/grpc/examples/helloworld/helloworld"
	"google.golang.org/grpc/status"
)

// asker makes the calls that it is asked to make, by the xDS client of its language.
type asker struct {
	t        *testing.T
	language string
	version  string // of gRPC, as the program says
	send     func(service string, limit time.Duration) <-chan fate
}

// fate is what became of a call.
type fate struct {
	who  string // answered
	code string // "OK", or that of the loss
	loss
}

// begin begins a call with a time limit of its own.
func (a *asker) begin(service string, limit time.Duration) (wait func() fate) {
	a.t.Helper()
	made := a.send(service, limit)
	return func() fate {
		a.t.Helper()
		select {
		case o := <-made:
			return o
		case <-time.After(limit + xdsPatience):
			a.t.Fatalf("a call of %s in %s does not end", service, a.language)
			return fate{}
		}
	}
}

func failed(l loss) fate { return fate{code: l.code, loss: l} }

// askerEnv makes this test binary what testdata/xds/ask.py is.
const askerEnv = "ROLLCALL_TEST_ASKER"

// goAsker asks by grpc-go's own xDS client, as a process: the bootstrap is read before main, and a file of certificates that it names is
// watched for ever.
func goAsker() foreignRuntime {
	return foreignRuntime{program: os.Args[0], env: []string{askerEnv + "=1"}}
}

// TestAsker is no test: it is the program of goAsker.
func TestAsker(t *testing.T) {
	if os.Getenv(askerEnv) == "" {
		return
	}
	fmt.Println("gRPC", grpc.Version)
	conns := map[string]*grpc.ClientConn{}
	var calling sync.WaitGroup
	defer calling.Wait()
	for number, lines := 0, bufio.NewScanner(os.Stdin); lines.Scan(); number++ {
		var service string
		var limit float64
		if _, err := fmt.Sscan(lines.Text(), &service, &limit); err != nil {
			t.Fatal(err)
		}
		if conns[service] == nil {
			conn, err := grpc.NewClient("xds:///"+service, grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close() })
			conns[service] = conn
		}
		conn := conns[service]
		calling.Go(func() { fmt.Println(number, askOnce(conn, time.Duration(limit*float64(time.Second)))) })
	}
}

func askOnce(conn *grpc.ClientConn, limit time.Duration) string {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	began := time.Now()
	reply, err := pb.NewGreeterClient(conn).SayHello(ctx, &pb.HelloRequest{})
	if err != nil {
		l := lossOf(began, err)
		return fmt.Sprintf("failed %d %d %s %s", began.UnixMilli(), l.took.Milliseconds(), l.code, strings.ReplaceAll(l.text, "\n", " "))
	}
	return "ok " + reply.GetMessage()
}

// lossOf is what the other languages say of a call that failed.
func lossOf(began time.Time, err error) loss {
	s := status.Convert(err)
	return loss{began, time.Since(began), code.Code(s.Code()).String(), s.Message()}
}

// askBy returns what starts a program, such as those of testdata/xds, that makes calls as its input says.
func (r foreignRuntime) askBy(language string, args ...string) func(*testing.T, []byte) *asker {
	return func(t *testing.T, bootstrap []byte) *asker {
		t.Helper()
		file := filepath.Join(t.TempDir(), "bootstrap.json")
		if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(r.program, args...)
		cmd.Env = append(append(os.Environ(), r.env...), "GRPC_XDS_BOOTSTRAP="+file)
		tie(cmd)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		said := new(strings.Builder)
		cmd.Stderr = said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var answers answers
		lines, ended := bufio.NewScanner(out), make(chan struct{})
		lines.Scan()
		version := lines.Text()
		go func() {
			defer close(ended)
			for lines.Scan() {
				answers.hear(lines.Text())
			}
			_ = cmd.Wait()
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
			if t.Failed() {
				t.Logf("%s says:\n%s", language, said)
			}
		})
		return &asker{t: t, language: language, version: version, send: func(service string, limit time.Duration) <-chan fate {
			t.Helper()
			made := answers.next()
			if _, err := fmt.Fprintln(in, service, limit.Seconds()); err != nil {
				t.Fatalf("%s: %v", language, err)
			}
			return made
		}}
	}
}

// answers are those of a program, by the number of the call.
type answers struct {
	mu    sync.Mutex
	calls []chan fate
}

// next returns where the answer to the next call will be.
func (a *answers) next() <-chan fate {
	a.mu.Lock()
	defer a.mu.Unlock()
	made := make(chan fate, 1)
	a.calls = append(a.calls, made)
	return made
}

func (a *answers) hear(line string) {
	number, rest, _ := strings.Cut(line, " ")
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := strconv.Atoi(number)
	if err != nil || n < 0 || n >= len(a.calls) {
		return // not the program's: the call stays without an answer, and is told of
	}
	word, rest, _ := strings.Cut(rest, " ")
	if word == "ok" {
		a.calls[n] <- fate{who: rest, code: "OK"}
		return
	}
	a.calls[n] <- failed(readLoss(rest))
}
