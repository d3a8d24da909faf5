package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
)

const (
	// canaryPatience is what one beat has to be seen.
	canaryPatience = 10 * time.Second

	// canaryKept is how many beats the figures for people are made from.
	canaryKept = 360
)

// beatKey is the name of the metadata in which a server writes when its last beat was.
const beatKey = "beat"

// canary registers the server itself, as an instance of [rollcall.ServerService], and measures by it how long what is written takes to be
// seen. Its beats are also how the history knows when a revision was, and its instances how servers know of one another.
type canary struct {
	registry *rollcall.Registry
	logger   *slog.Logger
	every    time.Duration
	instance rollcall.Instance

	seconds  prometheus.Histogram
	failures prometheus.Counter

	mu   sync.Mutex
	took []time.Duration // the newest last
	last time.Time
	err  error // of the newest beat
}

func newCanary(cfg Config, registry *rollcall.Registry, d *doors) (*canary, error) {
	self, err := cfg.advertised(d)
	if err != nil {
		return nil, err
	}
	return &canary{
		registry: registry, logger: cfg.Logger, every: cfg.Canary, instance: self, seconds: newPropagation(),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "rollcall_propagation_failures_total", Help: "Writes of the server's own instance that failed, or were not seen within 10 s.",
		}),
	}, nil
}

// advertised is how the server registers itself.
func (c Config) advertised(d *doors) (rollcall.Instance, error) {
	i := rollcall.Instance{Version: c.Version, Addr: c.Advertise, ID: c.Name}
	var err error
	if i.Addr == "" && d.grpc != nil {
		i.Addr, err = reachable(d.grpc.Addr())
	}
	if d.http != nil && err == nil {
		var addr string
		addr, err = reachable(d.http.Addr())
		i.Addrs = map[string]string{"http": addr}
	}
	if d.dns.tcp != nil && err == nil {
		var addr string
		addr, err = reachable(d.dns.tcp.Addr())
		if i.Addrs == nil {
			i.Addrs = map[string]string{}
		}
		i.Addrs["dns"] = addr
	}
	if i.Addr == "" {
		i.Addr = cmp.Or(i.Addrs["http"], i.Addrs["dns"])
	}
	if c.Name == "" {
		i.ID = i.Addr
	}
	return i, err
}

// reachable turns the address of a listener into one that others can dial: one that listens everywhere is known by the machine's name.
func reachable(addr net.Addr) (string, error) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String(), nil
	}
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("advertise this machine's name: %w", err)
	}
	return net.JoinHostPort(name, fmt.Sprint(tcp.Port)), nil
}

// run registers the server and beats until ctx ends. The registration is given up with the registry.
func (c *canary) run(ctx context.Context) {
	w := c.registry.Watch(rollcall.ServerService)
	defer w.Close()
	var registration *rollcall.Registration
	for registration == nil {
		var err error
		registration, err = c.registry.Register(ctx, rollcall.ServerService, c.instance)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, rollcall.ErrInvalid):
			c.logger.Error("the server cannot register itself", "err", err)
			return
		case err != nil && !c.pause(ctx):
			return
		}
	}
	for c.pause(ctx) {
		c.note(c.beat(ctx, registration, w))
		select {
		case <-registration.Done():
			if ctx.Err() == nil {
				c.logger.Error("another server registers under this one's name: give each a --name or an --advertise of its own", "instance", c.instance.ID, "err", registration.Err())
			}
			return
		default:
		}
	}
}

// pause waits for the next beat.
func (c *canary) pause(ctx context.Context) bool {
	select {
	case <-time.After(c.every*9/10 + rand.N(c.every/5+1)):
		return true
	case <-ctx.Done():
		return false
	}
}

// beat writes the time and waits until the registry's own watch tells of it.
func (c *canary) beat(ctx context.Context, registration *rollcall.Registration, w *rollcall.Watcher) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, canaryPatience)
	defer cancel()
	began := time.Now()
	mark := began.UTC().Format(time.RFC3339Nano)
	var written error
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		written = registration.Update(ctx, func(i *rollcall.Instance) { i.Metadata = map[string]string{beatKey: mark} })
		if written != nil {
			cancel()
		}
	})
	for {
		v, err := w.Next(ctx)
		if err != nil {
			cancel()
			writing.Wait()
			if written != nil {
				err = written
			}
			return 0, err
		}
		if i, there := v.Get(c.instance.ID); there && i.Metadata[beatKey] == mark {
			return time.Since(began), nil
		}
	}
}

// note takes the outcome of a beat.
func (c *canary) note(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	if err != nil {
		c.failures.Inc()
		return
	}
	c.seconds.Observe(took.Seconds())
	c.last = time.Now()
	c.took = append(c.took, took)
	if n := len(c.took) - canaryKept; n > 0 {
		c.took = slices.Delete(c.took, 0, n)
	}
}

// message tells what the canary has found of late.
func (c *canary) message() *rollcallv1.Propagation {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.took) == 0 && c.err == nil {
		return nil // nothing was measured yet
	}
	m := &rollcallv1.Propagation{Count: int32(len(c.took))}
	if c.err != nil {
		m.Error = message.Text(c.err.Error())
	}
	if n := len(c.took); n > 0 {
		sorted := slices.Sorted(slices.Values(c.took))
		m.Median, m.P99 = durationpb.New(sorted[n/2]), durationpb.New(sorted[min(n-1, n*99/100)])
		m.Last, m.At = durationpb.New(c.took[n-1]), message.Moment(c.last)
	}
	return m
}
