package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

var (
	clockSkew = newKind("clock-skew", "Clocks differ",
		"Leases do not care, but decisions with an end, certificates, and what is told of the past do. Let NTP set the clocks: `timedatectl set-ntp true`.")
	serverBeatLate = newKind("server-beat-late", "A server of the registry has given no sign for long",
		"It holds its lease, so it runs, but does not get to write: see its log, and how busy its machine is. If it is well, its clock is behind.")
)

var clockCheck = check{"clocks", "whether clocks agree", func(ctx context.Context, p *patient) ([]Finding, error) {
	now := p.Now()
	seen, unseen := p.metrics(ctx)
	var found []Finding
	for _, m := range seen {
		unseen = errors.Join(unseen, m.err)
		if m.err == nil && !m.clock.IsZero() {
			found = append(found, judgeClock(m.member, m.clock, m.asked, p.Thresholds)...)
		}
	}
	listed, err := p.keys(ctx)
	if _, skipped := errors.AsType[skip](err); !skipped { // the members' clocks are there without keys, too
		unseen = errors.Join(unseen, err)
	}
	return append(found, judgeSigns(listed.keys, now, p.Thresholds)...), unseen
}}

// judgeClock judges a clock that tells whole seconds.
func judgeClock(who string, clock, ours time.Time, limit Thresholds) []Finding {
	ahead := clock.Sub(ours)
	if ahead < 0 {
		ahead = min(0, ahead+time.Second) // it may have been nearly the next second
	}
	if ahead.Abs() < limit.ClockSkew {
		return nil
	}
	return []Finding{clockSkew.found(Warning, who, fmt.Sprintf("its clock is %s ahead of the one here", span(ahead)))}
}

// judgeSigns judges the times that instances have written: none can be of the future, and those of servers not be old.
func judgeSigns(keys []instanceKey, now time.Time, limit Thresholds) []Finding {
	ahead, late := map[string][]string{}, map[string][]string{}
	for _, k := range keys {
		if k.service == "" || k.err != nil {
			continue
		}
		newest := k.registered
		if k.beat.After(newest) {
			newest = k.beat
		}
		if by := newest.Sub(now); by >= limit.ClockSkew {
			ahead[k.service] = append(ahead[k.service], fmt.Sprintf("%s wrote a time that is still %s away", k.id, span(by)))
		}
		if age := now.Sub(k.beat); k.service == serverService && !k.beat.IsZero() && age >= limit.BeatAge {
			late[k.id] = append(late[k.id], fmt.Sprintf("its last sign is %s old, by the clock here", span(age)))
		}
	}
	return slices.Concat(each(clockSkew, Warning, ahead), each(serverBeatLate, Warning, late))
}
