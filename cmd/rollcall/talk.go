package main

import (
	"context"
	"io"
	"log/slog"
)

// talkLogger logs what a person at a terminal should know, and what the command does not say by itself.
func talkLogger(w io.Writer) *slog.Logger {
	return slog.New(talkHandler{slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{} // it is now
			}
			return a
		},
	})})
}

// saidAnyway are the library's messages about etcd being away: register and watch say that themselves, in a way that
// fits what they do.
var saidAnyway = map[string]bool{
	"etcd does not answer; registrations are kept as long as their leases last": true,
	"cannot follow etcd, keeping what is known":                                 true,
}

type talkHandler struct{ slog.Handler }

func (h talkHandler) Handle(ctx context.Context, r slog.Record) error {
	if saidAnyway[r.Message] {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h talkHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return talkHandler{h.Handler.WithAttrs(attrs)}
}

func (h talkHandler) WithGroup(name string) slog.Handler {
	return talkHandler{h.Handler.WithGroup(name)}
}
