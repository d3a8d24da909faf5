package rollcall

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

// blocking is a handler that takes a record only when it is let.
type blocking struct {
	slog.Handler
	let chan struct{}
}

func (b blocking) Handle(ctx context.Context, r slog.Record) error {
	<-b.let
	return b.Handler.Handle(ctx, r)
}

func TestALogHandlerThatBlocksHoldsUpNobodyAndIsToldWhatItMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		h := blocking{slog.NewTextHandler(&out, nil), make(chan struct{})}
		s := newSettings([]Option{WithLogger(slog.New(h))})
		for n := range relaySize + 10 {
			s.logger.Info("record", "n", n)
			synctest.Wait() // the first is with the handler, the others wait
		}
		close(h.let)
		s.relay.close()
		text := out.String()
		if got := strings.Count(text, "msg=record n="); got != relaySize+1 {
			t.Errorf("%d records arrived, want %d", got, relaySize+1)
		}
		if !strings.Contains(text, "dropped=9") {
			t.Error("the handler is not told what was dropped")
		}
	})
}

func TestClosingDoesNotWaitForEverForALogHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := blocking{slog.DiscardHandler, make(chan struct{})}
		s := newSettings([]Option{WithLogger(slog.New(enabled{h}))})
		s.logger.Info("stuck")
		s.relay.close()
		close(h.let)
	})
}

// enabled wants every record.
type enabled struct{ slog.Handler }

func (enabled) Enabled(context.Context, slog.Level) bool { return true }
