package doctor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	diskSlow = newKind("disk-slow", "A member of etcd waits long for its disk",
		"Every write waits for it, and elections come of it. Give etcd's log a disk of its own that is quick to sync (an SSD, no network storage), and see what else writes there.")
	leaderChanges = newKind("leader-changes", "Etcd's leader changes often",
		"No writes for one to three seconds each time, and instances that died are seen that much later. Slow disks, too little CPU, or a network that stalls between the members are the usual reasons.")
)

// metrics are what we read of those that a member of etcd shows.
type metrics struct {
	member  string
	err     error
	syncs   map[float64]float64 // upper bound in seconds → writes of the log that took no longer
	changes float64             // of the leader, since the member's start
	started float64             // the member's start, in seconds since 1970
	clock   time.Time           // the member's, in whole seconds
	asked   time.Time           // ours, when that was read
}

// maxMetrics bounds what is read of one member's metrics.
const maxMetrics = 8 << 20

var diskCheck = check{"disk", "how long etcd waits for its disk, and how often its leader changes", func(ctx context.Context, p *patient) ([]Finding, error) {
	seen, err := p.metrics(ctx)
	if err != nil {
		return nil, err
	}
	return judgeMetrics(seen, p.Now(), p.Thresholds)
}}

func judgeMetrics(seen []metrics, now time.Time, limit Thresholds) (found []Finding, err error) {
	for _, m := range seen {
		if m.err != nil {
			err = errors.Join(err, fmt.Errorf("metrics of %s: %w", m.member, m.err))
			continue
		}
		if p99, count, ok := quantile(m.syncs, 0.99); ok && p99 >= limit.SlowSync.Seconds() {
			took := time.Duration(min(p99, 3600) * float64(time.Second))
			found = append(found, diskSlow.found(Warning, m.member, fmt.Sprintf("of %.0f writes of its log since its start, one in a hundred took %s or more to reach the disk", count, span(took))))
		}
		up := now.Sub(time.Unix(int64(m.started), 0))
		if days := max(up.Hours()/24, 0.25); m.changes >= 3 && (m.changes-1)/days >= limit.LeaderRate && m.started > 0 {
			found = append(found, leaderChanges.found(Warning, m.member, fmt.Sprintf("%.0f changes of the leader in the %s since its start", m.changes, span(up))))
		}
	}
	return found, err
}

// quantile returns the bound that the given share of observations begins to exceed: the lower bound of its bucket. False when there
// are too few to speak of one.
func quantile(buckets map[float64]float64, q float64) (at, count float64, ok bool) {
	count = buckets[math.Inf(1)]
	if count < 100 {
		return 0, count, false
	}
	var bounds []float64
	for bound := range buckets {
		bounds = append(bounds, bound)
	}
	slices.Sort(bounds)
	for _, bound := range bounds {
		if buckets[bound] >= q*count {
			return at, count, true
		}
		at = bound
	}
	return at, count, true
}

// metrics reads what each member shows of itself, where it serves its clients.
func (p *patient) metrics(ctx context.Context) ([]metrics, error) {
	return p.metricsSeen.get(func() ([]metrics, error) {
		members, err := p.answering(ctx)
		if err != nil {
			return nil, err
		}
		transport := &http.Transport{TLSClientConfig: p.TLS.Clone(), DisableKeepAlives: true}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, Timeout: p.Thresholds.MemberTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		seen := make([]metrics, len(members))
		var wg sync.WaitGroup
		for n, m := range members {
			wg.Go(func() {
				seen[n] = readMetrics(ctx, client, urlOf(m.endpoint, p.TLS != nil)+"/metrics")
				seen[n].member, seen[n].asked = m.called(), p.Now()
			})
		}
		wg.Wait()
		return seen, nil
	})
}

func readMetrics(ctx context.Context, client *http.Client, url string) (m metrics) {
	fail := func(err error) metrics { m.err = err; return m }
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fail(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fail(errors.New(resp.Status))
	}
	m.clock, _ = http.ParseTime(resp.Header.Get("Date"))
	return m.parse(io.LimitReader(resp.Body, maxMetrics))
}

// parse reads the few lines of Prometheus' text that matter here.
func (m metrics) parse(r io.Reader) metrics {
	const bucket = `etcd_disk_wal_fsync_duration_seconds_bucket{le="`
	m.syncs = map[float64]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			continue
		}
		switch {
		case name == "etcd_server_leader_changes_seen_total":
			m.changes = value
		case name == "process_start_time_seconds":
			m.started = value
		case strings.HasPrefix(name, bucket):
			if bound, err := strconv.ParseFloat(strings.TrimSuffix(name[len(bucket):], `"}`), 64); err == nil {
				m.syncs[bound] = value
			}
		}
	}
	m.err = lines.Err()
	return m
}
