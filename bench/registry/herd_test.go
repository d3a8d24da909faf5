//go:build linux

package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
)

const (
	perWatcher = 10              // registrations, each watcher has 100 before its eyes
	quiet      = 4 * time.Second // from the watchers' start on: by then each of rollcall's has made its first probe
	resting    = 3 * time.Second // before the etcd is killed: the time between two probes
)

// herd is all programs of one contender through a restart of their etcd.
type herd struct {
	contender  string
	n          int           // registrations
	perProgram int           // of them
	away       time.Duration // how long etcd stays away, besides what it needs to start
	dir        string

	etcd              *store
	client            *clientv3.Client
	holders, watchers *process
	sampler           *sampler
	before            map[string]int64 // what there was: key → revision of its creation
	killed, up        time.Time
	cpu               time.Duration // of the programs, from the kill on
	shown, renewed    answer
	lost              int
}

// BenchmarkHerd measures what comes over an etcd that is killed and started again with its data, at a TTL of 5 s: N registrations, 100 to a
// program, and a watcher for each ten of them, each with a client of its own. All programs of a kind are registries in one process. In
// "restart" etcd is started at once, in "outage" after more than a TTL; in "programs" it is started at once, and each registration has a
// program of its own.
//
// Told are: when etcd answers again, since it was killed (up); from there on, until a change has reached the median and the last watcher
// (synced), and until the last lease is renewed (renewed, of who can tell); watchers and leases of which that is not so after 10 s (unsynced,
// unrenewed); the most requests that etcd got in a second, and the mean before (peak, rest); registrations whose keys were deleted, once or
// for good, on the way to so many too (lost), looked at when each lease that nobody renews has ended; and the CPU of the programs from the kill to there.
func BenchmarkHerd(b *testing.B) {
	all := []string{"rollcall", "raw", "kratos"}
	if testing.Short() {
		benchmarkHerds(b, "restart", 2, herds(all[:2], herd{n: 100, perProgram: perService}))
		return
	}
	if long {
		for _, n := range []int{100, 300, 1000} {
			benchmarkHerds(b, "outage", 3, herds(all, herd{n: n, perProgram: perService, away: shortTTL + time.Second}))
			benchmarkHerds(b, "programs", 3, herds(all, herd{n: n, perProgram: 1}))
		}
	}
	benchmarkHerds(b, "restart", 6, append(herds(all, herd{n: 100, perProgram: perService}), herds(all, herd{n: 1000, perProgram: perService})...))
	if !long {
		all = all[:2]
	}
	benchmarkHerds(b, "restart", 1, herds(all, herd{n: 10_000, perProgram: perService}))
}

// herds are those of some contenders that are otherwise alike.
func herds(names []string, like herd) (all []*herd) {
	for _, name := range names {
		h := like
		h.contender = name
		all = append(all, &h)
	}
	return all
}

// benchmarkHerds measures herds of one kind, in the order of their sizes, and so many at a time, each on an etcd of its own: small ones wait
// more than they work.
func benchmarkHerds(b *testing.B, what string, atOnce int, all []*herd) {
	b.Helper()
	for _, h := range all {
		h.dir = b.TempDir()
	}
	if err := each(len(all), atOnce, func(i int) error { return all[i].run(b.Context()) }); err != nil {
		b.Fatal(err)
	}
	for len(all) > 0 {
		n := all[0].n
		b.Run(fmt.Sprintf("N=%d/%s", n, what), func(b *testing.B) {
			for ; len(all) > 0 && all[0].n == n; all = all[1:] {
				all[0].report(b)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

func (h *herd) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	defer h.end()
	for _, step := range []func(context.Context) error{h.gather, h.restart, h.mark, h.await} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%s, %d: %w", h.contender, h.n, err)
		}
	}
	return nil
}

func (h *herd) end() {
	if h.sampler != nil {
		h.sampler.stop()
	}
	for _, p := range []*process{h.holders, h.watchers} {
		if p != nil {
			p.end()
		}
	}
	if h.client != nil {
		_ = h.client.Close()
	}
	if h.etcd != nil {
		h.etcd.end()
	}
}

func (h *herd) services() int { return (h.n + perService - 1) / perService }

// gather starts etcd and all programs, and waits until everybody is registered and sees the others.
func (h *herd) gather(ctx context.Context) (err error) {
	if h.etcd, err = launchStore(h.dir); err != nil {
		return err
	}
	if h.client, err = clientv3.New(rollcall.ClientConfig(h.etcd.endpoint)); err != nil {
		return err
	}
	for _, p := range []**process{&h.holders, &h.watchers} {
		if *p, err = launch(contenderEnv + "=" + h.contender); err != nil {
			return err
		}
	}
	hold := job{Do: "hold", Endpoint: h.etcd.endpoint, Clients: h.n / h.perProgram, Each: h.perProgram, TTL: shortTTL}
	if _, err = h.holders.ask(hold); err != nil {
		return err
	}
	began := time.Now()
	watch := job{Do: "watch", Endpoint: h.etcd.endpoint, Clients: h.n / perWatcher, Groups: h.services()}
	if _, err = h.watchers.ask(watch); err != nil {
		return err
	}
	<-time.After(time.Until(began.Add(quiet)))
	if h.before, err = h.keys(ctx); err != nil {
		return err
	}
	if h.lost = h.n - len(h.before); h.lost < 0 {
		return fmt.Errorf("there are %d keys of %d registrations", len(h.before), h.n)
	}
	return nil
}

// keys returns when each key was created.
func (h *herd) keys(ctx context.Context) (map[string]int64, error) {
	resp, err := h.client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	all := make(map[string]int64, len(resp.Kvs))
	for _, kv := range resp.Kvs {
		all[string(kv.Key)] = kv.CreateRevision
	}
	return all, nil
}

// restart kills etcd, and starts it again.
func (h *herd) restart(context.Context) error {
	h.sampler = sample(h.etcd.endpoint)
	<-time.After(resting)
	h.killed = time.Now()
	h.cpu = -h.used()
	if err := h.profile(true); err != nil {
		return err
	}
	h.etcd.end()
	<-time.After(h.away)
	return h.etcd.again()
}

// profile begins and ends the programs' profiles, if they are wanted.
func (h *herd) profile(on bool) error {
	dir := os.Getenv("ROLLCALL_BENCH_PROFILES")
	if dir == "" {
		return nil
	}
	for name, p := range map[string]*process{"holders": h.holders, "watchers": h.watchers} {
		j := job{Do: "profile"}
		if on {
			j.File = filepath.Join(dir, fmt.Sprintf("%s-%d-%s.prof", h.contender, h.n, name))
		}
		if _, err := p.ask(j); err != nil {
			return err
		}
	}
	return nil
}

// used is the CPU of the programs so far.
func (h *herd) used() (sum time.Duration) {
	for _, p := range []*process{h.holders, h.watchers} {
		cpu, _ := cpuOf(p.pid())
		sum += cpu
	}
	return sum
}

// mark waits until etcd answers, and changes each service.
func (h *herd) mark(ctx context.Context) error {
	for {
		try, cancel := context.WithTimeout(ctx, time.Second)
		_, err := h.client.Get(try, "head", clientv3.WithCountOnly())
		cancel()
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	h.up = time.Now()
	var puts []clientv3.Op
	for n := range h.services() {
		puts = append(puts, clientv3.OpPut(layoutOf(h.contender)(service(n), markerAddr)))
	}
	_, err := h.client.Txn(ctx).Then(puts...).Commit()
	return err
}

// await waits until the programs are back, and until it is known who is not.
func (h *herd) await(ctx context.Context) error {
	var wg sync.WaitGroup
	var err1, err2 error
	wg.Go(func() { h.shown, err1 = h.watchers.ask(job{Do: "shown"}) })
	wg.Go(func() { h.renewed, err2 = h.holders.ask(job{Do: "renewed", Since: h.up}) })
	wg.Wait()
	settled := shortTTL + time.Second
	if testing.Short() {
		settled = 1500 * time.Millisecond
	}
	<-time.After(time.Until(h.up.Add(settled)))
	h.cpu += h.used()
	if err := h.profile(false); err != nil {
		return err
	}
	h.sampler.stop()
	after, err := h.keys(ctx)
	for key, created := range h.before {
		if after[key] != created {
			h.lost++
		}
	}
	return errors.Join(err1, err2, err)
}

func (h *herd) report(b *testing.B) {
	report := func(value float64, unit string) { b.ReportMetric(value, h.contender+"-"+unit) }
	rest, peak := h.sampler.busiest(h.killed)
	report(rest, "rest-requests/s")
	report(peak, "peak-requests/s")
	report(millis(h.up.Sub(h.killed)), "up-ms")
	report(millis(h.cpu), "cpu-ms")
	report(float64(h.shown.Missing), "unsynced")
	if h.shown.Missing < h.n/perWatcher {
		report(millis(h.shown.Median.Sub(h.up)), "synced-p50-ms")
		report(millis(h.shown.Last.Sub(h.up)), "synced-max-ms")
	}
	if !h.renewed.Last.IsZero() { // it can tell
		report(millis(h.renewed.Last.Sub(h.up)), "renewed-max-ms")
		report(float64(h.renewed.Missing), "unrenewed")
	}
	if !testing.Short() {
		report(float64(h.lost), "lost")
	}
}
