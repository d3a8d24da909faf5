package world

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/chaos/journal"
	"github.com/rollcall-io/rollcall/internal/history"
)

// historian keeps rollcall's history of a run, as a server does. It reaches every member, whatever is done to the networks of others.
type historian struct {
	by   string
	kept *history.History
	reg  *rollcall.Registry
	stop func()
}

func (w *World) keepHistory(by string) *historian {
	w.T.Helper()
	cfg := rollcall.ClientConfig(w.Cluster.Endpoints()...)
	cfg.Username, cfg.Password = w.login[0], w.login[1]
	reg, err := rollcall.Open(cfg, rollcall.WithFollowAll(), rollcall.WithSuspicion(5*time.Second))
	if err != nil {
		w.T.Fatal(err)
	}
	h := &historian{by: by, reg: reg, kept: history.New(reg, history.Config{})}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := h.kept.Run(ctx); err != nil {
			w.T.Errorf("%s: %v", by, err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = reg.Close(closing) // it holds nothing
	})
	return h
}

// end ends it, if there is one.
func (h *historian) end() {
	if h != nil {
		h.stop()
	}
}

// recount has the history told to the judge: what was seen of the run, and what somebody makes of it who comes only now and reads etcd's past,
// as a server that was started again.
func (w *World) recount() {
	if w.historian == nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.T.Context(), time.Minute)
	defer cancel()
	revision, err := w.Judge.Sync(ctx)
	if err != nil {
		w.T.Fatalf("complete the record: %v", err)
	}
	late := w.keepHistory("latecomer")
	defer late.end()
	for _, h := range []*historian{w.historian, late} {
		w.Attend(20*time.Second, func() bool { return !h.kept.Begin().Reading && h.kept.Stats().Revision >= revision })
		upTo := h.kept.Stats().Revision
		events, _ := h.kept.List(history.Query{})
		slices.Reverse(events)
		out := w.journal(h.by)
		out.Tell(journal.Event{What: journal.Recounting, Revision: h.kept.Begin().Revision, Reset: h == late, Value: float64(upTo)})
		for _, e := range events {
			out.Tell(journal.Event{
				What: journal.Recounted, Name: e.Kind.String(), Revision: e.Revision, Service: e.Service, ID: e.Instance, Incarnation: e.Incarnation,
			})
		}
	}
}
