package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

// eventJSON is an event as "history -o json" shows it. The names are a contract with scripts.
type eventJSON struct {
	Time        time.Time `json:"time,omitzero"`
	Within      float64   `json:"within,omitempty"` // seconds
	Kind        string    `json:"kind"`
	Service     string    `json:"service,omitempty"`
	Instance    string    `json:"instance,omitempty"`
	Addr        string    `json:"addr,omitempty"`
	Zone        string    `json:"zone,omitempty"`
	Version     string    `json:"version,omitempty"`
	Incarnation string    `json:"incarnation,omitempty"`
	Actor       string    `json:"actor,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Detail      string    `json:"detail,omitempty"`
	Since       time.Time `json:"since,omitzero"`
	Until       time.Time `json:"until,omitzero"`
	Revision    int64     `json:"revision"`
}

func newEventJSON(e *rollcallv1.Event) eventJSON {
	return eventJSON{
		message.MomentOf(e.GetTime()), e.GetWithin().AsDuration().Round(time.Millisecond).Seconds(), kindWord(e.GetKind().String()), e.GetService(), e.GetInstance(), e.GetAddr(),
		e.GetZone(), e.GetVersion(), e.GetIncarnation(), e.GetActor(), e.GetReason(), e.GetDetail(), message.MomentOf(e.GetSince()),
		message.MomentOf(e.GetUntil()), e.GetRevision(),
	}
}

// eventPrinter prints events as they come.
type eventPrinter struct {
	*printing

	w      io.Writer
	talk   io.Writer
	paint  paint
	widths []int // that columns had so far: those to come are no narrower
	begun  bool
}

var eventHeads = []string{"TIME", "KIND", "SERVICE", "INSTANCE", "BY", "WHAT"}

func (p *eventPrinter) print(events []*rollcallv1.Event) error {
	if p.data() {
		for _, e := range events {
			if err := printStream(p.w, p.output, newEventJSON(e)); err != nil {
				return err
			}
		}
		return nil
	}
	heads := eventHeads
	if p.output == formatWide {
		heads = append(heads[:len(heads):len(heads)], "REVISION", "ADDR", "ZONE", "VERSION", "INCARNATION")
	}
	rows := [][]string{heads}
	now := time.Now()
	for _, e := range events {
		rows = append(rows, p.cells(e, now))
	}
	if p.begun && len(events) == 0 {
		return nil
	}
	for _, row := range rows {
		for n, text := range row {
			if len(p.widths) <= n {
				p.widths = append(p.widths, 0)
			}
			p.widths[n] = max(p.widths[n], displayWidth(text))
		}
	}
	lines := alignRows(rows, p.widths)
	if p.begun {
		lines = lines[1:]
	}
	p.begun = true
	_, err := fmt.Fprintln(p.w, strings.Join(lines, "\n"))
	return err
}

func (p *eventPrinter) cells(e *rollcallv1.Event, now time.Time) []string {
	at := message.MomentOf(e.GetTime())
	when := "-"
	switch {
	case at.IsZero():
	case p.output == formatWide:
		when = precise(at)
	default:
		when = clock(at, now)
	}
	if e.GetWithin().AsDuration() >= time.Second && when != "-" {
		when = "≤" + when
	}
	row := []string{when, p.kind(e.GetKind()), cell(e.GetService()), cell(e.GetInstance()), cell(e.GetActor()), what(e, now)}
	if p.output == formatWide {
		row = append(row, fmt.Sprint(e.GetRevision()), cell(e.GetAddr()), cell(e.GetZone()), cell(e.GetVersion()), cell(e.GetIncarnation()))
	}
	return row
}

// kind colours what is bad, and what is good.
func (p *eventPrinter) kind(k rollcallv1.Event_Kind) string {
	word := kindWord(k.String())
	switch k {
	case rollcallv1.Event_KIND_EXPIRED, rollcallv1.Event_KIND_REMOVED, rollcallv1.Event_KIND_UNHEALTHY, rollcallv1.Event_KIND_ETCD_LOST,
		rollcallv1.Event_KIND_ETCD_RESET, rollcallv1.Event_KIND_GAP:
		return p.paint.red(word)
	case rollcallv1.Event_KIND_DRAINED, rollcallv1.Event_KIND_WEIGHED, rollcallv1.Event_KIND_LEFT, rollcallv1.Event_KIND_REPLACED, rollcallv1.Event_KIND_ACCEPTED:
		return p.paint.yellow(word)
	case rollcallv1.Event_KIND_JOINED, rollcallv1.Event_KIND_RETURNED, rollcallv1.Event_KIND_HEALTHY, rollcallv1.Event_KIND_ETCD_BACK:
		return p.paint.green(word)
	}
	return word
}

// what says in words what happened, and why.
func what(e *rollcallv1.Event, now time.Time) string {
	var words []string
	if d := e.GetDetail(); d != "" {
		words = append(words, cell(d))
	}
	if r := e.GetReason(); r != "" {
		words = append(words, "("+cell(r)+")")
	}
	if until := message.MomentOf(e.GetUntil()); !until.IsZero() {
		words = append(words, "until "+clock(until, now))
	}
	if since, at := message.MomentOf(e.GetSince()), message.MomentOf(e.GetTime()); !since.IsZero() && !at.IsZero() && at.After(since) {
		words = append(words, "after "+span(at.Sub(since)))
	}
	return cmpDash(strings.Join(words, " "))
}
