package server

import (
	"context"
	"log/slog"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// etcdCore writes what etcd logs through zap to a slog handler, quietly: etcd's Info is for those who debug it.
type etcdCore struct {
	handler  slog.Handler
	stopping *atomic.Bool // set when we end etcd, which then reports its end as an error
}

// etcdLogger returns the logger for an embedded etcd that writes to l.
func etcdLogger(l *slog.Logger, stopping *atomic.Bool) *zap.Logger {
	return zap.New(etcdCore{handler: l.With(slog.String("logger", "etcd")).Handler(), stopping: stopping})
}

// harmless is what etcd says above Info and an operator of ours can do nothing about.
var harmless = map[string]bool{
	// About a flaw of ports that serve both with TLS; ours has none.
	"Running http and grpc server on single port. This is not recommended for production.": true,
	// About the tokens of users; ours has none.
	"simple token is not cryptographically signed": true,
}

// endedByUs is what etcd says at Error when it is told to stop.
const endedByUs = "setting up serving from embedded etcd failed."

func (c etcdCore) level(e zapcore.Entry) slog.Level {
	switch {
	case e.Level < zapcore.InfoLevel:
		return slog.LevelDebug - 4
	case e.Level == zapcore.InfoLevel, harmless[e.Message]:
		return slog.LevelDebug
	case c.stopping.Load() && (e.Level == zapcore.WarnLevel || e.Message == endedByUs):
		return slog.LevelDebug // what was cut short by the stop
	case e.Level == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelError // also what comes before a panic or the end of the process
}

func (c etcdCore) Enabled(l zapcore.Level) bool {
	return c.handler.Enabled(context.Background(), c.level(zapcore.Entry{Level: l}))
}

func (c etcdCore) With(fields []zapcore.Field) zapcore.Core {
	return etcdCore{handler: c.handler.WithAttrs(slogAttrs(fields)), stopping: c.stopping}
}

func (c etcdCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.handler.Enabled(context.Background(), c.level(e)) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c etcdCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	r := slog.NewRecord(e.Time, c.level(e), e.Message, 0)
	r.AddAttrs(slogAttrs(fields)...)
	return c.handler.Handle(context.Background(), r)
}

func (c etcdCore) Sync() error { return nil }

func slogAttrs(fields []zapcore.Field) []slog.Attr {
	attrs := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		enc := zapcore.NewMapObjectEncoder() // one per field keeps their order
		f.AddTo(enc)
		for key, value := range enc.Fields {
			attrs = append(attrs, slog.Any(key, value))
		}
	}
	return attrs
}
