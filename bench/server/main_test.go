//go:build linux

package server

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleEnv makes this test binary one of the processes of a benchmark, argsEnv tells it what to do.
const (
	roleEnv = "ROLLCALL_BENCH_ROLE"
	argsEnv = "ROLLCALL_BENCH_ARGS"
)

// roles are what this binary can be.
var roles = map[string]func(*player) error{
	"etcd":        playEtcd,
	"each":        playEach,
	"streams":     playStreams,
	"events":      playEvents,
	"askers":      playAskers,
	"registrants": playRegistrants,
}

func TestMain(m *testing.M) {
	role := os.Getenv(roleEnv)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := roles[role](newPlayer()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
}

// player is a process as it sees itself: it hears orders on its standard input, a line of JSON each, and answers on its standard output.
type player struct {
	orders *json.Decoder
	out    *json.Encoder
}

func newPlayer() *player {
	return &player{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)}
}

// args reads what the process was started with.
func (*player) args(into any) error { return json.Unmarshal([]byte(os.Getenv(argsEnv)), into) }

// say answers.
func (p *player) say(what any) error { return p.out.Encode(what) }

// untilLeft returns when whoever started this process has no more orders, or is gone.
func (p *player) untilLeft() error {
	for {
		var order json.RawMessage
		if p.orders.Decode(&order) != nil {
			return nil
		}
	}
}
