//go:build unix

package channel

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// process is a process of the benchmarks. It ends when its input does.
type process struct {
	in  *json.Encoder
	out *json.Decoder
}

// start starts a process and leaves it running until the benchmark ends.
func start(b *testing.B, program, text string) *process {
	b.Helper()
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), Env+"="+text)
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
	return &process{in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

// startSilent starts a process that takes any number of connections, and returns where it listens.
func startSilent(b *testing.B) []string {
	b.Helper()
	var addrs []string
	if err := start(b, os.Args[0], silent).out.Decode(&addrs); err != nil {
		b.Fatal("the peers say nothing: ", err)
	}
	return addrs
}

func startProgram(b *testing.B, s spec) *process {
	b.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		b.Fatal(err)
	}
	if _, foreign := formats[s.Resolver]; !foreign {
		return start(b, os.Args[0], string(text))
	}
	path, err := peersProgram()
	if err != nil {
		b.Fatal(err)
	}
	return start(b, path, string(text))
}

// peersProgram builds the program with the other libraries, unless the one that was built last is of the same code.
var peersProgram = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "rollcall-bench", "peers")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-tags", "no_k8s", "-o", path, "./peers") // without go-zero's resolver for Kubernetes
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the other libraries' program: %w\n%s", err, out)
	}
	return path, nil
})

// ask sends an order and waits for what comes of it.
func (p *process) ask(b *testing.B, o order) reading {
	b.Helper()
	p.tell(b, o)
	return p.answer(b, o)
}

// tell sends an order.
func (p *process) tell(b *testing.B, o order) {
	b.Helper()
	if err := p.in.Encode(o); err != nil {
		b.Fatal(fmt.Errorf("%s: %w", o.Do, err))
	}
}

// answer waits for what comes of the order that was sent last.
func (p *process) answer(b *testing.B, o order) reading {
	b.Helper()
	var r reading
	if err := p.out.Decode(&r); err != nil {
		b.Fatal(fmt.Errorf("%s: %w", o.Do, err))
	}
	if r.Failed != "" {
		b.Fatal(o.Do + ": " + r.Failed)
	}
	return r
}
