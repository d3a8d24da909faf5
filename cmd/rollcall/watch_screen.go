package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

const (
	lookAgain = 250 * time.Millisecond // whether the window has another size
	standsOut = 3 * time.Second        // what has changed
	lingers   = 5 * time.Second        // what is gone

	// What a terminal is told. The whole picture is one write between the marks of a synchronized update, which terminals that do not know
	// them ignore: nothing flickers.
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H"
	endFrame    = "\x1b[J\x1b[?2026l"
	endLine     = "\x1b[K"
)

// screen draws what is heard, in place, until a key or ctx ends it.
func (c *watchCommand) screen(ctx context.Context, out *os.File, cmd *cobra.Command, b *client, services []string, from <-chan news) error {
	keys, restore := readKeys(cmd.InOrStdin())
	defer restore()
	pic := newPicture(services, c.color.paintFor(out), b)
	w := cmd.OutOrStdout()
	drawn := false
	defer func() {
		if drawn {
			_, _ = io.WriteString(w, leaveScreen)
		}
	}()
	look := time.NewTicker(lookAgain)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Canceled
		case key := <-keys:
			switch key {
			case 'q', 'Q':
				return nil
			case 3: // ^C, which is no signal while keys are read one by one
				return errInterrupted
			}
		case n := <-from:
			if n.err != nil {
				return n.err
			}
			pic.take(n, time.Now())
		case <-look.C:
		}
		if !pic.known() {
			continue // whoever does not answer is told of as elsewhere
		}
		columns, rows, err := term.GetSize(int(out.Fd()))
		if err != nil {
			columns, rows = 80, 24
		}
		frame := beginFrame + strings.Join(pic.draw(time.Now(), columns, rows), endLine+"\r\n") + endLine + endFrame
		if !drawn {
			drawn, frame = true, enterScreen+frame
		} else if frame == pic.last {
			continue
		}
		pic.last = strings.TrimPrefix(frame, enterScreen)
		if _, err := io.WriteString(w, frame); err != nil {
			return err
		}
	}
}

// readKeys reads single keys, if there is a keyboard.
func readKeys(in io.Reader) (keys <-chan byte, restore func()) {
	f, terminal := terminalOf(in)
	if !terminal {
		return nil, func() {}
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, func() {}
	}
	pressed := make(chan byte)
	go func() { // a read from a terminal cannot be taken back: it ends with the process
		var key [1]byte
		for {
			if n, err := f.Read(key[:]); err != nil || n == 0 {
				return
			}
			pressed <- key[0]
		}
	}()
	return pressed, func() { _ = term.Restore(int(f.Fd()), before) }
}

// picture is what is on the screen.
type picture struct {
	services []string // none: all of them
	paint    paint
	client   *client
	last     string // frame that was drawn

	views map[string]*rollcall.View
	all   map[string]*rollcallv1.ServiceSummary // nil before the first
	stale time.Time                             // since when all of them are
	who   string                                // makes them so
	at    int64                                 // the revision of all
	rows  map[string]*pictureRow
}

// pictureRow is a line of the table.
type pictureRow struct {
	key     string
	cells   []string
	word    string    // for what happened
	changed time.Time // zero: it was there from the beginning
	gone    bool
}

func newPicture(services []string, p paint, c *client) *picture {
	return &picture{services: services, paint: p, client: c, views: map[string]*rollcall.View{}, rows: map[string]*pictureRow{}}
}

// known reports whether there is something to draw.
func (p *picture) known() bool {
	return p.all != nil || len(p.services) > 0 && len(p.views) == len(p.services)
}

func (p *picture) take(n news, now time.Time) {
	if n.services != nil {
		p.takeAll(n.services, now)
		return
	}
	v := n.view
	first := p.views[v.Service] == nil
	p.views[v.Service] = v
	for _, u := range v.Updates {
		row := &pictureRow{key: v.Service + "\x00" + u.Instance.ID, cells: p.instance(v.Service, u.Instance), word: opWord(u), changed: now, gone: u.Op == rollcall.Delete}
		if first {
			row.word, row.changed = "", time.Time{}
		}
		p.rows[row.key] = row
	}
}

func (p *picture) takeAll(s *allServices, now time.Time) {
	first := p.all == nil
	if first {
		p.all = map[string]*rollcallv1.ServiceSummary{}
	}
	p.stale, p.who = s.stale, "etcd"
	if p.client != nil {
		p.who = s.who(p.client.place)
	}
	p.at = max(p.at, s.revision)
	for _, c := range mergeSummaries(p.all, s) {
		cells := serviceRows([]*rollcallv1.ServiceSummary{c.now}, true, p.paint)[1][:6]
		row := &pictureRow{key: c.now.GetService(), cells: cells, word: c.op, changed: now, gone: c.op == "left"}
		if first {
			row.word, row.changed = "", time.Time{}
		}
		p.rows[row.key] = row
	}
}

func (p *picture) instance(service string, i *rollcall.Instance) []string {
	cells := instanceCells(i)[:6]
	cells[2] = p.paint.state(cells[2])
	if len(p.services) > 1 {
		cells = append([]string{cell(service)}, cells...)
	}
	since := ""
	if !i.Registered.IsZero() {
		since = i.Registered.Format(time.RFC3339Nano)
	}
	return append(cells, since) // which becomes an age when it is drawn
}

// draw makes the lines that fill a window.
func (p *picture) draw(now time.Time, columns, rows int) []string {
	lines := p.head(now)
	table := p.table(now)
	room := max(rows-len(lines)-1, 1)
	if len(table) > room {
		hidden := len(table) - room + 1
		table = append(table[:room-1:room-1], p.paint.dim(fmt.Sprintf("… and %d more", hidden)))
	}
	lines = append(lines, table...)
	for n := range lines {
		lines[n] = fit(lines[n], columns)
	}
	return lines[:min(len(lines), rows)]
}

// head says what is watched, how much of it there is, and how old that is.
func (p *picture) head(now time.Time) []string {
	var lines []string
	right := now.Format(time.TimeOnly) + "  q ends"
	if len(p.services) == 0 {
		n := 0
		for _, s := range p.all {
			n += int(s.GetInstances())
		}
		lines = append(lines, fmt.Sprintf("%s: %s  revision %d  %s", p.paint.bold(plural(len(p.all), "service")), plural(n, "instance"), p.at, right))
	}
	stale := p.stale
	for _, service := range p.services {
		v := p.views[service]
		lines = append(lines, fmt.Sprintf("%s: %s  revision %d  %s", p.paint.bold(service), viewWords(v), v.Revision, right))
		right = ""
		if stale.IsZero() || !v.StaleSince.IsZero() && v.StaleSince.Before(stale) {
			stale = v.StaleSince
		}
		if v.Policy != nil {
			lines = append(lines, fmt.Sprintf("policy of revision %d%s", v.Policy.Revision, byWhom(v.Policy.Author, v.Policy.Reason)))
		}
	}
	if !stale.IsZero() {
		who := p.who
		if len(p.services) > 0 {
			who = p.silent()
		}
		lines = append(lines, p.paint.yellow(fmt.Sprintf("no answer from %s for %s, since %s: this is the last that is known", who, span(now.Sub(stale)), clock(stale, now))))
	}
	return append(lines, "")
}

// silent says who does not answer when views are old.
func (p *picture) silent() string {
	if p.client == nil {
		return "etcd"
	}
	return p.client.whoIsSilent()
}

// table is the heads and a line for each row. What is gone is forgotten after a while.
func (p *picture) table(now time.Time) []string {
	heads := []string{"ID", "ADDR", "STATE", "WEIGHT", "ZONE", "VERSION", "UP"}
	if len(p.services) > 1 {
		heads = append([]string{"SERVICE"}, heads...)
	}
	if len(p.services) == 0 {
		heads = []string{"SERVICE", "INSTANCES", "SERVING", "DRAINING", "SUSPECT", "UNHEALTHY"}
	}
	var shown []*pictureRow
	for key, row := range p.rows {
		if row.gone && now.Sub(row.changed) > lingers {
			delete(p.rows, key)
			continue
		}
		shown = append(shown, row)
	}
	slices.SortFunc(shown, func(a, b *pictureRow) int { return cmp.Compare(a.key, b.key) })
	cells := [][]string{append(heads, "")}
	for _, row := range shown {
		cells = append(cells, p.cells(row, now))
	}
	lines := alignRows(cells, nil)
	lines[0] = p.paint.dim(lines[0])
	for n, row := range shown {
		lines[n+1] = p.highlight(row, lines[n+1], now)
	}
	return lines
}

func (p *picture) cells(row *pictureRow, now time.Time) []string {
	cells := slices.Clone(row.cells)
	if len(p.services) > 0 {
		last := len(cells) - 1
		if since, err := time.Parse(time.RFC3339Nano, cells[last]); err == nil {
			cells[last] = span(now.Sub(since))
		} else {
			cells[last] = "-"
		}
	}
	word := ""
	if !row.changed.IsZero() && now.Sub(row.changed) < max(standsOut, lingers) && (row.gone || now.Sub(row.changed) < standsOut) {
		word = row.word
	}
	return append(cells, word)
}

// highlight makes a row stand out that has just changed.
func (p *picture) highlight(row *pictureRow, line string, now time.Time) string {
	switch {
	case row.gone:
		return p.paint.dim(strings.NewReplacer("\x1b[0m", "\x1b[0;2m").Replace(line))
	case !row.changed.IsZero() && now.Sub(row.changed) < standsOut:
		return p.paint.bold(strings.NewReplacer("\x1b[0m", "\x1b[0;1m").Replace(line))
	}
	return line
}
