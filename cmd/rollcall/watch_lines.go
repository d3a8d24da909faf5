package main

import (
	"fmt"
	"io"
	"time"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// updatePrinter prints what views of one service bring, line by line.
type updatePrinter struct {
	w, talk  io.Writer
	format   format
	service  string
	many     bool // services are watched: each line says of which it is
	headless bool // another printer prints the heads
	who      func() string
	paint    paint

	begun  bool
	silent string           // who does not answer, as was said; "" while somebody does
	policy *rollcall.Policy // the one that was shown last
}

// updateLine has fixed widths: a line cannot wait for those that will come.
const updateLine = "%-8s  %-7s  %-21s  %-21s  %-8s  %6s  %-8s  %-8s  %s\n"

// take prints a view, and before the first what belongs there.
func (p *updatePrinter) take(view *rollcall.View, now time.Time) error {
	if !p.begun {
		p.begun = true
		if err := p.begin(len(view.Instances)); err != nil {
			return err
		}
	}
	return p.print(view, now)
}

func (p *updatePrinter) begin(instances int) error {
	if instances == 0 {
		fmt.Fprintf(p.talk, "no instances of %s yet\n", p.service)
	}
	if p.format != formatTable || p.headless || p.many {
		return nil
	}
	return p.head()
}

func (p *updatePrinter) head() error { return p.printLine("TIME", "OP", "SERVICE", instanceHeads) }

func (p *updatePrinter) print(view *rollcall.View, now time.Time) error {
	p.printCondition(view, now)
	p.printPolicy(view.Policy)
	for _, u := range view.Updates {
		var err error
		if p.format != formatTable {
			err = printStream(p.w, p.format, updateJSON{Time: now.UTC(), Op: opWord(u), instanceJSON: newInstanceJSON(p.service, u.Instance)})
		} else {
			err = p.printLine(now.Format(time.TimeOnly), opWord(u), p.service, instanceCells(u.Instance))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *updatePrinter) printLine(when, op, service string, cells []string) error {
	values := []any{when, op}
	line := updateLine
	if p.many {
		line = "%-8s  %-7s  %-16s" + updateLine[len("%-8s  %-7s"):]
		values = append(values, service)
	}
	for _, c := range cells {
		values = append(values, c)
	}
	_, err := fmt.Fprintf(p.w, line, values...)
	return err
}

// printCondition says once that what is shown may be old, and once that it is current again.
func (p *updatePrinter) printCondition(view *rollcall.View, now time.Time) {
	if view.Reset {
		fmt.Fprintln(p.talk, "etcd's history broke, as by a wipe or a restore; what follows is what it holds now")
	}
	p.silent = tellSilence(p.talk, p.silent, view.StaleSince, now, p.who)
}

// tellSilence says who does not answer any more, or that he does again. It returns who is silent now.
func tellSilence(talk io.Writer, before string, since, now time.Time, who func() string) string {
	switch {
	case since.IsZero() && before != "":
		fmt.Fprintln(talk, before+" answers again")
		return ""
	case !since.IsZero() && before == "":
		before = "etcd"
		if who != nil {
			before = who()
		}
		fmt.Fprintf(talk, "no answer from %s since %s; what was shown is the last that is known\n", before, clock(since, now))
	}
	return before
}

// printPolicy says when operators have decided anew about the service.
func (p *updatePrinter) printPolicy(policy *rollcall.Policy) {
	before := p.policy
	p.policy = policy
	of := ""
	if p.many {
		of = " of " + p.service
	}
	switch {
	case policy == nil && before != nil:
		fmt.Fprintf(p.talk, "the policy%s of revision %d was taken back\n", of, before.Revision)
	case policy != nil && (before == nil || policy.Revision != before.Revision):
		fmt.Fprintf(p.talk, "policy%s of revision %d%s; see it: rollcall policy get %s\n", of, policy.Revision, byWhom(policy.Author, policy.Reason), p.service)
	}
}

// byWhom is who decided and why, as far as it is known. What is in etcd anybody may have written.
func byWhom(author, reason string) string {
	text := ""
	if author != "" {
		text += " by " + cell(author)
	}
	if reason != "" {
		text += " (" + cell(reason) + ")"
	}
	return text
}

// summaryPrinter prints what becomes of all services, line by line.
type summaryPrinter struct {
	w, talk io.Writer
	format  format
	place   string // of the server

	known  map[string]*rollcallv1.ServiceSummary
	begun  bool
	silent string
}

// summaryJSON is one line of "watch -o json" of all services.
type summaryJSON struct {
	Time time.Time `json:"time"` // when it was seen, UTC
	Op   string    `json:"op"`   // joined, changed or left
	serviceJSON
}

const summaryLine = "%-8s  %-7s  %-32s  %9v  %7v  %8v  %7v  %9v\n"

func (p *summaryPrinter) print(s *allServices, now time.Time) error {
	if !p.begun && p.format == formatTable {
		if _, err := fmt.Fprintf(p.w, summaryLine, "TIME", "OP", "SERVICE", "INSTANCES", "SERVING", "DRAINING", "SUSPECT", "UNHEALTHY"); err != nil {
			return err
		}
	}
	p.begun = true
	p.silent = tellSilence(p.talk, p.silent, s.stale, now, func() string { return s.who(p.place) })
	for _, change := range mergeSummaries(p.known, s) {
		if err := p.printChange(change, now); err != nil {
			return err
		}
	}
	return nil
}

func (p *summaryPrinter) printChange(c summaryChange, now time.Time) error {
	if p.format != formatTable {
		return printStream(p.w, p.format, summaryJSON{now.UTC(), c.op, newServiceJSON(c.now)})
	}
	s := c.now
	_, err := fmt.Fprintf(p.w, summaryLine, now.Format(time.TimeOnly), c.op, cell(s.GetService()), s.GetInstances(), s.GetServing(), s.GetDraining(), s.GetSuspect(), s.GetUnhealthy())
	return err
}
