package main

import (
	"testing"
	"time"
)

func TestAMomentIsWrittenAsPeopleThinkOfIt(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 30, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"now":                    now,
		"10m":                    now.Add(-10 * time.Minute),
		"1h30m":                  now.Add(-90 * time.Minute),
		"2d":                     now.Add(-48 * time.Hour),
		"1d12h":                  now.Add(-36 * time.Hour),
		"2026-11-23T01:00":       time.Date(2026, 11, 23, 1, 0, 0, 0, time.Local),
		"2026-11-23 01:00:05":    time.Date(2026, 11, 23, 1, 0, 5, 0, time.Local),
		"2026-11-22":             time.Date(2026, 11, 22, 0, 0, 0, 0, time.Local),
		"2026-11-23T01:00:00Z":   time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC),
		"2026-11-23T01:00:00.5Z": time.Date(2026, 11, 23, 1, 0, 0, 5e8, time.UTC),
		"12:00":                  time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local),
		"12:30:01":               time.Date(2026, 11, 22, 12, 30, 1, 0, time.Local), // today that has not come yet
	} {
		got, revision, err := parseMoment(text, now)
		if err != nil || revision != 0 || !got.Equal(want) {
			t.Errorf("%q is %v, revision %d, %v; want %v", text, got, revision, err, want)
		}
	}
	if _, revision, err := parseMoment("1200", now); err != nil || revision != 1200 {
		t.Errorf("1200 is revision %d, %v", revision, err)
	}
	for _, text := range []string{"", "soon", "-10m", "-5", "25:00", "2026-13-01", "1d-1h", "d", "yesterday"} {
		if at, revision, err := parseMoment(text, now); err == nil {
			t.Errorf("%q is taken for %v, revision %d", text, at, revision)
		}
	}
}

func TestAWhileIsSaidInFewCharacters(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": -time.Second, "59s": 59 * time.Second, "1m": time.Minute, "2m5s": 125 * time.Second, "10m": 10*time.Minute + 30*time.Second,
		"1h": time.Hour, "3h20m": 200 * time.Minute, "11h": 11*time.Hour + time.Minute, "47h": 47 * time.Hour, "3d": 80 * time.Hour,
	} {
		if got := span(d); got != want {
			t.Errorf("%v is said as %s, want %s", d, got, want)
		}
	}
}
