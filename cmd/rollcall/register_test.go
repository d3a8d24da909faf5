package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnOutageIsSaidAtOnceThenEveryMinuteThenWhenItIsOver(t *testing.T) {
	t.Parallel()
	var talk strings.Builder
	o := &outage{talk: &talk, where: "etcd at host:2379"}
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.Local)
	refused := errors.New("connection refused")
	lines := func() []string {
		said := strings.TrimSuffix(talk.String(), "\n")
		talk.Reset()
		if said == "" {
			return nil
		}
		return strings.Split(said, "\n")
	}
	check := func(when string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, lines()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}

	o.look(start, time.Time{}, nil)
	check("while etcd answers")

	o.look(start.Add(time.Second), start, refused)
	check("when it goes", "no answer from etcd at host:2379 since 12:00:00 (connection refused); still trying")

	o.look(start.Add(2*time.Second), start, refused)
	o.look(start.Add(60*time.Second), start, refused)
	check("within the minute")

	o.look(start.Add(61*time.Second), start, nil)
	check("after the minute", "no answer from etcd at host:2379 since 12:00:00; still trying")

	o.look(start.Add(62*time.Second), time.Time{}, nil)
	o.look(start.Add(63*time.Second), time.Time{}, nil)
	check("when it is back", "etcd at host:2379 answers again")

	again := start.Add(64 * time.Second)
	o.look(again, again, refused)
	check("when it goes again", "no answer from etcd at host:2379 since 12:01:04 (connection refused); still trying")
}
