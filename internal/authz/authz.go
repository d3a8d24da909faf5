// Package authz decides who may do what at the server: who a caller is (a certificate or a token says so), what the rules let him do, and
// how much of it. There is one place where it is decided, in front of every call, whether that came by gRPC or by HTTP. What no rule
// lets is refused, and so is what cannot be decided.
//
// A [Guard] is that place. It reads two files, the rules and the tokens, again when they change, writes down every change that somebody
// makes and every refusal, and ends the streams of those who lose their right to them.
package authz

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Config is what a Guard is made of.
type Config struct {
	// Rules is the file of rules.
	Rules string

	// Tokens is the file of tokens' hashes; "" when nobody is known by a token.
	Tokens string

	// Inside reports whether a call is an HTTP request of this process, so that its metadata is what [Guard.Metadata] made. Nothing that a
	// caller says may have a part in that. Nil: none is.
	Inside func(context.Context) bool

	// Logger hears of changes, refusals, and files that cannot be read; nil for nothing.
	Logger *slog.Logger
}

const (
	maxFile = 1 << 20         // bytes of a file
	recheck = 1 * time.Second // how often the files are looked at
)

// Guard stands in front of every call.
type Guard struct {
	config Config
	logger *slog.Logger

	rules  atomic.Pointer[rules]
	tokens atomic.Pointer[tokens]
	seen   [2][]byte // the files as they were read last; the looking goroutine's

	accounts accounts
	doors    doors

	mu   sync.Mutex
	open map[*stream]struct{} // that go on

	stop context.CancelFunc
	wg   sync.WaitGroup
}

// New reads the files and returns a guard, which is to be closed. The error names everything that is wrong with them.
func New(cfg Config) (*Guard, error) {
	g := &Guard{config: cfg, logger: cfg.Logger, open: map[*stream]struct{}{}}
	if g.logger == nil {
		g.logger = slog.New(slog.DiscardHandler)
	}
	if g.config.Inside == nil {
		g.config.Inside = func(context.Context) bool { return false }
	}
	g.doors.guard = g
	if err := errors.Join(g.readRules(), g.readTokens()); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g.stop = cancel
	g.wg.Go(func() { g.look(ctx) })
	return g, nil
}

// Check returns what is wrong with the files of a configuration.
func Check(ruleFile, tokenFile string) error {
	g := &Guard{config: Config{Rules: ruleFile, Tokens: tokenFile}}
	return errors.Join(g.readRules(), g.readTokens())
}

// Close ends what the guard does by itself. It goes on to decide as before.
func (g *Guard) Close() {
	g.stop()
	g.wg.Wait()
}

// look looks whether the files have changed, and whether streams have lost their right.
func (g *Guard) look(ctx context.Context) {
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			g.review(g.reload())
		case <-ctx.Done():
			return
		}
	}
}

// reload reads what has changed. What is wrong changes nothing: the rules before go on.
func (g *Guard) reload() (changed bool) {
	for _, file := range []struct {
		name string
		read func() error
	}{{g.config.Rules, g.readRules}, {g.config.Tokens, g.readTokens}} {
		switch err := file.read(); {
		case errors.Is(err, errSame):
		case err != nil:
			g.logger.Error("a file of the authorization cannot be used, going on with what it said before", slog.String("file", file.name), slog.Any("err", err))
		default:
			changed = true
			g.logger.Info("a file of the authorization has changed", slog.String("file", file.name))
		}
	}
	return changed
}

var errSame = errors.New("it is as before")

func (g *Guard) readRules() error {
	text, err := g.fresh(0, g.config.Rules)
	if err != nil {
		return err
	}
	read, err := parseRules(text)
	if err != nil {
		return fmt.Errorf("rules in %s: %w", g.config.Rules, err)
	}
	g.rules.Store(read)
	return nil
}

func (g *Guard) readTokens() error {
	if g.config.Tokens == "" {
		if g.tokens.Load() != nil {
			return errSame
		}
		g.tokens.Store(&tokens{})
		return nil
	}
	text, err := g.fresh(1, g.config.Tokens)
	if err != nil {
		return err
	}
	read, err := parseTokens(text)
	if err != nil {
		return fmt.Errorf("tokens in %s: %w", g.config.Tokens, err)
	}
	g.tokens.Store(read)
	return nil
}

// fresh returns what is in a file, or errSame. A file that was found to be bad is not read, nor reported, again until it changes.
func (g *Guard) fresh(n int, name string) ([]byte, error) {
	text, err := readFile(name)
	if err != nil {
		text = []byte("\x00" + err.Error())
	}
	if g.seen[n] != nil && bytes.Equal(text, g.seen[n]) {
		return nil, errSame
	}
	g.seen[n] = text
	return text, err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	return text, err
}
