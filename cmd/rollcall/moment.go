package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
)

// moment is the value of a flag that is a point in the past: a time, or a revision of etcd.
type moment struct {
	text     string
	at       time.Time // zero: the revision says, or nobody
	revision int64
	timeOnly bool // a revision will not do
}

func (m *moment) String() string { return m.text }
func (m *moment) Type() string   { return "moment" }

// dayLayouts are how people write a time; what they leave out is today, or midnight.
var dayLayouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

func (m *moment) Set(s string) error {
	at, revision, err := parseMoment(s, time.Now())
	if err != nil || m.timeOnly && revision != 0 {
		also := " or a revision of etcd"
		if m.timeOnly {
			also = ""
		}
		return errors.New("a moment is how long ago (10m, 3h, 2d), a time (15:04, 2026-11-23T01:00, 2026-11-23T01:00:00Z), now" + also)
	}
	m.text, m.at, m.revision = s, at, revision
	return nil
}

func parseMoment(s string, now time.Time) (at time.Time, revision int64, err error) {
	if s == "now" {
		return now, 0, nil
	}
	if revision, err := strconv.ParseInt(s, 10, 64); err == nil && revision > 0 {
		return at, revision, nil
	}
	if ago, err := parseAgo(s); err == nil {
		return now.Add(-ago), 0, nil
	}
	if at, err := time.Parse(time.RFC3339, s); err == nil {
		return at, 0, nil
	}
	for _, layout := range dayLayouts {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return at, 0, nil
		}
	}
	for _, layout := range []string{"15:04:05", "15:04"} {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			y, month, d := now.Local().Date()
			at = time.Date(y, month, d, at.Hour(), at.Minute(), at.Second(), 0, time.Local)
			if at.After(now) { // of the last of them, then
				at = at.AddDate(0, 0, -1)
			}
			return at, 0, nil
		}
	}
	return at, 0, fmt.Errorf("%q is no moment", s)
}

// parseAgo reads a duration that may begin with days.
func parseAgo(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		if err == nil && d < 0 {
			err = errors.New("it is in the future")
		}
		return d, err
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, err
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err == nil && more < 0 {
		err = errors.New("it is in the future")
	}
	return d + more, err
}

// set reports whether the flag was given.
func (m *moment) set() bool { return m.text != "" }

// time is the moment as the API has it; nil: the revision says, or it is now.
func (m *moment) time() *timestamppb.Timestamp {
	if m.at.IsZero() {
		return nil
	}
	return timestamppb.New(m.at)
}

// span is a length of time for people: one unit will do, of short ones two.
func span(d time.Duration) string {
	switch d = max(d, 0); {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + "s"
	case d < 10*time.Minute:
		return twoUnits(int(d/time.Minute), "m", int(d%time.Minute/time.Second), "s")
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 10*time.Hour:
		return twoUnits(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "m")
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

func twoUnits(n int, unit string, m int, smaller string) string {
	if m == 0 {
		return strconv.Itoa(n) + unit
	}
	return fmt.Sprintf("%d%s%d%s", n, unit, m, smaller)
}

// ago says how long ago a time is; "-" when nobody knows.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t)) + " ago"
}

// precise is a time with everything; "-" when nobody knows.
func precise(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02T15:04:05Z07:00")
}
